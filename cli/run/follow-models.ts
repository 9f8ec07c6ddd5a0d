/**
 * The registry topic in, the model that scores out, for as long as the process runs: after a failure that may pass the registry is read
 * anew, and the model known so far scores on meanwhile. Made by `live-process.ts`.
 */
import { createRegistryFollower, type RegistryFollower } from '../../online-model/registry/follower.ts'
import type { CurrentModel } from '../../processors/batch/scoring.ts'
import { defaultWorkerLimits } from '../../processors/worker-limits.ts'
import type { Broker } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'

export interface FollowModelsOptions {
  readonly plan: Plan
  readonly broker: Pick<Broker, 'bounds' | 'fetcher'>
  readonly clock: Clock
  readonly log: Log
}

export interface FollowedModels {
  readonly current: CurrentModel
  /** Resolves with what ended the following for good; never after `close`. */
  readonly failed: Promise<unknown>
  close(): Promise<void>
}

const backoffFirstMs = 100
const backoffMaxMs = 5_000

/** Resolves once the registry was read to its end. */
export async function followModels(options: FollowModelsOptions): Promise<FollowedModels> {
  const { plan, broker, clock, log } = options
  const say = (line: string) => log.info({}, line)
  let follower = await load()
  let isClosed = false
  let recovering: Promise<void> = Promise.resolve()
  const failed = new Promise<unknown>((resolve) => follow(resolve))

  async function load(): Promise<RegistryFollower> {
    const loading = createRegistryFollower({ broker, plan, topic: plan.models.topic, say })
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
      if (!isClosed) recovering = recover(error, giveUp)
    })
  }

  async function recover(first: unknown, giveUp: (error: unknown) => void): Promise<void> {
    const sinceMs = clock.elapsedMs()
    let error = first
    for (let failures = 1; ; failures++) {
      const isOver = clock.elapsedMs() - sinceMs > defaultWorkerLimits.outageMaxMs
      if (!(error instanceof PipelineError) || !error.retry || isOver) return giveUp(error)
      const delayMs = Math.min(backoffMaxMs, backoffFirstMs * 2 ** (failures - 1))
      log.warn({ code: error.code, failures, delayMs }, `the registry could not be read: ${error.message}`)
      await clock.sleep(delayMs)
      if (isClosed) return
      try {
        const next = await load()
        const former = follower
        follower = next
        await former.close()
        break
      } catch (again) {
        error = again
      }
    }
    if (!isClosed) follow(giveUp)
  }

  return {
    current: () => follower.current(),
    failed,
    async close() {
      isClosed = true
      await recovering
      await follower.close()
    },
  }
}
