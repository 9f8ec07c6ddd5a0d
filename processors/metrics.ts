/** Metrics of processing for Prometheus: rates, rejections by reason, lag, event-time lag, duration of batches and steps. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { Clock } from '../runtime/clock.ts'
import type { RejectedRecord } from '../schemas/wire/dead-letter.ts'
import type { OvertakenByBatch, Predictions } from './batch/active-batch.ts'
import type { Task, TaskBatch } from './batch/task.ts'

/**
 * `batch` is all of it, from taking the events until the store has applied them; `shadow` is a part of `score`. Of `decode`, `fold`,
 * `score` and `encode` there is one a task. `stretch`: how long the process did nothing else before it gave way.
 */
export type Step =
  | 'decode'
  | 'load'
  | 'fold'
  | 'score'
  | 'shadow'
  | 'encode'
  | 'publish'
  | 'apply'
  | 'batch'
  | 'stretch'

/** Plain totals since start, for the terminal and for tests. */
export interface ProcessingTotals {
  batches: number
  events: number
  predictions: number
  rejected: number
  duplicates: number
  late: number
  releasedEarly: number
  /** Predictions that were made before a late fact of their windows arrived, as far as they were counted. */
  overtaken: number
  restored: number
}

/** From the appending of a record that a stage read to the commit of what the stage made of it, of all its events, ms. */
export interface StageLatency {
  sumMs: number
  events: number
}

export interface ProcessingMetrics {
  readonly totals: Readonly<ProcessingTotals>
  /** By stage. */
  readonly latencies: ReadonlyMap<string, Readonly<StageLatency>>
  /** Runs a synchronous step and measures it. */
  time<T>(step: Step, work: () => T): T
  took(step: Step, ms: number): void
  duplicate(stage: string): void
  /** A challenger failed to score, and is not used again by this process. */
  shadowDropped(version: string): void
  /** Late facts of a committed batch, and the predictions that were made without them. */
  overtaken(task: Task, counts: OvertakenByBatch): void
  /** A task's part of a batch is committed in Kafka and applied in the store. */
  committed(task: Task, batch: TaskBatch, predictions: Predictions, rejections: readonly RejectedRecord[]): void
}

interface MetricsState {
  readonly instruments: Instruments
  readonly totals: ProcessingTotals
  readonly latencies: Map<string, StageLatency>
  readonly nowMs: () => number
  /** Names by stream index. */
  readonly streams: readonly string[]
  /** Counts of a task live as long as its ownership; totals continue. */
  readonly counted: WeakMap<Task, Disorder>
}

type Disorder = Pick<ProcessingTotals, 'late' | 'releasedEarly'>

/** `streams`: names by stream index. */
export function createProcessingMetrics(
  registry: Registry,
  streams: readonly string[],
  { elapsedMs, nowMs }: Pick<Clock, 'elapsedMs' | 'nowMs'>,
): ProcessingMetrics {
  const instruments = createInstruments(registry)
  const totals: ProcessingTotals = {
    batches: 0,
    events: 0,
    predictions: 0,
    rejected: 0,
    duplicates: 0,
    late: 0,
    releasedEarly: 0,
    overtaken: 0,
    restored: 0,
  }
  const latencies = new Map<string, StageLatency>()
  const state: MetricsState = { instruments, totals, latencies, nowMs, streams, counted: new WeakMap() }
  const took = (step: Step, ms: number) => instruments.steps.observe({ step }, ms)
  return {
    totals,
    latencies,
    took,
    time(step, work) {
      const began = elapsedMs()
      const result = work()
      took(step, elapsedMs() - began)
      return result
    },
    duplicate(stage) {
      instruments.duplicates.inc({ stage })
      totals.duplicates++
    },
    shadowDropped: (version) => instruments.shadowsDropped.inc({ model: version }),
    overtaken({ stage, partition }, { predictions, uncounted }) {
      const labels = { stage: stage.entity.name, partition }
      instruments.overtaken.inc(labels, predictions)
      instruments.uncounted.inc(labels, uncounted)
      totals.overtaken += predictions
    },
    committed: (task, batch, predictions, rejections) => countCommitted(state, task, batch, predictions, rejections),
  }
}

type Instruments = ReturnType<typeof createInstruments>

function createInstruments(registry: Registry) {
  const registers = [registry]
  const counter = (name: string, help: string, labelNames: string[]) =>
    new Counter({ name, help, labelNames, registers })
  const gauge = (name: string, help: string, labelNames: string[]) => new Gauge({ name, help, labelNames, registers })
  const histogram = (name: string, help: string, labelNames: string[], buckets: number[]) =>
    new Histogram({ name, help, labelNames, buckets, registers })
  const ofTask = ['stage', 'partition']
  return {
    events: counter('millrace_events_total', 'Events folded by a stage and committed.', ['stage', 'stream']),
    predictions: counter('millrace_predictions_total', 'Predictions committed.', ['model']),
    rejected: counter('millrace_rejected_total', 'Events rejected, by first reason.', ['stage', 'code']),
    shadowsDropped: counter(
      'millrace_shadow_dropped_total',
      'Challengers that failed to score and are not used again by this process.',
      ['model'],
    ),
    duplicates: counter('millrace_duplicates_total', 'Events dropped as duplicates.', ['stage']),
    requeued: counter('millrace_replayed_events_total', 'Requeued dead letters that a stage folded.', ['stage']),
    restored: counter('millrace_restored_total', 'Events folded again to restore the store up to Kafka.', ['stage']),
    late: gauge('millrace_late_events', 'Events that arrived after the frontier had passed them.', ofTask),
    early: gauge('millrace_released_early_events', 'Events released before all sources had passed them.', ofTask),
    overtaken: counter(
      'millrace_overtaken_predictions_total',
      'Predictions made before a late fact of their windows arrived, each counted once.',
      ofTask,
    ),
    uncounted: counter(
      'millrace_overtaken_uncounted_facts_total',
      'Late facts that may have part in more predictions than millrace_overtaken_predictions_total could count.',
      ofTask,
    ),
    held: gauge('millrace_held_events', 'Events held to be put in order.', ofTask),
    lag: gauge('millrace_input_lag_records', 'Records between the position and the end of the partition.', [
      'topic',
      'partition',
    ]),
    eventTime: gauge('millrace_event_time_seconds', 'Event time of the frontier of a task.', ofTask),
    eventTimeLag: gauge(
      'millrace_event_time_lag_seconds',
      'Event time that was read and is beyond the frontier.',
      ofTask,
    ),
    steps: histogram(
      'millrace_step_duration_ms',
      'How long a step of a batch took, in milliseconds.',
      ['step'],
      [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1_000, 3_000],
    ),
    batchEvents: histogram(
      'millrace_batch_events',
      'Events of one task in one batch.',
      ['stage'],
      [1, 3, 10, 30, 100, 300, 1_000],
    ),
  }
}

function countCommitted(
  state: MetricsState,
  task: Task,
  batch: TaskBatch,
  predictions: Predictions,
  rejections: readonly RejectedRecord[],
): void {
  const { instruments, totals } = state
  const stage = task.stage.entity.name
  setProgress(instruments, task, batch)
  if (batch.isRestore) {
    instruments.restored.inc({ stage }, batch.events.length)
    totals.restored += batch.events.length
    // What was late or early was counted when it was folded first.
    state.counted.set(task, { ...task.counts })
    return
  }
  countDisorder(state, task)
  if (batch.events.length > 0) instruments.batchEvents.observe({ stage }, batch.events.length)
  totals.batches++
  countEvents(state, stage, batch)
  countLatency(state, stage, batch)
  if (predictions.count > 0) instruments.predictions.inc({ model: predictions.model ?? 'none' }, predictions.count)
  totals.predictions += predictions.count
  for (const rejection of rejections) instruments.rejected.inc({ stage, code: rejection.problems[0]?.code ?? 'none' })
  totals.rejected += rejections.length
}

function setProgress(instruments: Instruments, task: Task, batch: TaskBatch): void {
  const { partition } = task
  const labels = { stage: task.stage.entity.name, partition }
  instruments.held.set(labels, task.held)
  const frontierMs = batch.position.frontier.time
  if (Number.isFinite(frontierMs)) {
    instruments.eventTime.set(labels, frontierMs / 1_000)
    const readMs = Math.max(frontierMs, ...task.inputs.map(({ maxEventTime }) => maxEventTime))
    instruments.eventTimeLag.set(labels, (readMs - frontierMs) / 1_000)
  }
  for (const input of task.inputs) instruments.lag.set({ topic: input.topic, partition }, input.lag)
}

function countEvents({ instruments, totals, streams }: MetricsState, stage: string, batch: TaskBatch): void {
  const byStream = new Map<number, number>()
  let requeued = 0
  for (const { stream, rejectedBy } of batch.events) {
    byStream.set(stream, (byStream.get(stream) ?? 0) + 1)
    if (rejectedBy !== null) requeued++
  }
  for (const [stream, count] of byStream) instruments.events.inc({ stage, stream: streams[stream]! }, count)
  if (requeued > 0) instruments.requeued.inc({ stage }, requeued)
  totals.events += batch.events.length
}

function countLatency({ latencies, nowMs }: MetricsState, stage: string, { events }: TaskBatch): void {
  const latency = latencies.get(stage) ?? { sumMs: 0, events: 0 }
  latencies.set(stage, latency)
  const now = nowMs()
  // The broker's clock may be ahead of ours.
  for (const { fetched, row } of events) latency.sumMs += Math.max(0, now - fetched.records.appendedAtMs[row]!)
  latency.events += events.length
}

/** Adds what is new since the last batch of this task. */
function countDisorder({ instruments, totals, counted }: MetricsState, task: Task): void {
  const labels = { stage: task.stage.entity.name, partition: task.partition }
  const before = counted.get(task) ?? { late: 0, releasedEarly: 0 }
  const now = { ...task.counts }
  counted.set(task, now)
  totals.late += now.late - before.late
  totals.releasedEarly += now.releasedEarly - before.releasedEarly
  instruments.late.set(labels, now.late)
  instruments.early.set(labels, now.releasedEarly)
}
