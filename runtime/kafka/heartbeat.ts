/**
 * The heartbeat of one membership: sent by its own timer from one join to the next; it knows whether the membership is
 * still valid. Used by `membership.ts`.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { type KafkaError, staleCoordinator } from './error-codes.ts'
import { monotonicMs } from './retry-budget.ts'

export interface Heartbeat {
  /** False once the group rebalances, has expelled this member, or has not answered for a whole session. */
  isCurrent(): boolean
  /** Still true while the group rebalances: the coordinator keeps this member until it has joined again. */
  isMember(): boolean
  stop(): void
}

export interface HeartbeatOptions {
  readonly intervalMs: number
  readonly sessionTimeoutMs: number
  /** Sends one heartbeat; resolves to the coordinator's answer. */
  beat(): Promise<KafkaError>
  /** The coordinator did not answer, or another broker is the coordinator by now. */
  lostCoordinator(): void
}

/**
 * Continues during a rebalance, so that the member may finish its batch before it joins again. Ends by itself
 * once the coordinator no longer knows the member.
 */
export function createHeartbeat(options: HeartbeatOptions): Heartbeat {
  let current = true
  let member = true
  let stopped = false
  let answeredAt = monotonicMs()
  let timer = setTimeout(tick, options.intervalMs)

  async function beat(): Promise<void> {
    const sentAt = monotonicMs()
    try {
      const error = await options.beat()
      if (error === 'NONE') answeredAt = sentAt
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
      // A bug, not a failure of the broker: from here on `isCurrent` must be false.
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

  const isSessionAlive = () => monotonicMs() - answeredAt < options.sessionTimeoutMs

  return {
    isCurrent: () => current && isSessionAlive(),
    isMember: () => member && isSessionAlive(),
    stop() {
      stopped = true
      current = false
      member = false
      clearTimeout(timer)
    },
  }
}
