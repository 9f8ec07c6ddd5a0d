/** Step 2, first half: fetched records become held events, rejections, and what is known of the stage before. */
import { describe, expect, test } from 'vitest'
import { storeKeysMax } from '../../../feature-store/store.ts'
import { acceptFetched, decode, readUnread } from '../../../processors/batch/decode.ts'
import type { StageEvent } from '../../../processors/batch/stage-event.ts'
import { createTask, type TaskOptions } from '../../../processors/batch/task.ts'
import { openTaskState, type TaskState } from '../../../processors/batch/task-state.ts'
import { createProgressConsumer } from '../../../processors/watermarks/progress-consumer.ts'
import { createSourceFrontiers } from '../../../processors/watermarks/source-frontiers.ts'
import type { LogRecord } from '../../../runtime/broker.ts'
import { orderOf } from '../../../schemas/kernel/canonical-order.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import type { RepartitionRecord, SourceProgress } from '../../../schemas/wire/records.ts'
import type { StreamEvent } from '../../../testing/index.ts'
import { at, fetchedOf, freshPosition, rawRecord, taskOptions } from '../../support/batch-steps.ts'
import { click, clicksPipeline, refund } from '../../support/clicks.ts'

const plan = compile(clicksPipeline({ stages: 1, lateness: '1m' }))
const fresh = freshPosition(2)

const openState = (rest: Partial<TaskOptions> = {}) => openTaskState(taskOptions(plan, rest))

/** Accepts these clicks, with their offsets from `from` on. */
function acceptClicks(state: TaskState, events: ReadonlyArray<StreamEvent | string>, from = 0): void {
  const records = events.map((event, i) => rawRecord(plan, event, from + i))
  acceptFetched(state, fetchedOf('clicks', records, { from }), 1, 0)
}

/** A view has the values of its event, and makes them when they are asked for. */
const fieldsOf = ({ event, rows }: StageEvent) =>
  Object.fromEntries(rows.layout.fields.map(({ name }) => [name, event[name]]))
const heldIds = (state: TaskState, input = 0) => state.inputs[input]!.held.map(({ id }) => id)
const rejected = (state: TaskState) => state.rejections.map(({ offset, problems }) => [offset, problems[0]!.code])

describe('a raw record', () => {
  test('becomes an event that is held with its position', () => {
    const state = openState({ start: freshPosition(2, 4) })
    const event = refund('r', 'anna', 7, { clickedAt: 2 })
    acceptFetched(state, fetchedOf('refunds', [rawRecord(plan, event, 4)]), 3, 99)
    expect(state.inputs[1]!.held).toMatchObject([
      {
        time: at(7),
        order: orderOf(1, 0, 4),
        source: 1,
        round: 3,
        readAtMs: 99,
        stream: 1,
        id: 'r',
        key: 'anna',
        originPartition: 0,
        originOffset: 4,
        input: 1,
        offset: 4,
        rejectedBy: null,
        repeats: null,
        isTaken: false,
      },
    ])
    const [held] = state.inputs[1]!.held
    expect(fieldsOf(held!)).toEqual(event.values)
    expect(state.inputs[1]).toMatchObject({ nextOffset: 5, maxEventTime: at(7), lag: 0, isAtEnd: true })
    expect(state.alignment.maxEventTimeOf(1)).toBe(at(7))
    expect(state.hasMoved).toBe(true)
  })

  test('that is bad becomes a rejection with its origin and bytes, and those after it go on', () => {
    const state = openState({ start: freshPosition(2, 5) })
    acceptClicks(state, [click('a', 'anna', 0), 'bad', click('b', 'anna', 1)], 5)
    expect(heldIds(state)).toEqual(['a', 'b'])
    expect(state.rejections).toMatchObject([
      { topic: 'clicks', partition: 0, offset: 6, value: Buffer.from('bad'), problems: [{ code: 'not_json' }] },
    ])
  })

  test('is late by the valid events before it only', () => {
    const state = openState()
    // The second is itself too far ahead, so it moves no clock.
    acceptClicks(state, [click('a', 'anna', 100), click('ahead', 'anna', 900_000), click('late', 'anna', 39)])
    acceptClicks(state, [click('in time', 'anna', 40)], 3)
    expect(rejected(state)).toEqual([
      [1, 'ahead'],
      [2, 'late'],
    ])
    expect(state.inputs[0]!.held.map(({ id, maxEventTimeBefore }) => [id, maxEventTimeBefore])).toEqual([
      ['a', Number.NEGATIVE_INFINITY],
      ['in time', at(100)],
    ])
  })

  test('that came after one of its own id, and before it in order, is marked as repeated', () => {
    const state = openState()
    acceptClicks(state, [click('a', 'anna', 20), click('a', 'anna', 10), click('a', 'bert', 10)])
    expect(state.inputs[0]!.held.map(({ key, repeats }) => [key, repeats])).toEqual([
      ['anna', null],
      ['anna', { time: at(20), order: orderOf(0, 0, 0), isConflict: true }],
      ['bert', null],
    ])
  })
})

describe('what a former owner has read', () => {
  const [clicksRead, refundsRead] = fresh.inputs as [(typeof fresh.inputs)[0], (typeof fresh.inputs)[0]]
  const stored = {
    frontier: { time: at(10), order: orderOf(0, 0, 2) },
    retentionWatermark: at(10),
    inputs: [{ ...clicksRead, nextOffset: 3 }, refundsRead],
  }
  const log = ['bad', click('held', 'anna', 20), click('done', 'anna', 10), 'bad too', click('new', 'anna', 30)]

  test('is not rejected again, and is held only beyond the frontier', () => {
    const state = openState({ start: stored })
    acceptClicks(state, log)
    expect(rejected(state)).toEqual([[3, 'not_json']])
    expect(heldIds(state)).toEqual(['held', 'new'])
  })

  test('is not rejected again by a restore, which reads no further than the committed offsets', () => {
    const restoreTo = { ...stored, inputs: [{ ...clicksRead, nextOffset: 4 }, refundsRead] }
    const state = openState({ restoreTo })
    acceptClicks(state, log)
    expect(rejected(state)).toEqual([])
    expect(heldIds(state)).toEqual(['held', 'done'])
    expect(state.inputs[0]!.nextOffset).toBe(4)
  })
})

test('no more late events are held than a batch takes; the rest is read afterwards', () => {
  const state = openState({ start: { ...fresh, frontier: { time: at(50), order: 0 } } })
  const late = Array.from({ length: storeKeysMax + 2 }, (_, i) => click(`late${i}`, `user${i}`, 10))
  acceptClicks(state, late)
  expect(heldIds(state).length).toBe(storeKeysMax)
  expect(state.inputs[0]).toMatchObject({ nextOffset: storeKeysMax, lag: 2, isAtEnd: false })
  readUnread(state)
  expect(heldIds(state).length).toBe(storeKeysMax)
  for (let taken = 0; taken < storeKeysMax; taken++) state.alignment.release({ nowMs: 0 })
  readUnread(state)
  expect(state.inputs[0]).toMatchObject({ nextOffset: storeKeysMax + 2, lag: 0, isAtEnd: true })
})

test('what an open transaction has not decided may still come: the input is not at its end', () => {
  const state = openState()
  acceptFetched(state, fetchedOf('clicks', [rawRecord(plan, click('a', 'anna', 0))], { end: 9 }), 1, 0)
  expect(state.inputs[0]).toMatchObject({ lag: 0, isAtEnd: false })
})

test('an answer that does not begin where the input stands is a fault of ours', () => {
  const state = openState()
  expect(() => acceptFetched(state, fetchedOf('clicks', [], { from: 1 }), 1, 0)).toThrow(
    'a fetch answers what was asked',
  )
})

describe('a repartition record', () => {
  const twoStages = compile(clicksPipeline({ stages: 2 }))
  const stage = twoStages.stages[1]!
  const { topic, codec } = stage.repartitionIn!

  function openPages() {
    const sourceFrontiers = createSourceFrontiers(2, 0)
    const options = taskOptions(twoStages, { stage, tasksBefore: 2, sourceFrontiers, start: freshPosition(1) })
    return { options, sourceFrontiers, state: openTaskState(options) }
  }

  const recordOf = (record: RepartitionRecord, offset: number): LogRecord => ({
    offset,
    appendedAtMs: 0,
    key: null,
    value: codec.encode(record),
    headers: {},
  })

  const eventOf = (event: StreamEvent, source: number): RepartitionRecord => ({
    kind: 'event',
    source,
    stream: 0,
    origin: { partition: source, offset: 6 },
    event: event.values,
    slots: [1, 2],
    unsent: [],
    positions: [{ stage: 'user', partition: source, next: [7, 0] }],
  })

  const progressOf = (source: number, rest: Partial<SourceProgress> = {}): SourceProgress => ({
    caughtUp: false,
    advancing: false,
    source,
    watermark: at(30),
    order: 5,
    retentionWatermark: at(20),
    idle: false,
    idleUpTo: null,
    ...rest,
  })

  const watermarkOf = (sources: readonly SourceProgress[], requestsProgress = false): RepartitionRecord => ({
    kind: 'watermark',
    sources,
    observed: [],
    requestsProgress,
  })

  test('with an event is held by its origin, with the slots of the stage before, and moves its source', () => {
    const { state, sourceFrontiers } = openPages()
    const event = click('a', 'anna', 3, { page: 'home' })
    acceptFetched(state, fetchedOf(topic, [recordOf(eventOf(event, 1), 0)]), 1, 0)
    const position = { time: at(3), order: orderOf(0, 1, 6) }
    expect(state.inputs[0]!.held).toMatchObject([
      { ...position, source: 1, key: 'home', offset: 0, slotCount: 2, positions: [{ stage: 'user', partition: 1 }] },
    ])
    const { slots, slotsFrom } = state.inputs[0]!.held[0]!
    expect([slots[slotsFrom], slots[slotsFrom + 1]]).toEqual([1, 2])
    expect(sourceFrontiers.latest).toMatchObject([{ order: -1 }, position])
    expect([0, 1].map(state.alignment.maxEventTimeOf)).toEqual([Number.NEGATIVE_INFINITY, at(3)])
  })

  test('with a watermark moves the sources that it names, and holds nothing', () => {
    const { state, sourceFrontiers } = openPages()
    acceptFetched(state, fetchedOf(topic, [recordOf(watermarkOf([progressOf(0)]), 0)]), 1, 0)
    expect(state.alignment.held).toBe(0)
    expect(sourceFrontiers.latest).toMatchObject([{ time: at(30), order: 5 }, { order: -1 }])
    expect([0, 1].map(state.alignment.maxEventTimeOf)).toEqual([at(30), Number.NEGATIVE_INFINITY])
    expect(state.alignment.minRetentionWatermark(Number.NEGATIVE_INFINITY)).toBe(Number.NEGATIVE_INFINITY)
    acceptFetched(state, fetchedOf(topic, [recordOf(watermarkOf([progressOf(1)]), 1)]), 2, 0)
    expect(state.alignment.minRetentionWatermark(Number.NEGATIVE_INFINITY)).toBe(at(20))
  })

  test('of a topic that no task here reads goes to its progress consumer', () => {
    const { options } = openPages()
    const task = createTask(options)
    const frontiers = createSourceFrontiers(2, 0)
    const consumer = createProgressConsumer(stage.repartitionIn!, { topic, partition: 0, offset: 0 }, frontiers)
    const parts = { tasks: [{ task }], progressConsumers: [consumer] }
    const other = createTask(taskOptions(twoStages))
    const watermark = fetchedOf(topic, [recordOf(watermarkOf([progressOf(1)], true), 0)])

    decode({ ...parts, tasks: [{ task: other }] }, watermark, 1, 0)
    expect(frontiers.latest[1]).toEqual({ time: at(30), order: 5 })
    expect(consumer.wanted().offset).toBe(1)

    // Where a task reads it, the consumer is not asked.
    decode(parts, watermark, 1, 0)
    expect(task.inputs[0]!.nextOffset).toBe(1)
    expect(consumer.wanted().offset).toBe(1)
  })
})
