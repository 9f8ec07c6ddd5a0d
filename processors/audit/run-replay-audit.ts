/**
 * Compares the predictions of a pipeline with the replay of its raw topics, for as long as it is not stopped: rounds with pauses, since
 * each reads the windows of its predictions again. Called by `millrace audit`, beside `runAudit`.
 */
import type { BrokerData, Fetcher } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import { wholeLog } from '../../runtime/read-log.ts'
import { createOutage, pause, processRetry } from '../../runtime/retry.ts'
import type { ReplayDifference } from './compare-replay.ts'
import type { ReplayCounts } from './replay-counts.ts'
import { createReplayAudit, type ReplayAuditOptions } from './replay-rounds.ts'

export interface RunReplayAuditOptions extends Omit<ReplayAuditOptions, 'broker'> {
  readonly broker: BrokerData
  readonly clock: Clock
  readonly log: Log
  /** From 0 to 1, for the jitter of retries. */
  readonly random: () => number
  /** Ends once the predictions that were there at the start are compared. */
  readonly isOnce: boolean
  readonly signal: AbortSignal
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
  const outage = createOutage({
    policy: processRetry,
    clock,
    random: options.random,
    signal,
    onRetry: ({ error, failures, pauseMs }) => options.log.warn({ code: error.code, failures, pauseMs }, error.message),
  })
  let fetcher: Fetcher | null = null
  let until: Awaited<ReturnType<typeof wholeLog>> | null = null
  let workedMs = 0
  try {
    while (!signal.aborted) {
      try {
        if (until === null) {
          until = await wholeLog(broker, [plan.predictions.topic])
          if (!isOnce) await pause(clock, settleMs, signal)
        }
        const beganMs = clock.elapsedMs()
        fetcher ??= await broker.fetcher()
        const differences = await audit.round(fetcher, until)
        workedMs += clock.elapsedMs() - beganMs
        outage.succeeded()
        options.onCompared(audit.counts, differences, audit.pending)
      } catch (error) {
        const broken: Fetcher | null = fetcher
        fetcher = null
        await broken?.close()
        await outage.failed(error)
        continue
      }
      if (!audit.isDone(until)) continue
      if (isOnce) break
      until = null
      await pause(clock, Math.max(pauseMsMin, workedMs * pauseFactor), signal)
      workedMs = 0
    }
  } finally {
    await fetcher?.close()
  }
  return audit.counts
}
