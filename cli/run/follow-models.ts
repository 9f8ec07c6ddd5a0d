/**
 * The registry topic comes in, the current champion goes out, for as long as the process runs. After a transient failure the registry is
 * read again from its start, and the last known model keeps scoring meanwhile. Called by `live-process.ts`.
 */
import { createRegistryFollower, type RegistryFollower } from '../../online-model/registry/follower.ts'
import type { CurrentModel } from '../../processors/batch/scoring.ts'
import type { BrokerData } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import { createOutage, processRetry } from '../../runtime/retry.ts'
import type { Plan } from '../../schemas/plan/plan.ts'

export interface FollowModelsOptions {
  readonly plan: Plan
  readonly broker: BrokerData
  readonly clock: Clock
  readonly log: Log
  /** From 0 to 1, for the jitter of retries. */
  readonly random: () => number
}

export interface FollowedModels {
  readonly current: CurrentModel
  /** See `RegistryFollower`. */
  readonly misfit: () => string | null
  /** Resolves with the failure that the follower could not recover from; never after `close`. */
  readonly failed: Promise<unknown>
  close(): Promise<void>
}

/** Resolves once the registry was read to its end. */
export async function followModels(options: FollowModelsOptions): Promise<FollowedModels> {
  const { plan, broker, clock, log, random } = options
  const printLine = (line: string, level: 'info' | 'warn') => log[level]({}, line)
  let follower = await load()
  const stop = new AbortController()
  let recovering: Promise<void> = Promise.resolve()
  const failed = new Promise<unknown>((resolve) => follow(resolve))

  async function load(): Promise<RegistryFollower> {
    const loading = createRegistryFollower({ broker, plan, topic: plan.models.topic, printLine })
    try {
      await loading.loadToEnd()
      return loading
    } catch (error) {
      await loading.close()
      throw error
    }
  }

  function follow(giveUp: (error: unknown) => void): void {
    follower.follow((error) => {
      if (!stop.signal.aborted) recovering = recover(error, giveUp)
    })
  }

  async function recover(first: unknown, giveUp: (error: unknown) => void): Promise<void> {
    const outage = createOutage({
      policy: processRetry,
      clock,
      random,
      signal: stop.signal,
      onRetry: ({ error, failures, pauseMs }) =>
        log.warn({ code: error.code, failures, pauseMs }, `the registry could not be read: ${error.message}`),
    })
    let failure: { readonly error: unknown } | null = { error: first }
    try {
      while (failure !== null) {
        await outage.failed(failure.error)
        if (stop.signal.aborted) return
        failure = await reload().then(
          () => null,
          (error: unknown) => ({ error }),
        )
      }
    } catch (error) {
      if (!stop.signal.aborted) giveUp(error)
      return
    }
    if (!stop.signal.aborted) follow(giveUp)
  }

  async function reload(): Promise<void> {
    const next = await load()
    const former = follower
    follower = next
    await former.close()
  }

  return {
    current: () => follower.current(),
    misfit: () => follower.misfit(),
    failed,
    async close() {
      stop.abort()
      await recovering
      await follower.close()
    },
  }
}
