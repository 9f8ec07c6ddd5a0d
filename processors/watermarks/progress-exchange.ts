/**
 * What this process says on one repartition topic, and when: how far its tasks that feed the topic have come, what its readers of the
 * topic have read of raw topics beside it, and, once, a question to the other processes. Made when the tasks are opened; the batch loop
 * asks what is due with each transaction and sends it behind the events.
 */
import type { OutRecord } from '../../runtime/broker.ts'
import type { CanonicalPosition } from '../../schemas/kernel/canonical-order.ts'
import { compareCanonical } from '../../schemas/kernel/canonical-order.ts'
import type { StagePlan } from '../../schemas/plan/plan.ts'
import type { SourceProgress } from '../../schemas/wire/records.ts'
import { watermarkRecords } from '../batch/outputs.ts'
import type { Task } from '../batch/task.ts'
import type { ProgressConsumer } from './progress-consumer.ts'
import { createProgressReporter, type Others, type ProgressReporter } from './progress-report.ts'
import { rawSourceOf, type SourceFrontiers } from './source-frontiers.ts'

export interface ProgressExchangeOptions {
  /** The stage that feeds the topic. */
  readonly stage: StagePlan
  /** Tasks of this process: those that feed the topic, and those that read it. */
  readonly tasks: readonly Task[]
  readonly readers: readonly Task[]
  /** Partitions of the topic. */
  readonly partitions: number
  readonly sourceFrontiers: SourceFrontiers
  /** Where there are tasks, but no readers. */
  readonly progressConsumer: ProgressConsumer | null
}

/** What is said in one transaction. */
export interface ProgressUpdate {
  readonly tasks: readonly Task[]
  readonly readers: readonly Task[]
  readonly asks: boolean
}

export interface BatchContext {
  /** Tasks of the stage send events in this transaction. */
  readonly isSending: boolean
  /** The fetch that was answered last. */
  readonly answered: number
}

export interface ProgressExchange {
  readonly stage: StagePlan
  readonly progressConsumer: ProgressConsumer | null
  /** A fetch is answered; called before anything of it is read. */
  turn(): void
  /** Null: there is nothing to say. */
  due(context: BatchContext): ProgressUpdate | null
  /** There will be something to say after one more fetch. */
  isOwed(): boolean
  say(update: ProgressUpdate, context: BatchContext): OutRecord[]
  /**
   * Event time beyond which the task does not go for now, since readers hold more than `heldMax` events for a source that is behind it;
   * infinity for one that may itself be waited for and must go on, whatever else. Null: readers hold little.
   */
  untilTime(task: Task, heldMax: number): number | null
}

export function createProgressExchange({
  stage,
  tasks,
  readers,
  partitions,
  sourceFrontiers,
  progressConsumer,
}: ProgressExchangeOptions): ProgressExchange {
  const reporters = new Map<Task, ProgressReporter>(tasks.map((task) => [task, createProgressReporter()]))
  const own = new Set(tasks.map(({ partition }) => partition))
  const isAlone = own.size === sourceFrontiers.sources
  // Who begins to read or to listen has missed what idle sources said before.
  let hasAsked = isAlone

  function others(context: BatchContext): Others {
    return { ...context, observed: withOwn(sourceFrontiers.before.places), asks: sourceFrontiers.before.asks }
  }

  /** What tasks of this process have taken, idle ones of it have looked beyond: nothing that the latest fetch brought was taken. */
  function withOwn(observed: readonly CanonicalPosition[]): readonly CanonicalPosition[] {
    const all = [...observed]
    for (const task of tasks) {
      const place = task.watermark()
      if (compareCanonical(place, all[task.partition]!) > 0) all[task.partition] = place
    }
    return all
  }

  function due(context: BatchContext): ProgressUpdate | null {
    const among = others(context)
    const speaking = tasks.filter((task) => !task.isRestoring && reporters.get(task)!.isDue(task, among))
    const telling = readers.filter(hasToTell)
    // The question goes along with the first word, where there is anybody to say one.
    const isQuestion = !hasAsked && (speaking.length > 0 || tasks.length === 0)
    // Tasks of this process need no record to hear of it.
    for (const reader of telling) for (const { source, watermark } of readingOf(reader)) hear(source, watermark)
    const isTelling = !isAlone && telling.length > 0
    if (speaking.length === 0 && !isTelling && !isQuestion) return null
    return { tasks: speaking, readers: isTelling ? telling : [], asks: isQuestion }
  }

  /** An event of a raw topic waits for all tasks to hear that it was read. */
  function hasToTell(reader: Task): boolean {
    const top = reader.stage.rawStreams.length > 0 ? reader.topRaw() : null
    return top !== null && top.offset >= sourceFrontiers.now[rawSource(reader, top.input)]!.time
  }

  function rawSource({ stage: reading, partition }: Task, input: number): number {
    return rawSourceOf(sourceFrontiers.sources, reading, partition, input)
  }

  function readingOf(reader: Task): SourceProgress[] {
    return reader.stage.rawStreams.map((_, input) => {
      return {
        source: rawSource(reader, input),
        watermark: reader.inputs[input]!.nextOffset,
        order: 0,
        retentionWatermark: null,
        idle: false,
        idleUpTo: null,
      }
    })
  }

  function hear(source: number, time: number): void {
    sourceFrontiers.observed(source, { time, order: 0 })
  }

  function say(update: ProgressUpdate, context: BatchContext): OutRecord[] {
    const among = others(context)
    const spoken = update.tasks.map((task) => reporters.get(task)!.say(task, among))
    const sources = [...spoken, ...update.readers.flatMap(readingOf)]
    hasAsked ||= update.asks
    const observed = spoken.some(({ idle }) => idle) ? among.observed : []
    return watermarkRecords(
      stage.repartitionOut!,
      { kind: 'watermark', sources, observed, requestsProgress: update.asks },
      partitions,
    )
  }

  function untilTime(task: Task, heldMax: number): number | null {
    let time: number | null = null
    for (const reader of readers) if (reader.held > heldMax) time = Math.min(time ?? reader.topTime(), reader.topTime())
    return time === null || task.frontier.time > time ? time : Number.POSITIVE_INFINITY
  }

  return {
    stage,
    progressConsumer,
    turn: sourceFrontiers.turn,
    due,
    isOwed() {
      const among = { observed: withOwn(sourceFrontiers.next.places), asks: sourceFrontiers.next.asks }
      return tasks.some((task) => reporters.get(task)!.isOwed(task, among))
    },
    say,
    untilTime,
  }
}
