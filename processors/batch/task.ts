/**
 * One task: a partition of a stage, its inputs and where it stands. Fetched records go in (`accept`), batches in canonical order come out
 * (`take`), each with the position that the task has once the batch is done. Synchronous and without a clock of its own; the batch loop
 * is its only caller.
 */
import assert from 'node:assert/strict'
import { storeKeysMax } from '../../feature-store/store.ts'
import type { FetchedPartition, FetchFrom, LogRecord } from '../../runtime/broker.ts'
import type { CanonicalPosition } from '../../schemas/kernel/canonical-order.ts'
import { compareCanonical } from '../../schemas/kernel/canonical-order.ts'
import type { HopPlan, StreamPlan } from '../../schemas/plan/plan.ts'
import type { RefusedRecord } from '../../schemas/wire/dead-letter.ts'
import { nothingPassed, type TaskPosition } from '../position.ts'
import { stageInputs } from '../stage-inputs.ts'
import { type AlignmentSource, createAlignment, type ReleaseBounds } from '../watermarks/alignment.ts'
import { type Hearing, hearMark, tellerOf } from '../watermarks/source-frontiers.ts'
import { type Place, type StageEvent, stageEventOf } from './stage-event.ts'
import type { TakeBounds, Task, TaskBatch, TaskOptions } from './task-contract.ts'
import {
  createTaskInput,
  hasUnread,
  heldCount,
  isRepeated,
  longestHeld,
  nextUnread,
  oldestHeld,
  type ReadInput,
} from './task-input.ts'
import { judge } from './validate.ts'

export type { TakeBounds, Task, TaskBatch, TaskInput, TaskLimits, TaskOptions } from './task-contract.ts'

/** Late events held at once. A position cannot name them one by one, so that all of them go with the next batch. */
const lateHeldMax = storeKeysMax

export function createTask(options: TaskOptions): Task {
  const { plan, stage, partition, partitions, tasksBefore, hearing, limits, start, refoldTo } = options
  const inputs = openInputs(options)
  const alignment = createAlignment<StageEvent>(
    {
      sources: inputs.flatMap((input, i): AlignmentSource[] =>
        input.stream
          ? [{ kind: 'raw', input: i, disorderMs: input.stream.disorderMs }]
          : Array.from({ length: tasksBefore }, () => ({ kind: 'task', input: i })),
      ),
      tellerOf: (input) => tellerOf(tasksBefore, stage, partition, input),
    },
    start.passed,
  )
  let isRefolding = refoldTo !== null
  /** The position never goes back behind what was recovered. */
  let floor = start.passed
  let horizon = start.horizon
  const keptMs = Math.max(...plan.stages.map(({ entity }) => entity.retentionMs))
  let refusals: RefusedRecord[] = []
  let hasMoved = false
  /** While a refold goes on others cannot be waited for. */
  let liveSinceMs = Number.NEGATIVE_INFINITY
  // The bound is for an event's whole way, each stage has its share of it.
  const holdMaxMs = limits.holdMaxMs / plan.stages.length + Math.max(...plan.streams.map((stream) => stream.disorderMs))
  finishRefolded()

  function readTime(): number {
    let time = Number.POSITIVE_INFINITY
    for (const input of inputs) if (!input.isAtEnd && input.clock < time) time = input.clock
    return time
  }

  function wanted(nowMs: number): FetchFrom[] {
    const waitsForMore = alignment.peek(releaseBounds(nowMs, Number.POSITIVE_INFINITY)) === undefined
    return inputs
      .filter((input, i) => {
        if (hasUnread(input) || isRefolded(i)) return false
        if (isBehindStart(input, i) || heldCount(input) < limits.readAheadMax) return true
        // An input that is far ahead is not what the others are waited for with.
        return waitsForMore && (isRefolding || alignment.awaits(i, nowMs))
      })
      .map(({ topic, partition, next }) => ({ topic, partition, offset: next }))
  }

  function isBehindStart(input: ReadInput, index: number): boolean {
    return input.next < start.inputs[index]!.next
  }

  /**
   * Nothing goes before all that the start position stands for is read again: a position that had read less would no longer say what of
   * it was done, and it would be behind the one that it follows.
   */
  function isReadingAgain(): boolean {
    return inputs.some(isBehindStart)
  }

  /** All that is to be folded again was read of this input. */
  function isRefolded(index: number): boolean {
    return refoldTo !== null && isRefolding && inputs[index]!.next >= refoldTo.inputs[index]!.next
  }

  function finishRefolded(): void {
    inputs.forEach((_, i) => {
      alignment.finish(i, isRefolded(i))
    })
  }

  function accept(fetched: FetchedPartition, round: number, nowMs: number): void {
    const index = inputs.findIndex((input) => input.topic === fetched.topic)
    const input = inputs[index]!
    assert(fetched.partition === partition && fetched.from === input.next, 'a fetch answers what was asked for')
    assert(!hasUnread(input), 'an input is fetched once all that was fetched is read')
    const end = refoldTo && isRefolding ? refoldTo.inputs[index]!.next : Number.POSITIVE_INFINITY
    input.fetched = {
      records: Number.isFinite(end) ? fetched.records.filter((record) => record.offset < end) : fetched.records,
      read: 0,
      next: Math.min(fetched.next, end),
      stableEnd: fetched.stableEnd,
      end: fetched.end,
      round,
      askedRound: round - fetched.age,
      readAtMs: nowMs,
    }
    hasMoved ||= fetched.next > fetched.from
    read(input, index)
  }

  /** Reads what was fetched, as far as late events may be held. */
  function read(input: ReadInput, index: number): void {
    const { next, stableEnd, end, askedRound } = input.fetched
    // What is read again was held, or is done: it is not late.
    while (hasUnread(input) && (isBehindStart(input, index) || alignment.lateHeld < lateHeldMax)) {
      const record = nextUnread(input)
      if (input.stream) readRaw(input, input.stream, index, record)
      else readHop(input, stage.hopIn!, hearing!, index, record)
      input.next = record.offset + 1
    }
    if (!hasUnread(input)) input.next = next
    input.lag = Math.max(0, stableEnd - input.next)
    // What a transaction has not decided may still come, and be earlier than what others bring.
    input.isAtEnd = input.next >= end
    alignment.fetched(index, askedRound, input.isAtEnd)
    if (!input.stream && input.lag === 0) hearing!.caughtUp()
    finishRefolded()
  }

  function readOn(): void {
    inputs.forEach((input, i) => {
      if (hasUnread(input)) read(input, i)
    })
  }

  function readRaw(input: ReadInput, stream: StreamPlan, index: number, record: LogRecord): void {
    const verdict = judge(record, { stream, partition, partitions }, input.clock)
    if (!verdict.ok) {
      if (!wasJudged(index, record.offset)) refusals.push(refusalOf(input, record, verdict.problems))
      return
    }
    const origin = { partition, offset: record.offset }
    const raw = { stream: stream.index, origin, event: verdict.event, slots: [], positions: [] }
    hold(input, stageEventOf(plan, stage, raw, placeOf(input, input.firstSource, index, record)))
    if (verdict.time > input.clock) input.clock = verdict.time
    alignment.advance(input.firstSource, { time: verdict.time, order: -1 })
  }

  function readHop(input: ReadInput, hop: HopPlan, hearing: Hearing, index: number, record: LogRecord): void {
    assert(record.value, 'a repartition topic has no tombstones')
    const { offset } = record
    const decoded = hop.codec.decode(record.value)
    if (decoded.kind === 'mark') {
      hearMark(decoded, hearing)
      for (const { source, watermark, order, horizon, idle, until } of decoded.sources) {
        if (source >= tasksBefore) continue
        alignment.advance(input.firstSource + source, { time: watermark, order })
        alignment.said(input.firstSource + source, { offset, isIdle: idle, heard: decoded.heard, until })
        if (horizon !== null) alignment.judged(input.firstSource + source, horizon)
      }
      return
    }
    const source = input.firstSource + decoded.source
    const event = stageEventOf(plan, stage, decoded, placeOf(input, source, index, record))
    hold(input, event)
    if (event.time > input.clock) input.clock = event.time
    hearing.heard(decoded.source, event)
    alignment.advance(source, event)
    alignment.said(source, { offset, isIdle: false, heard: [], until: null })
  }

  function placeOf(input: ReadInput, source: number, index: number, record: LogRecord): Place {
    const { round, readAtMs } = input.fetched
    return { source, round, readAtMs, input: index, clockBefore: input.clock, record }
  }

  /** Records before the recovered position were judged by a former owner, and what it refused was published. */
  function wasJudged(index: number, offset: number): boolean {
    return offset < (refoldTo ?? start).inputs[index]!.next
  }

  /** What the store already stands for is not folded again. */
  function hold(input: ReadInput, event: StageEvent): void {
    if (event.offset < start.inputs[event.input]!.next && compareCanonical(event, start.passed) <= 0) return
    // Only an event out of order can overtake one of its own id that came before it: the first to come wins, folded now or again.
    if (event.time < alignment.clockOf(event.source)) event.isRepeat = isRepeated(input, event)
    input.held.push(event)
    alignment.push(event)
  }

  function take(nowMs: number, bounds: TakeBounds): TaskBatch | null {
    if (isReadingAgain()) return null
    const release = releaseBounds(nowMs, bounds.untilTime)
    const everything = { ...release, forced: { time: Number.POSITIVE_INFINITY, order: 0 } }
    const releaseNow = () => (alignment.held > mayHold() ? everything : release)
    const beforeRound = isRefolding ? Number.POSITIVE_INFINITY : bounds.beforeRound
    const events: StageEvent[] = []
    const keys = new Set<string>()
    const slowest = slowestClock()
    for (let event = alignment.peek(releaseNow()); event; event = alignment.peek(releaseNow())) {
      if (!alignment.isLate(event) && (events.length >= bounds.eventsMax || event.round >= beforeRound)) break
      if (event.key !== null && !keys.has(event.key)) {
        if (keys.size >= bounds.keysMax) break
        keys.add(event.key)
      }
      alignment.release(releaseNow())
      event.isTaken = true
      events.push(event)
    }
    assert(alignment.lateHeld === 0, 'late events go with the first batch after they were read')
    moveHorizon(slowest)
    const batch = isRefolding ? takeRefold(events, nowMs) : takeLive(events)
    readOn()
    return batch
  }

  function takeLive(events: readonly StageEvent[]): TaskBatch | null {
    return events.length > 0 || refusals.length > 0 ? batchOf(events, false) : null
  }

  function releaseBounds(nowMs: number, untilTime: number): ReleaseBounds {
    if (refoldTo && isRefolding) {
      const forced = hasReadRefold(refoldTo) ? refoldTo.passed : nothingPassed
      return { nowMs, forced, ceiling: refoldTo.passed }
    }
    const forced = overdue(nowMs)
    const until = { time: untilTime, order: Number.POSITIVE_INFINITY }
    // Nobody waits longer for a task that is behind than for anything else.
    return { nowMs, forced, ceiling: compareCanonical(forced, until) > 0 ? forced : until }
  }

  /** The first event goes, whatever it awaits. */
  function isForced(nowMs: number): boolean {
    return alignment.held > mayHold() || alignment.peek(releaseBounds(nowMs, Number.POSITIVE_INFINITY)) !== undefined
  }

  /** What is beyond it goes, although others have not passed it; never where nothing may go early. */
  function mayHold(): number {
    return isRefolding || !Number.isFinite(holdMaxMs) ? Number.POSITIVE_INFINITY : limits.heldMax
  }

  /** Up to where events must go: those read too long ago. */
  function overdue(nowMs: number): CanonicalPosition {
    let forced = nothingPassed
    if (!Number.isFinite(holdMaxMs)) return forced
    for (const input of inputs) {
      for (const event of longestHeld(input)) {
        if (nowMs - Math.max(event.readAtMs, liveSinceMs) <= holdMaxMs) break
        if (compareCanonical(event, forced) > 0) forced = event
      }
    }
    return forced
  }

  function hasReadRefold(target: TaskPosition): boolean {
    return inputs.every((input, i) => input.next >= target.inputs[i]!.next)
  }

  function takeRefold(events: readonly StageEvent[], nowMs: number): TaskBatch | null {
    assert(refoldTo)
    if (events.length > 0) return batchOf(events, true)
    if (!hasReadRefold(refoldTo)) return null
    floor = refoldTo.passed
    horizon = Math.max(horizon, refoldTo.horizon)
    isRefolding = false
    liveSinceMs = nowMs
    finishRefolded()
    return batchOf([], true)
  }

  /**
   * Event time of the source that is furthest behind, so that no fact is dropped which an event that is not late by its own stream still
   * asks for: what was read is judged by the clock before it. An input at its end is waited for as long as facts are kept anywhere: the
   * facts of a stream would never go while another is silent.
   */
  function slowestClock(): number {
    if (refoldTo && isRefolding) return refoldTo.horizon
    const idleFrom = alignment.passed.time - keptMs
    let slowest = alignment.slowestTask(idleFrom)
    for (const input of inputs) {
      if (!input.stream) continue
      const oldest = oldestHeld(input)
      const clock = oldest ? oldest.clockBefore : input.clock
      slowest = Math.min(slowest, oldest || !input.isAtEnd ? clock : Math.max(clock, idleFrom))
    }
    return slowest
  }

  function moveHorizon(slowest: number): void {
    const { time } = compareCanonical(alignment.passed, floor) > 0 ? alignment.passed : floor
    horizon = Math.max(horizon, Math.min(time, slowest))
  }

  function batchOf(events: readonly StageEvent[], isRefold: boolean): TaskBatch {
    const refused = refusals
    refusals = []
    hasMoved = false
    return {
      events,
      refusals: refused,
      position: positionNow(),
      stagePosition: { stage: stage.entity.name, partition, next: inputs.map((input) => input.next) },
      isRefold,
    }
  }

  function positionNow(): TaskPosition {
    const passed = compareCanonical(alignment.passed, floor) > 0 ? alignment.passed : floor
    return {
      passed,
      horizon,
      inputs: inputs.map((input) => {
        const oldest = oldestHeld(input)
        const low = oldest ? { low: oldest.offset, clock: oldest.clockBefore } : { low: input.next, clock: input.clock }
        return { ...low, next: input.next }
      }),
    }
  }

  return {
    stage,
    partition,
    inputs,
    get held() {
      return alignment.held
    },
    counts: alignment.counts,
    get passed() {
      return alignment.passed
    },
    get horizon() {
      return horizon
    },
    get isRefolding() {
      return isRefolding
    },
    readTime,
    wanted,
    accept,
    take,
    takePosition() {
      if (!hasMoved || isRefolding || isReadingAgain()) return null
      moveHorizon(slowestClock())
      return batchOf([], false)
    },
    // While folding again, what was read is taken as soon as all of it is there.
    awaitsEnd: (nowMs) => !isRefolding && refusals.length === 0 && alignment.awaitsEnd(nowMs) && !isForced(nowMs),
    topRound: () => alignment.top()?.round ?? -1,
    topRaw() {
      const top = alignment.top()
      return top && inputs[top.input]!.stream ? top : null
    },
    topTime: () => alignment.top()?.time ?? Number.POSITIVE_INFINITY,
    endRound: alignment.endRound,
    watermark: alignment.watermark,
    isAtEnd: () => !isRefolding && alignment.isAtEnd(),
    reach: alignment.reach,
  }
}

function openInputs({ plan, stage, partition, start }: TaskOptions): ReadInput[] {
  const topics = stageInputs(plan, stage)
  assert(topics.length === start.inputs.length, 'a position has one entry for each input')
  return topics.map(({ topic, stream }, i) =>
    createTaskInput({ topic, partition, stream, firstSource: i }, start.inputs[i]!),
  )
}

function refusalOf(input: ReadInput, record: LogRecord, problems: RefusedRecord['problems']): RefusedRecord {
  const { topic, partition } = input
  const { offset, appendedAtMs, key, value, headers } = record
  return { topic, partition, offset, appendedAtMs, key, value, headers, problems }
}
