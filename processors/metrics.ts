/** What processing shows of itself in Prometheus: rates, refusals by reason, lag, event-time lag, how long batches and steps take. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { RejectedRecord } from '../schemas/wire/dead-letter.ts'
import type { Output } from './batch/outputs.ts'
import type { Task, TaskBatch } from './batch/task.ts'

/** `batch` is the whole of it, from taking the events to the store being level; `shadow` is a part of `score`. */
export type Step = 'decode' | 'load' | 'fold' | 'score' | 'shadow' | 'encode' | 'publish' | 'apply' | 'batch'

/** Plain totals since start, for the terminal and for tests. */
export interface ProcessingTotals {
  batches: number
  events: number
  predictions: number
  rejected: number
  duplicates: number
  late: number
  releasedEarly: number
  restored: number
}

export interface ProcessingMetrics {
  readonly totals: Readonly<ProcessingTotals>
  /** Runs a synchronous step and measures it. */
  time<T>(step: Step, work: () => T): T
  took(step: Step, ms: number): void
  duplicate(stage: string): void
  /** A challenger gave no score, and is not asked again by this process. */
  shadowDropped(version: string): void
  /** A task's share of a batch is in Kafka and in the store. */
  committed(task: Task, batch: TaskBatch, outputs: readonly Output[], rejections: readonly RejectedRecord[]): void
}

const stepBucketsMs = [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1_000, 3_000]

/** `streams`: names by stream index. */
export function createProcessingMetrics(
  registry: Registry,
  streams: readonly string[],
  elapsedMs: () => number,
): ProcessingMetrics {
  const registers = [registry]
  const counter = (name: string, help: string, labelNames: string[] = []) =>
    new Counter({ name, help, labelNames, registers })
  const gauge = (name: string, help: string, labelNames: string[]) => new Gauge({ name, help, labelNames, registers })
  const events = counter('millrace_events_total', 'Events folded by a stage and committed.', ['stage', 'stream'])
  const predictions = counter('millrace_predictions_total', 'Predictions committed.', ['model'])
  const rejected = counter('millrace_rejected_total', 'Events refused, by first reason.', ['stage', 'code'])
  const shadowsDropped = counter(
    'millrace_shadow_dropped_total',
    'Challengers that failed to score and are not asked again by this process.',
    ['model'],
  )
  const duplicates = counter('millrace_duplicates_total', 'Events dropped as duplicates.', ['stage'])
  const replayed = counter('millrace_replayed_events_total', 'Dead letters put back that came to a stage.', ['stage'])
  const restored = counter('millrace_refolded_total', 'Events folded again to bring the store level with Kafka.', [
    'stage',
  ])
  const late = gauge('millrace_late_events', 'Events that came after their place in order had been passed.', [
    'stage',
    'partition',
  ])
  const early = gauge('millrace_released_early_events', 'Events released before all sources had passed them.', [
    'stage',
    'partition',
  ])
  const held = gauge('millrace_held_events', 'Events held to be put in order.', ['stage', 'partition'])
  const lag = gauge('millrace_input_lag_records', 'Records between the position and the end of the partition.', [
    'topic',
    'partition',
  ])
  const eventTime = gauge('millrace_event_time_seconds', 'Event time that the task has passed.', ['stage', 'partition'])
  const eventTimeLag = gauge('millrace_event_time_lag_seconds', 'Event time that was read and is not passed yet.', [
    'stage',
    'partition',
  ])
  const steps = new Histogram({
    name: 'millrace_step_duration_ms',
    help: 'How long a step of a batch took, in milliseconds.',
    labelNames: ['step'],
    buckets: stepBucketsMs,
    registers,
  })
  const batchEvents = new Histogram({
    name: 'millrace_batch_events',
    help: 'Events of one task in one batch.',
    labelNames: ['stage'],
    buckets: [1, 3, 10, 30, 100, 300, 1_000],
    registers,
  })
  const totals: ProcessingTotals = {
    batches: 0,
    events: 0,
    predictions: 0,
    rejected: 0,
    duplicates: 0,
    late: 0,
    releasedEarly: 0,
    restored: 0,
  }
  /** Counts of a task live as long as its ownership; totals go on. */
  const counted = new WeakMap<Task, { late: number; releasedEarly: number }>()

  function took(step: Step, ms: number): void {
    steps.observe({ step }, ms)
  }

  function time<T>(step: Step, work: () => T): T {
    const began = elapsedMs()
    const result = work()
    took(step, elapsedMs() - began)
    return result
  }

  function duplicate(stage: string): void {
    duplicates.inc({ stage })
    totals.duplicates++
  }

  function committed(
    task: Task,
    batch: TaskBatch,
    outputs: readonly Output[],
    rejections: readonly RejectedRecord[],
  ): void {
    const stage = task.stage.entity.name
    const labels = { stage, partition: task.partition }
    held.set(labels, task.held)
    const passedMs = batch.position.frontier.time
    if (Number.isFinite(passedMs)) {
      eventTime.set(labels, passedMs / 1_000)
      const readMs = Math.max(passedMs, ...task.inputs.map(({ maxEventTime }) => maxEventTime))
      eventTimeLag.set(labels, (readMs - passedMs) / 1_000)
    }
    for (const input of task.inputs) lag.set({ topic: input.topic, partition: task.partition }, input.lag)
    if (batch.isRestore) {
      restored.inc({ stage }, batch.events.length)
      totals.restored += batch.events.length
      // What was late or early was counted by whoever folded it first.
      counted.set(task, { ...task.counts })
      return
    }
    countDisorder(task, labels)
    if (batch.events.length > 0) batchEvents.observe({ stage }, batch.events.length)
    totals.batches++
    countEvents(stage, batch)
    countOutputs(outputs)
    const back = batch.events.reduce((count, { rejectedBy }) => count + (rejectedBy === null ? 0 : 1), 0)
    if (back > 0) replayed.inc({ stage }, back)
    for (const rejection of rejections) rejected.inc({ stage, code: rejection.problems[0]?.code ?? 'none' })
    totals.rejected += rejections.length
  }

  function countEvents(stage: string, batch: TaskBatch): void {
    const byStream = new Map<number, number>()
    for (const { stream } of batch.events) byStream.set(stream, (byStream.get(stream) ?? 0) + 1)
    for (const [stream, count] of byStream) events.inc({ stage, stream: streams[stream]! }, count)
    totals.events += batch.events.length
  }

  function countOutputs(outputs: readonly Output[]): void {
    const byModel = new Map<string, number>()
    for (const { vector, modelVersion } of outputs) {
      if (vector) byModel.set(modelVersion ?? 'none', (byModel.get(modelVersion ?? 'none') ?? 0) + 1)
    }
    for (const [model, count] of byModel) {
      predictions.inc({ model }, count)
      totals.predictions += count
    }
  }

  function countDisorder(task: Task, labels: { stage: string; partition: number }): void {
    const before = counted.get(task) ?? { late: 0, releasedEarly: 0 }
    const now = { ...task.counts }
    counted.set(task, now)
    totals.late += now.late - before.late
    totals.releasedEarly += now.releasedEarly - before.releasedEarly
    late.set(labels, now.late)
    early.set(labels, now.releasedEarly)
  }

  function shadowDropped(version: string): void {
    shadowsDropped.inc({ model: version })
  }

  return { totals, time, took, duplicate, shadowDropped, committed }
}
