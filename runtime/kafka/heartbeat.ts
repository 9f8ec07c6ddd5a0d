/**
 * The heartbeat of one membership: beats by its own timer from join to the next join, and tells whether the place is
 * still held.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { type KafkaError, staleCoordinator } from './error-codes.ts'
import { monotonicMs } from './retry-budget.ts'

export interface Heartbeat {
  /** False once the group rebalances, expelled this member, or could not be told of it for a whole session. */
  isCurrent(): boolean
  /** Still true while the group rebalances: the coordinator goes on knowing this member until it has joined again. */
  isMember(): boolean
  stop(): void
}

export interface HeartbeatOptions {
  readonly intervalMs: number
  readonly sessionTimeoutMs: number
  /** Sends one heartbeat; resolves to the coordinator's answer. */
  beat(): Promise<KafkaError>
  /** The coordinator did not answer or is another one by now. */
  lostCoordinator(): void
}

/**
 * Goes on beating during a rebalance, so that the member may finish its batch before it joins again. Ends by itself
 * once the coordinator no longer knows the member.
 */
export function createHeartbeat(options: HeartbeatOptions): Heartbeat {
  let current = true
  let member = true
  let stopped = false
  let heardAt = monotonicMs()
  let timer = setTimeout(tick, options.intervalMs)

  async function beat(): Promise<void> {
    const sentAt = monotonicMs()
    try {
      const error = await options.beat()
      if (error === 'NONE') heardAt = sentAt
      else if (error === 'REBALANCE_IN_PROGRESS') current = false
      else if (staleCoordinator.has(error)) options.lostCoordinator()
      else {
        current = false
        member = false
        stopped = true
      }
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error
      options.lostCoordinator()
    }
  }

  function tick(): void {
    beat().then(schedule, (error) => {
      // Not a failure of the world: the next `isCurrent` must not say yes for ever.
      current = false
      member = false
      stopped = true
      queueMicrotask(() => {
        throw error
      })
    })
  }

  function schedule(): void {
    if (!stopped) timer = setTimeout(tick, options.intervalMs)
  }

  const heard = () => monotonicMs() - heardAt < options.sessionTimeoutMs

  return {
    isCurrent: () => current && heard(),
    isMember: () => member && heard(),
    stop() {
      stopped = true
      current = false
      member = false
      clearTimeout(timer)
    },
  }
}
