/**
 * Reading that survives outages: what is to be done with a fetcher goes in, and whether it succeeded comes out, after the pause that is due
 * where it did not. Each failure closes the fetcher, so that the next attempt gets one that works. Called by both audits.
 */
import type { BrokerData, Fetcher } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import { createOutage, processRetry } from '../../runtime/retry.ts'

export interface FetchAttemptsOptions {
  readonly broker: Pick<BrokerData, 'fetcher'>
  readonly clock: Clock
  readonly log: Log
  /** From 0 to 1, for the jitter of retries. */
  readonly random: () => number
  readonly signal: AbortSignal
}

export interface FetchAttempts {
  /** Rejects with what cannot be retried, or has been for too long. */
  attempt(work: (fetcher: Fetcher) => Promise<void>): Promise<boolean>
  close(): Promise<void>
}

export function createFetchAttempts({ broker, clock, log, random, signal }: FetchAttemptsOptions): FetchAttempts {
  let fetcher: Fetcher | null = null
  const outage = createOutage({
    policy: processRetry,
    clock,
    random,
    signal,
    onRetry: ({ error, failures, pauseMs }) => log.warn({ code: error.code, failures, pauseMs }, error.message),
  })

  async function close(): Promise<void> {
    const open = fetcher
    fetcher = null
    await open?.close()
  }

  return {
    async attempt(work) {
      try {
        fetcher ??= await broker.fetcher()
        await work(fetcher)
        outage.succeeded()
        return true
      } catch (error) {
        await close()
        await outage.failed(error)
        return false
      }
    },
    close,
  }
}
