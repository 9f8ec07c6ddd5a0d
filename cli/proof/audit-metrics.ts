/** The metrics of `millrace audit`: the running totals of both comparisons come in; counters that follow them are registered. */
import { Counter, Gauge, type Registry } from 'prom-client'
import type { AuditCounts } from '../../processors/audit/audit-state.ts'
import { replayClasses } from '../../processors/audit/compare-replay.ts'
import type { ReplayCounts } from '../../processors/audit/replay-counts.ts'

/** Sets a counter with a label to totals, which never decrease within a process. */
type Follow = (totals: Readonly<Partial<Record<string, number>>>) => void

function followedCounter(registry: Registry, name: string, help: string, label?: string): Follow {
  const counter = new Counter({ name, help, labelNames: label ? [label] : [], registers: [registry] })
  const before = new Map<string, number>()
  return (totals) => {
    for (const [key, total = 0] of Object.entries(totals)) {
      const added = total - (before.get(key) ?? 0)
      if (label) counter.inc({ [label]: key }, added)
      else counter.inc(added)
      before.set(key, total)
    }
  }
}

/** Outputs against the fold of their own inputs. */
export function createSkewMetrics(registry: Registry) {
  const counter = (name: string, help: string, label?: string) => followedCounter(registry, name, help, label)
  const checked = counter('millrace_skew_checked_total', 'Outputs of stages recomputed from their inputs and compared.')
  const differing = counter(
    'millrace_skew_differing_total',
    'Outputs with a value that differs from the one recomputed from the inputs of its stage.',
  )
  const skipped = counter('millrace_skew_skipped_total', 'Outputs that could not be checked, by reason.', 'reason')
  const waiting = new Gauge({
    name: 'millrace_skew_pending_outputs',
    help: 'Outputs whose inputs are still to be read.',
    registers: [registry],
  })
  return (counts: Readonly<AuditCounts>, pending: number): void => {
    checked({ all: counts.checked })
    differing({ all: counts.differing })
    skipped(counts.skipped)
    waiting.set(pending)
  }
}

/** Predictions against the replay of the raw topics. */
export function createReplayMetrics(registry: Registry) {
  const counter = (name: string, help: string, label?: string) => followedCounter(registry, name, help, label)
  const compared = counter(
    'millrace_skew_replay_compared_total',
    'Predictions recomputed from the raw topics in event time and compared.',
  )
  const provisional = counter(
    'millrace_skew_replay_provisional_total',
    'Predictions compared while their streams still accepted events that would change the replay.',
  )
  const differing = counter(
    'millrace_skew_replay_differing_total',
    'Predictions that differ from the replay, by cause: late, overtaken, early or unexplained.',
    'cause',
  )
  const skipped = counter(
    'millrace_skew_replay_skipped_total',
    'Predictions that could not be compared with the replay, by reason.',
    'reason',
  )
  const largest = new Gauge({
    name: 'millrace_skew_replay_largest_difference',
    help: 'Largest relative difference between a feature and its value in the replay, by cause; 1 where one of them is missing.',
    labelNames: ['cause'],
    registers: [registry],
  })
  differing(Object.fromEntries(replayClasses.map((cause) => [cause, 0])))
  return (counts: ReplayCounts): void => {
    compared({ all: counts.compared })
    provisional({ all: counts.provisional })
    differing(counts.differing)
    skipped(counts.skipped)
    for (const [cause, { relative }] of Object.entries(counts.largest)) largest.set({ cause }, relative)
  }
}
