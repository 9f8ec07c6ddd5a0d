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
import type { RepartitionPlan, StreamPlan } from '../../schemas/plan/plan.ts'
import type { RejectedRecord } from '../../schemas/wire/dead-letter.ts'
import { initialFrontier, type TaskPosition } from '../position.ts'
import { stageInputs } from '../stage-inputs.ts'
import { type AlignmentSource, createAlignment, type ReleaseBounds } from '../watermarks/alignment.ts'
import { observeWatermark, rawSourceOf, type SourceFrontiers } from '../watermarks/source-frontiers.ts'
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
import { validateRecord } from './validate.ts'

export type { TakeBounds, Task, TaskBatch, TaskInput, TaskLimits, TaskOptions } from './task-contract.ts'

/** Late events held at once. A position cannot name them one by one, so that all of them go with the next batch. */
const lateHeldMax = storeKeysMax

export function createTask(options: TaskOptions): Task {
  const { plan, stage, partition, partitions, tasksBefore, sourceFrontiers, limits, start, restoreTo } = options
  const inputs = openInputs(options)
  const alignment = createAlignment<StageEvent>(
    {
      sources: inputs.flatMap((input, i): AlignmentSource[] =>
        input.stream
          ? [{ kind: 'raw', input: i, disorderMs: input.stream.disorderMs }]
          : Array.from({ length: tasksBefore }, () => ({ kind: 'task', input: i })),
      ),
      rawSourceOf: (input) => rawSourceOf(tasksBefore, stage, partition, input),
    },
    start.frontier,
  )
  let isRestoring = restoreTo !== null
  /** The position never goes back behind what was recovered. */
  let floor = start.frontier
  let horizon = start.retentionWatermark
  const keptMs = Math.max(...plan.stages.map(({ entity }) => entity.retentionMs))
  let rejections: RejectedRecord[] = []
  let hasMoved = false
  /** While a refold goes on others cannot be waited for. */
  let liveSinceMs = Number.NEGATIVE_INFINITY
  // The bound is for an event's whole way, each stage has its share of it.
  const holdMaxMs = limits.holdMaxMs / plan.stages.length + Math.max(...plan.streams.map((stream) => stream.disorderMs))
  finishRestored()

  function readTime(): number {
    let time = Number.POSITIVE_INFINITY
    for (const input of inputs) if (!input.isAtEnd && input.maxEventTime < time) time = input.maxEventTime
    return time
  }

  function wanted(nowMs: number): FetchFrom[] {
    const waitsForMore = alignment.peek(releaseBounds(nowMs, Number.POSITIVE_INFINITY)) === undefined
    return inputs
      .filter((input, i) => {
        if (hasUnread(input) || isRestored(i)) return false
        if (isBehindStart(input, i) || heldCount(input) < limits.readAheadMax) return true
        // An input that is far ahead is not what the others are waited for with.
        return waitsForMore && (isRestoring || alignment.awaits(i, nowMs))
      })
      .map(({ topic, partition, nextOffset }) => ({ topic, partition, offset: nextOffset }))
  }

  function isBehindStart(input: ReadInput, index: number): boolean {
    return input.nextOffset < start.inputs[index]!.nextOffset
  }

  /**
   * Nothing goes before all that the start position stands for is read again: a position that had read less would no longer say what of
   * it was done, and it would be behind the one that it follows.
   */
  function isReadingAgain(): boolean {
    return inputs.some(isBehindStart)
  }

  /** All that is to be folded again was read of this input. */
  function isRestored(index: number): boolean {
    return restoreTo !== null && isRestoring && inputs[index]!.nextOffset >= restoreTo.inputs[index]!.nextOffset
  }

  function finishRestored(): void {
    inputs.forEach((_, i) => {
      alignment.finish(i, isRestored(i))
    })
  }

  function accept(fetched: FetchedPartition, round: number, nowMs: number): void {
    const index = inputs.findIndex((input) => input.topic === fetched.topic)
    const input = inputs[index]!
    assert(fetched.partition === partition && fetched.from === input.nextOffset, 'a fetch answers what was asked for')
    assert(!hasUnread(input), 'an input is fetched once all that was fetched is read')
    const end = restoreTo && isRestoring ? restoreTo.inputs[index]!.nextOffset : Number.POSITIVE_INFINITY
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
      else readRepartition(input, stage.repartitionIn!, sourceFrontiers!, index, record)
      input.nextOffset = record.offset + 1
    }
    if (!hasUnread(input)) input.nextOffset = next
    input.lag = Math.max(0, stableEnd - input.nextOffset)
    // What a transaction has not decided may still come, and be earlier than what others bring.
    input.isAtEnd = input.nextOffset >= end
    alignment.fetched(index, askedRound, input.isAtEnd)
    if (!input.stream && input.lag === 0) sourceFrontiers!.caughtUp()
    finishRestored()
  }

  function readOn(): void {
    inputs.forEach((input, i) => {
      if (hasUnread(input)) read(input, i)
    })
  }

  function readRaw(input: ReadInput, stream: StreamPlan, index: number, record: LogRecord): void {
    const verdict = validateRecord(record, { stream, partition, partitions }, input.maxEventTime)
    if (!verdict.ok) {
      if (!wasJudged(index, record.offset)) rejections.push(rejectionOf(input, record, verdict.problems))
      return
    }
    const origin = { partition, offset: record.offset }
    const raw = { stream: stream.index, origin, event: verdict.event, slots: [], positions: [] }
    hold(input, stageEventOf(plan, stage, raw, placeOf(input, input.firstSource, index, record)))
    if (verdict.time > input.maxEventTime) input.maxEventTime = verdict.time
    alignment.advance(input.firstSource, { time: verdict.time, order: -1 })
  }

  function readRepartition(
    input: ReadInput,
    repartition: RepartitionPlan,
    sourceFrontiers: SourceFrontiers,
    index: number,
    record: LogRecord,
  ): void {
    assert(record.value, 'a repartition topic has no tombstones')
    const { offset } = record
    const decoded = repartition.codec.decode(record.value)
    if (decoded.kind === 'watermark') {
      observeWatermark(decoded, sourceFrontiers)
      for (const { source, watermark, order, retentionWatermark, idle, idleUpTo } of decoded.sources) {
        if (source >= tasksBefore) continue
        alignment.advance(input.firstSource + source, { time: watermark, order })
        alignment.said(input.firstSource + source, {
          offset,
          isIdle: idle,
          observed: decoded.observed,
          until: idleUpTo,
        })
        if (retentionWatermark !== null) alignment.judged(input.firstSource + source, retentionWatermark)
      }
      return
    }
    const source = input.firstSource + decoded.source
    const event = stageEventOf(plan, stage, decoded, placeOf(input, source, index, record))
    hold(input, event)
    if (event.time > input.maxEventTime) input.maxEventTime = event.time
    sourceFrontiers.observed(decoded.source, event)
    alignment.advance(source, event)
    alignment.said(source, { offset, isIdle: false, observed: [], until: null })
  }

  function placeOf(input: ReadInput, source: number, index: number, record: LogRecord): Place {
    const { round, readAtMs } = input.fetched
    return { source, round, readAtMs, input: index, maxEventTimeBefore: input.maxEventTime, record }
  }

  /** Records before the recovered position were judged by a former owner, and what it refused was published. */
  function wasJudged(index: number, offset: number): boolean {
    return offset < (restoreTo ?? start).inputs[index]!.nextOffset
  }

  /** What the store already stands for is not folded again. */
  function hold(input: ReadInput, event: StageEvent): void {
    if (event.offset < start.inputs[event.input]!.nextOffset && compareCanonical(event, start.frontier) <= 0) return
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
    const beforeRound = isRestoring ? Number.POSITIVE_INFINITY : bounds.beforeRound
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
    const batch = isRestoring ? takeRestore(events, nowMs) : takeLive(events)
    readOn()
    return batch
  }

  function takeLive(events: readonly StageEvent[]): TaskBatch | null {
    return events.length > 0 || rejections.length > 0 ? batchOf(events, false) : null
  }

  function releaseBounds(nowMs: number, untilTime: number): ReleaseBounds {
    if (restoreTo && isRestoring) {
      const forced = hasReadRestore(restoreTo) ? restoreTo.frontier : initialFrontier
      return { nowMs, forced, ceiling: restoreTo.frontier }
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
    return isRestoring || !Number.isFinite(holdMaxMs) ? Number.POSITIVE_INFINITY : limits.heldMax
  }

  /** Up to where events must go: those read too long ago. */
  function overdue(nowMs: number): CanonicalPosition {
    let forced = initialFrontier
    if (!Number.isFinite(holdMaxMs)) return forced
    for (const input of inputs) {
      for (const event of longestHeld(input)) {
        if (nowMs - Math.max(event.readAtMs, liveSinceMs) <= holdMaxMs) break
        if (compareCanonical(event, forced) > 0) forced = event
      }
    }
    return forced
  }

  function hasReadRestore(target: TaskPosition): boolean {
    return inputs.every((input, i) => input.nextOffset >= target.inputs[i]!.nextOffset)
  }

  function takeRestore(events: readonly StageEvent[], nowMs: number): TaskBatch | null {
    assert(restoreTo)
    if (events.length > 0) return batchOf(events, true)
    if (!hasReadRestore(restoreTo)) return null
    floor = restoreTo.frontier
    horizon = Math.max(horizon, restoreTo.retentionWatermark)
    isRestoring = false
    liveSinceMs = nowMs
    finishRestored()
    return batchOf([], true)
  }

  /**
   * Event time of the source that is furthest behind, so that no fact is dropped which an event that is not late by its own stream still
   * asks for: what was read is judged by the clock before it. An input at its end is waited for as long as facts are kept anywhere: the
   * facts of a stream would never go while another is silent.
   */
  function slowestClock(): number {
    if (restoreTo && isRestoring) return restoreTo.retentionWatermark
    const idleFrom = alignment.frontier.time - keptMs
    let slowest = alignment.slowestTask(idleFrom)
    for (const input of inputs) {
      if (!input.stream) continue
      const oldest = oldestHeld(input)
      const clock = oldest ? oldest.maxEventTimeBefore : input.maxEventTime
      slowest = Math.min(slowest, oldest || !input.isAtEnd ? clock : Math.max(clock, idleFrom))
    }
    return slowest
  }

  function moveHorizon(slowest: number): void {
    const { time } = compareCanonical(alignment.frontier, floor) > 0 ? alignment.frontier : floor
    horizon = Math.max(horizon, Math.min(time, slowest))
  }

  function batchOf(events: readonly StageEvent[], isRestore: boolean): TaskBatch {
    const refused = rejections
    rejections = []
    hasMoved = false
    return {
      events,
      rejections: refused,
      position: positionNow(),
      stagePosition: { stage: stage.entity.name, partition, next: inputs.map((input) => input.nextOffset) },
      isRestore,
    }
  }

  function positionNow(): TaskPosition {
    const frontier = compareCanonical(alignment.frontier, floor) > 0 ? alignment.frontier : floor
    return {
      frontier,
      retentionWatermark: horizon,
      inputs: inputs.map((input) => {
        const oldest = oldestHeld(input)
        const resume = oldest
          ? { resumeOffset: oldest.offset, maxEventTime: oldest.maxEventTimeBefore }
          : { resumeOffset: input.nextOffset, maxEventTime: input.maxEventTime }
        return { ...resume, nextOffset: input.nextOffset }
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
    get frontier() {
      return alignment.frontier
    },
    get retentionWatermark() {
      return horizon
    },
    get isRestoring() {
      return isRestoring
    },
    readTime,
    wanted,
    accept,
    take,
    takePosition() {
      if (!hasMoved || isRestoring || isReadingAgain()) return null
      moveHorizon(slowestClock())
      return batchOf([], false)
    },
    // While folding again, what was read is taken as soon as all of it is there.
    awaitsEnd: (nowMs) => !isRestoring && rejections.length === 0 && alignment.awaitsEnd(nowMs) && !isForced(nowMs),
    topRound: () => alignment.top()?.round ?? -1,
    topRaw() {
      const top = alignment.top()
      return top && inputs[top.input]!.stream ? top : null
    },
    topTime: () => alignment.top()?.time ?? Number.POSITIVE_INFINITY,
    endRound: alignment.endRound,
    watermark: alignment.watermark,
    isAtEnd: () => !isRestoring && alignment.isAtEnd(),
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

function rejectionOf(input: ReadInput, record: LogRecord, problems: RejectedRecord['problems']): RejectedRecord {
  const { topic, partition } = input
  const { offset, appendedAtMs, key, value, headers } = record
  return { topic, partition, offset, appendedAtMs, key, value, headers, problems }
}
