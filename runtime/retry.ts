/**
 * The one retry policy: a failed attempt comes in; a pause with exponential backoff and jitter goes out, or the failure itself once it is
 * not worth retrying. Called by every loop that has to survive an outage of Kafka, Redis or the schema registry.
 */
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { Clock } from './clock.ts'

export interface Backoff {
  /** Pause after the first failure, before jitter; it doubles with every further failure. */
  readonly pauseMsFirst: number
  readonly pauseMsMax: number
}

export interface RetryPolicy extends Backoff {
  /** A failure that comes later than this after the first one of the outage is final. */
  readonly outageMaxMs: number
  /** As many attempts in a row may fail; no bound but time unless given. */
  readonly attemptsMax?: number
}

/** Of processes that run until they are stopped: after five minutes of failures their supervisor should intervene. */
export const processRetry: RetryPolicy = { pauseMsFirst: 100, pauseMsMax: 5_000, outageMaxMs: 300_000 }

export interface RetryNotice {
  readonly error: PipelineError
  /** Failures in a row, this one included. */
  readonly failures: number
  readonly pauseMs: number
}

export interface RetryOptions {
  readonly policy: RetryPolicy
  readonly clock: Pick<Clock, 'elapsedMs' | 'sleep'>
  /** From 0 to 1, for the jitter. */
  readonly random: () => number
  /** Ends a pause at once. */
  readonly signal?: AbortSignal
  /** `error.retry` unless given. Anything but a `PipelineError` is never retried. */
  readonly isRetriable?: (error: PipelineError) => boolean | Promise<boolean>
  /** Called before every pause. */
  readonly onRetry: (notice: RetryNotice) => void
}

/** An outage: consecutive failures of a loop that continues for as long as its process runs. */
export interface Outage {
  /**
   * Resolves after the pause that is due before the next attempt, or at once where the signal is aborted: the caller checks it. Rejects
   * with `error` where it is not retriable, and with an error of the same code that states how long it was tried where the bound is
   * reached.
   */
  failed(error: unknown): Promise<void>
  /** The next failure is the first of another outage. */
  succeeded(): void
}

export function createOutage(options: RetryOptions): Outage {
  const { policy, clock, random, signal, onRetry, isRetriable = ({ retry }) => retry } = options
  const { outageMaxMs, attemptsMax = Number.POSITIVE_INFINITY } = policy
  let failures = 0
  let sinceMs = 0
  return {
    async failed(error) {
      const nowMs = clock.elapsedMs()
      if (failures === 0) sinceMs = nowMs
      failures++
      if (!(error instanceof PipelineError) || !(await isRetriable(error))) throw error
      if (nowMs - sinceMs > outageMaxMs || failures >= attemptsMax) throw givenUp(error, failures, nowMs - sinceMs)
      if (signal?.aborted) return
      const pauseMs = backoffMs(policy, failures, random)
      onRetry({ error, failures, pauseMs })
      await pause(clock, pauseMs, signal)
    },
    succeeded() {
      failures = 0
    },
  }
}

/** What `attempt` resolves with, as soon as it does. After an abort no further attempt is made: rejects with the last failure. */
export async function retry<T>(attempt: () => Promise<T>, options: RetryOptions): Promise<T> {
  const outage = createOutage(options)
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      await outage.failed(error)
      if (options.signal?.aborted) throw error
    }
  }
}

/** The pause after so many failures in a row: half of it is fixed and half is jitter, so that processes do not retry in step. */
export function backoffMs({ pauseMsFirst, pauseMsMax }: Backoff, failures: number, random: () => number): number {
  return Math.min(pauseMsMax, pauseMsFirst * 2 ** (failures - 1)) * (0.5 + random() / 2)
}

function givenUp(error: PipelineError, failures: number, forMs: number): PipelineError {
  const reason = error.message.replace(/\.$/, '')
  return new PipelineError(
    error.code,
    `${reason}. Gave up after ${failures} failed attempts in ${Math.round(forMs / 1_000)} s.`,
    {
      cause: error,
      details: { ...error.details, failures, forMs },
    },
  )
}

/** Ends at once where the signal is aborted. */
export async function pause(clock: Pick<Clock, 'sleep'>, ms: number, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return clock.sleep(ms)
  let end: () => void = () => undefined
  const aborted = new Promise<void>((resolve) => {
    end = resolve
    signal.addEventListener('abort', end, { once: true })
  })
  await Promise.race([clock.sleep(ms), aborted]).finally(() => signal.removeEventListener('abort', end))
}
