/**
 * The line that `run` prints about its work at intervals: the totals and tasks of the process come in, a line goes out while something
 * changes. Called by `run.ts` with a timer; pure but for what it remembers of the line before.
 */
import type { ProcessingMetrics, ProcessingTotals } from '../../processors/metrics.ts'
import type { RunningWorker } from '../../processors/run-worker.ts'
import { shown, shownTime } from '../terminal.ts'

export interface ProgressSample {
  readonly atMs: number
  readonly totals: Readonly<Pick<ProcessingTotals, 'events' | 'predictions' | 'rejected' | 'restored'>>
  readonly tasks: ReadonlyArray<
    Pick<ReturnType<RunningWorker['state']>['tasks'][number], 'held' | 'inputs' | 'frontier'>
  >
  readonly latencies: ProcessingMetrics['latencies']
}

export const progressEveryMs = 10_000

/** Null where nothing has been done since the sample before: an idle process stays quiet, whatever it waits for. */
export function createProgressLines(first: ProgressSample): (sample: ProgressSample) => string | null {
  let before = { ...first, totals: { ...first.totals }, latencies: copied(first.latencies) }
  return (sample) => {
    const { totals, tasks, latencies } = sample
    const [last, seconds] = [before, (sample.atMs - before.atMs) / 1_000]
    const latencyMs = latencyBetween(last.latencies, latencies)
    const since = (name: keyof ProgressSample['totals']) => totals[name] - last.totals[name]
    const isQuiet = since('events') + since('rejected') + since('restored') === 0
    // The process counts on in the same map.
    before = { ...sample, totals: { ...totals }, latencies: copied(latencies) }
    if (isQuiet || seconds <= 0) return null
    const rate = (count: number) => `${shown(Math.round(count / seconds))}/s`
    const lag = tasks.reduce((sum, task) => sum + task.inputs.reduce((records, input) => records + input.lag, 0), 0)
    const held = tasks.reduce((sum, task) => sum + task.held, 0)
    // A task that has folded nothing, such as one of a partition without keys, says nothing of the others.
    const reached = Math.min(...tasks.map(({ frontier }) => frontier.time).filter(Number.isFinite))
    return [
      `${rate(since('events'))} events`,
      `${rate(since('predictions'))} predictions`,
      ...(since('restored') > 0 ? [`${rate(since('restored'))} restored`] : []),
      ...(since('rejected') > 0 ? [`${shown(since('rejected'))} rejected`] : []),
      `lag ${shown(lag)} records`,
      `${shown(held)} held`,
      ...(latencyMs === null ? [] : [`latency ${shown(Math.round(latencyMs))} ms`]),
      `event time ${shownTime(reached)}`,
    ].join(', ')
  }
}

function copied(latencies: ProgressSample['latencies']): ProgressSample['latencies'] {
  return new Map([...latencies].map(([stage, latency]) => [stage, { ...latency }]))
}

/** Mean of each stage of this process, added up along the stages; null where none worked. */
function latencyBetween(before: ProgressSample['latencies'], now: ProgressSample['latencies']): number | null {
  const means = [...now].flatMap(([stage, { sumMs, events }]) => {
    const last = before.get(stage) ?? { sumMs: 0, events: 0 }
    return events > last.events ? [(sumMs - last.sumMs) / (events - last.events)] : []
  })
  return means.length === 0 ? null : means.reduce((sum, mean) => sum + mean, 0)
}
