/**
 * Compares the predictions of a pipeline with the replay of its raw topics, for as long as it is not stopped: rounds with pauses, since
 * each reads the windows of its predictions again. Called by `millrace audit`, beside `runAudit`.
 */
import type { BrokerData } from '../../runtime/broker.ts'
import { type LogSpan, wholeLog } from '../../runtime/read-log.ts'
import { pause } from '../../runtime/retry.ts'
import type { ReplayDifference } from './compare-replay.ts'
import { createFetchAttempts, type FetchAttemptsOptions } from './fetch-attempts.ts'
import type { ReplayCounts } from './replay-counts.ts'
import { createReplayAudit, type ReplayAuditOptions } from './replay-rounds.ts'

export interface RunReplayAuditOptions extends FetchAttemptsOptions, Omit<ReplayAuditOptions, 'broker'> {
  readonly broker: BrokerData
  /** Ends once the predictions that were there at the start are compared. */
  readonly isOnce: boolean
  readonly onCompared: (counts: ReplayCounts, differences: readonly ReplayDifference[], pending: number) => void
}

/** Facts that are appended so soon after a prediction are seen. */
const settleMs = 10_000
const pauseMsMin = 30_000
/** A pause is so many times as long as the rounds before it: reading again costs at most a twentieth of the time. */
const pauseFactor = 19

export async function runReplayAudit(options: RunReplayAuditOptions): Promise<ReplayCounts> {
  const { plan, broker, clock, signal, isOnce } = options
  const audit = createReplayAudit(options)
  const attempts = createFetchAttempts(options)
  let until: readonly LogSpan[] | null = null
  let workedMs = 0

  async function settledEnds(): Promise<LogSpan[]> {
    const ends = await wholeLog(broker, [plan.predictions.topic])
    if (!isOnce) await pause(clock, settleMs, signal)
    return ends
  }

  try {
    while (!signal.aborted) {
      const isCompared = await attempts.attempt(async (fetcher) => {
        until ??= await settledEnds()
        const beganMs = clock.elapsedMs()
        const differences = await audit.round(fetcher, until)
        workedMs += clock.elapsedMs() - beganMs
        options.onCompared(audit.counts, differences, audit.pending)
      })
      if (!isCompared || !audit.isDone(until!)) continue
      if (isOnce) break
      until = null
      await pause(clock, Math.max(pauseMsMin, workedMs * pauseFactor), signal)
      workedMs = 0
    }
  } finally {
    await attempts.close()
  }
  return audit.counts
}
