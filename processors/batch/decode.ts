/**
 * Step 2 of a batch: fetched records in, validated events held by their tasks and dead letters noted. A raw record is validated, a
 * repartition record carries an event or the progress of the stage before. Called by the batch loop with each answer of a fetch.
 */
import assert from 'node:assert/strict'
import { storeKeysMax } from '../../feature-store/store.ts'
import type { FetchedPartition, LogRecord } from '../../runtime/broker.ts'
import type { Records } from '../../runtime/records.ts'
import { compareCanonical } from '../../schemas/kernel/canonical-order.ts'
import type { Problem } from '../../schemas/kernel/event.ts'
import type { StreamPlan } from '../../schemas/plan/plan.ts'
import type { RejectedRecord } from '../../schemas/wire/dead-letter.ts'
import type { WatermarkRecord } from '../../schemas/wire/records.ts'
import type { ProgressConsumer } from '../watermarks/progress-consumer.ts'
import { observeWatermark, type SourceFrontiers } from '../watermarks/source-frontiers.ts'
import { isBehindCatchUp, noteEnd } from './catch-up.ts'
import { sweepHeld } from './held-events.ts'
import { dropOverflow } from './overflow.ts'
import { readRawEvent, readRepartition } from './read-event.ts'
import type { StageEvent } from './stage-event.ts'
import type { Task } from './task-contract.ts'
import { fetchedEvents, hasUnread, nothingSent, type ReadInput, repeatOf, type Sent } from './task-input.ts'
import { finishRestoredInputs, isBehindStart, isRereading, type TaskState } from './task-state.ts'

/** Late events held at once. A position cannot name them one by one, so all of them go with the next batch. */
const lateHeldMax = storeKeysMax

export interface DecodeParts {
  readonly tasks: ReadonlyArray<{ readonly task: Task }>
  readonly progressConsumers: readonly ProgressConsumer[]
}

/** `round`: number of the fetch that this partition's records answer. */
export function decode(
  { tasks, progressConsumers }: DecodeParts,
  fetched: FetchedPartition,
  round: number,
  nowMs: number,
): void {
  const open = tasks.find(({ task }) => isInputOf(task, fetched))
  if (open) open.task.accept(fetched, round, nowMs)
  else progressConsumers.find((consumer) => consumer.wanted().topic === fetched.topic)!.accept(fetched)
}

function isInputOf({ partition, inputs }: Task, fetched: FetchedPartition): boolean {
  return partition === fetched.partition && inputs.some(({ topic }) => topic === fetched.topic)
}

/** The answer of a fetch for one input of the task. */
export function acceptFetched(state: TaskState, fetched: FetchedPartition, round: number, nowMs: number): void {
  const { partition, restoreTo } = state.options
  const index = state.inputs.findIndex((input) => input.topic === fetched.topic)
  const input = state.inputs[index]!
  assert(fetched.partition === partition && fetched.from === input.nextOffset, 'a fetch answers what was asked for')
  assert(!hasUnread(input), 'an input is fetched once all that was fetched is read')
  const end = restoreTo && state.isRestoring ? restoreTo.inputs[index]!.nextOffset : Number.POSITIVE_INFINITY
  const isNearer = state.isRestoring || isRereading(state) || isBehindCatchUp(state, index)
  input.fetched = {
    ...fetchedEvents(fetched.records, { input: index, partition, round, readAtMs: nowMs }),
    count: countBefore(fetched.records, end),
    read: 0,
    next: Math.min(fetched.next, end),
    stableEnd: fetched.stableEnd,
    end: fetched.end,
    askedRound: round - fetched.age,
  }
  if (fetched.next > fetched.from) {
    state.hasMoved = true
    state.readAtMs = nowMs
    if (isNearer) state.nearerAtMs = nowMs
  }
  noteEnd(state, index)
  readInput(state, index)
  dropOverflow(state)
  sweepHeld(input, fetched.records.bytes.length, state.options.limits.heldMax)
}

function countBefore({ length, offsets }: Records, end: number): number {
  let count = length
  while (count > 0 && offsets[count - 1]! >= end) count--
  return count
}

/** Reads on where late events had filled their room before the last batch. */
export function readUnread(state: TaskState): void {
  state.inputs.forEach((input, i) => {
    if (hasUnread(input)) readInput(state, i)
  })
}

/** Reads what was fetched, as far as late events may be held. */
function readInput(state: TaskState, index: number): void {
  const { alignment } = state
  const input = state.inputs[index]!
  const { next, stableEnd, end, askedRound, readAtMs } = input.fetched
  const maxEventTimeBefore = input.maxEventTime
  // What is read again was held, or is done: it is not late.
  while (hasUnread(input) && (isBehindStart(state, input, index) || alignment.lateHeld < lateHeldMax)) {
    const row = input.fetched.read++
    if (input.stream) readRawRecord(state, input, input.stream, index, row)
    else readRepartitionRecord(state, input, row)
    input.nextOffset = input.fetched.records.offsets[row]! + 1
  }
  if (input.stream && input.maxEventTime > maxEventTimeBefore) {
    alignment.advance(input.firstSource, { time: input.maxEventTime, order: -1 }, readAtMs)
  }
  if (!input.stream) tellSent(state, input)
  if (!hasUnread(input)) input.nextOffset = next
  input.lag = Math.max(0, stableEnd - input.nextOffset)
  // What an open transaction has not decided may still come, and be earlier than what other inputs bring.
  input.isAtEnd = input.nextOffset >= end
  alignment.observeFetch(index, { round: askedRound, nextOffset: input.nextOffset, end }, readAtMs)
  if (!input.stream && input.lag === 0) frontiersOf(state).setCaughtUp()
  finishRestoredInputs(state)
}

function readRawRecord(state: TaskState, input: ReadInput, stream: StreamPlan, index: number, row: number): void {
  const { fetched, firstSource, maxEventTime } = input
  const read = readRawEvent(state, fetched, stream, firstSource, row, maxEventTime)
  if (isProblems(read)) {
    const record = fetched.records.at(row)
    if (!wasValidated(state, index, record.offset)) state.rejections.push(rejectedRecord(input, record, read))
    return
  }
  hold(state, input, read, maxEventTime)
  if (read.time > maxEventTime) input.maxEventTime = read.time
}

function isProblems(read: StageEvent | readonly Problem[]): read is readonly Problem[] {
  return Array.isArray(read)
}

function readRepartitionRecord(state: TaskState, input: ReadInput, row: number): void {
  const { fetched, firstSource, maxEventTime } = input
  const read = readRepartition(state, fetched, firstSource, row, maxEventTime)
  const offset = fetched.records.offsets[row]!
  if ('kind' in read) {
    tellSent(state, input)
    readWatermark(state, input, read, offset)
    return
  }
  const { source, time } = read
  const sent = sentBy(input.sentBy, source - firstSource)
  hold(state, input, read, Math.max(sent.time, state.alignment.maxEventTimeOf(source)))
  if (time > maxEventTime) input.maxEventTime = time
  if (sent.offset < 0 || compareCanonical(read, sent) > 0) {
    sent.time = time
    sent.order = read.order
  }
  sent.offset = offset
}

function sentBy(bySource: Array<Sent | undefined>, source: number): Sent {
  bySource[source] ??= { ...nothingSent }
  return bySource[source]
}

/** What tasks of the stage before have sent since the last call: asked for between answers, so each is told once and not for each event. */
function tellSent(state: TaskState, { sentBy, firstSource, fetched }: ReadInput): void {
  const { alignment } = state
  const { readAtMs } = fetched
  for (const [source, sent] of sentBy.entries()) {
    if (sent === undefined || sent.offset < 0) continue
    frontiersOf(state).observe(source, sent)
    alignment.advance(firstSource + source, sent, readAtMs)
    alignment.observeReport(firstSource + source, { offset: sent.offset, ...noReport }, readAtMs)
    Object.assign(sent, nothingSent)
  }
}

/** What an event reports: nothing but that its sender is not idle. */
const noReport = { isIdle: false, isCaughtUp: false, isAdvancing: false, observed: [], idleUpTo: null }

function readWatermark(state: TaskState, input: ReadInput, watermark: WatermarkRecord, offset: number): void {
  const { alignment, options } = state
  const { readAtMs } = input.fetched
  observeWatermark(watermark, frontiersOf(state))
  for (const progress of watermark.sources) {
    if (progress.source >= options.tasksBefore) continue
    const source = input.firstSource + progress.source
    const { idle: isIdle, caughtUp: isCaughtUp, advancing: isAdvancing, idleUpTo, retentionWatermark } = progress
    const { observed } = watermark
    alignment.advance(source, { time: progress.watermark, order: progress.order }, readAtMs)
    alignment.observeReport(source, { offset, isIdle, isCaughtUp, isAdvancing, observed, idleUpTo }, readAtMs)
    if (retentionWatermark !== null) alignment.observeRetentionWatermark(source, retentionWatermark)
  }
}

/** A stage with a repartition input is opened with the frontiers of the topic. */
function frontiersOf({ options }: TaskState): SourceFrontiers {
  return options.sourceFrontiers!
}

/** A former owner validated what lies before the recovered position, and its dead letters were published. */
function wasValidated({ options }: TaskState, index: number, offset: number): boolean {
  return offset < (options.restoreTo ?? options.start).inputs[index]!.nextOffset
}

/**
 * Holds the event until it is in order, unless the store stands for it already. `maxEventTime`: greatest event time that its source had
 * sent before it.
 */
function hold({ options, alignment }: TaskState, input: ReadInput, event: StageEvent, maxEventTime: number): void {
  const { start } = options
  if (event.offset < start.inputs[event.input]!.nextOffset && compareCanonical(event, start.frontier) <= 0) return
  // Only an event out of order can overtake one of its own id that was read before it: the first one read wins, now and on a replay.
  if (event.time < maxEventTime) event.repeats = repeatOf(input, event)
  input.held.push(event)
  alignment.push(event)
}

function rejectedRecord(input: ReadInput, record: LogRecord, problems: RejectedRecord['problems']): RejectedRecord {
  const { topic, partition } = input
  const { offset, appendedAtMs, key, value, headers } = record
  return { topic, partition, offset, appendedAtMs, key, value, headers, problems }
}
