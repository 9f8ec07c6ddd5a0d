/**
 * What this process says on one repartition topic, and when: how far its tasks that feed the topic have come, what its readers of the
 * topic have read of raw topics beside it, and, once, a question to the other processes. Made when the tasks are opened; the batch loop
 * asks what is due with each transaction and sends it behind the events.
 */
import type { OutRecord } from '../../runtime/broker.ts'
import type { CanonicalPosition } from '../../schemas/kernel/canonical-order.ts'
import { compareCanonical } from '../../schemas/kernel/canonical-order.ts'
import type { StagePlan } from '../../schemas/plan/plan.ts'
import type { HopSource } from '../../schemas/wire/records.ts'
import { markRecords } from '../batch/outputs.ts'
import type { Task } from '../batch/task.ts'
import type { Listener } from './progress-consumer.ts'
import { createWord, type Others, type Word } from './progress-report.ts'
import { type Hearing, tellerOf } from './source-frontiers.ts'

export interface TalkOptions {
  /** The stage that feeds the topic. */
  readonly stage: StagePlan
  /** Tasks of this process: those that feed the topic, and those that read it. */
  readonly tasks: readonly Task[]
  readonly readers: readonly Task[]
  /** Partitions of the topic. */
  readonly partitions: number
  readonly hearing: Hearing
  /** Where there are tasks, but no readers. */
  readonly listener: Listener | null
}

/** What is said in one transaction. */
export interface Speech {
  readonly tasks: readonly Task[]
  readonly readers: readonly Task[]
  readonly asks: boolean
}

export interface Occasion {
  /** Tasks of the stage send events in this transaction. */
  readonly isSending: boolean
  /** The fetch that was answered last. */
  readonly answered: number
}

export interface Talk {
  readonly stage: StagePlan
  readonly listener: Listener | null
  /** A fetch is answered; called before anything of it is read. */
  turn(): void
  /** Null: there is nothing to say. */
  due(occasion: Occasion): Speech | null
  /** There will be something to say after one more fetch. */
  isOwed(): boolean
  say(speech: Speech, occasion: Occasion): OutRecord[]
  /**
   * Event time beyond which the task does not go for now, since readers hold more than `heldMax` events for a source that is behind it;
   * infinity for one that may itself be waited for and must go on, whatever else. Null: readers hold little.
   */
  untilTime(task: Task, heldMax: number): number | null
}

export function createTalk({ stage, tasks, readers, partitions, hearing, listener }: TalkOptions): Talk {
  const words = new Map<Task, Word>(tasks.map((task) => [task, createWord()]))
  const own = new Set(tasks.map(({ partition }) => partition))
  const isAlone = own.size === hearing.sources
  // Who begins to read or to listen has missed what idle sources said before.
  let hasAsked = isAlone

  function others(occasion: Occasion): Others {
    return { ...occasion, heard: withOwn(hearing.before.places), asks: hearing.before.asks }
  }

  /** What tasks of this process have taken, idle ones of it have looked beyond: nothing that the latest fetch brought was taken. */
  function withOwn(heard: readonly CanonicalPosition[]): readonly CanonicalPosition[] {
    const all = [...heard]
    for (const task of tasks) {
      const place = task.watermark()
      if (compareCanonical(place, all[task.partition]!) > 0) all[task.partition] = place
    }
    return all
  }

  function due(occasion: Occasion): Speech | null {
    const among = others(occasion)
    const speaking = tasks.filter((task) => !task.isRefolding && words.get(task)!.isDue(task, among))
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
    return top !== null && top.offset >= hearing.now[teller(reader, top.input)]!.time
  }

  function teller({ stage: reading, partition }: Task, input: number): number {
    return tellerOf(hearing.sources, reading, partition, input)
  }

  function readingOf(reader: Task): HopSource[] {
    return reader.stage.rawStreams.map((_, input) => {
      return {
        source: teller(reader, input),
        watermark: reader.inputs[input]!.next,
        order: 0,
        horizon: null,
        idle: false,
        until: null,
      }
    })
  }

  function hear(source: number, time: number): void {
    hearing.heard(source, { time, order: 0 })
  }

  function say(speech: Speech, occasion: Occasion): OutRecord[] {
    const among = others(occasion)
    const spoken = speech.tasks.map((task) => words.get(task)!.say(task, among))
    const sources = [...spoken, ...speech.readers.flatMap(readingOf)]
    hasAsked ||= speech.asks
    const heard = spoken.some(({ idle }) => idle) ? among.heard : []
    return markRecords(stage.hopOut!, { kind: 'mark', sources, heard, asks: speech.asks }, partitions)
  }

  function untilTime(task: Task, heldMax: number): number | null {
    let time: number | null = null
    for (const reader of readers) if (reader.held > heldMax) time = Math.min(time ?? reader.topTime(), reader.topTime())
    return time === null || task.passed.time > time ? time : Number.POSITIVE_INFINITY
  }

  return {
    stage,
    listener,
    turn: hearing.turn,
    due,
    isOwed() {
      const among = { heard: withOwn(hearing.next.places), asks: hearing.next.asks }
      return tasks.some((task) => words.get(task)!.isOwed(task, among))
    },
    say,
    untilTime,
  }
}
