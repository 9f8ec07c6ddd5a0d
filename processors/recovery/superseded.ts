/**
 * Distinguishes a process that took over this worker's name from a stale join of the worker itself. A busy broker may handle a join of an
 * earlier process, which was killed, after the join of its successor: such a member never sends a heartbeat and is removed after a session
 * timeout. Called by the worker's supervision.
 */
import type { BrokerGroups } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { outcomeOf } from '../outcome.ts'

/** The broker removes a member a moment after its session timeout. */
const removalDelayMs = 1_000

export interface SupersededOptions {
  readonly groups: BrokerGroups
  readonly clock: Clock
  readonly group: string
  readonly name: string
  readonly sessionTimeoutMs: number
  /** While no broker answers, nothing is known: it is asked again for so long. */
  readonly outageMaxMs: number
  readonly signal: AbortSignal
}

/** Waits for one session timeout. True: the name is free again. False: a living process uses it, or the group cannot be read for long. */
export async function isNameFreed(options: SupersededOptions): Promise<boolean> {
  const { groups, clock, group, name, sessionTimeoutMs, outageMaxMs, signal } = options
  const beganMs = clock.elapsedMs()
  for (;;) {
    // Again after an outage, in which no member could be removed.
    await clock.sleep(sessionTimeoutMs + removalDelayMs)
    const view = await outcomeOf(groups.describe(group))
    if (view.ok) return view.value.members.every(({ worker }) => worker !== name)
    const canRetry = view.error instanceof PipelineError && view.error.retry
    if (!canRetry || signal.aborted || clock.elapsedMs() - beganMs > outageMaxMs) return false
  }
}
