/** What a task gives to be folded, and when: order, bounds, early release, restores. */
import { describe, expect, test } from 'vitest'
import {
  createTask,
  type TakeBounds,
  type TaskBatch,
  type TaskLimits,
  type TaskOptions,
} from '../../../processors/batch/task.ts'
import { orderOf } from '../../../schemas/kernel/canonical-order.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import type { StreamEvent } from '../../../testing/index.ts'
import { admitsKeys, at, fetchedOf, freshPosition, rawRecord, taskOptions } from '../../support/batch-steps.ts'
import { click, clicksPipeline, refund } from '../../support/clicks.ts'

const plan = compile(clicksPipeline({ stages: 1 }))
const bounds: TakeBounds = {
  eventsMax: 1_000,
  admits: () => true,
  maxReleaseTime: Number.POSITIVE_INFINITY,
  beforeRound: Number.POSITIVE_INFINITY,
}
const limits: TaskLimits = { holdMaxMs: Number.POSITIVE_INFINITY, heldMax: 1_000, readAheadMax: 1_000 }

/** A task whose inputs are read by hand; every call of `read` is the next fetch. */
function openTask({ own, ...rest }: Partial<TaskOptions> & { readonly own?: Partial<TaskLimits> } = {}) {
  const task = createTask(taskOptions(plan, { limits: { ...limits, ...own }, ...rest }))
  let round = 0
  const next = { clicks: 0, refunds: 0 }
  /** `more`: records of open transactions behind these. */
  function read(
    topic: 'clicks' | 'refunds',
    events: ReadonlyArray<StreamEvent | string> = [],
    { nowMs = 0, more = 0 } = {},
  ): void {
    const from = next[topic]
    next[topic] += events.length
    const records = events.map((event, i) => rawRecord(plan, event, from + i))
    task.accept(fetchedOf(topic, records, { from, end: next[topic] + more }), ++round, nowMs)
  }
  return { task, read, take: (own: Partial<typeof bounds> = {}, nowMs = 0) => task.take(nowMs, { ...bounds, ...own }) }
}

const idsOf = (batch: TaskBatch | null) => batch?.events.map(({ id }) => id) ?? null

/** Both inputs were read, and a later fetch has found them at their end. */
function openRead(clicks: readonly StreamEvent[], refunds: readonly StreamEvent[] = []) {
  const opened = openTask()
  opened.read('clicks', clicks)
  opened.read('refunds', refunds)
  opened.read('clicks')
  opened.read('refunds')
  return opened
}

describe('a batch', () => {
  test('has the events of both inputs in canonical order: by time, then stream, then offset', () => {
    const clicks = [click('b', 'anna', 10), click('c', 'anna', 10), click('d', 'anna', 20)]
    const { take } = openRead(clicks, [refund('r', 'anna', 5), refund('s', 'anna', 10)])
    expect(idsOf(take())).toEqual(['r', 'b', 'c', 's', 'd'])
    expect(take()).toBeNull()
  })

  test('has nothing before every source has passed it', () => {
    const { read, take } = openTask()
    read('clicks', [click('a', 'anna', 10)])
    expect(take()).toBeNull()
    read('refunds', [refund('r', 'anna', 9)], { more: 1 })
    expect(idsOf(take())).toEqual(['r'])
    read('refunds', [refund('s', 'anna', 11)], { more: 1 })
    expect(idsOf(take())).toEqual(['a'])
  })

  test('says where the task stands once it is done', () => {
    const { task, take } = openRead([click('a', 'anna', 10), click('b', 'anna', 20)])
    expect(take({ eventsMax: 1 })).toMatchObject({
      position: {
        frontier: { time: at(10), order: orderOf(0, 0, 0) },
        inputs: [
          // The second was read and is held.
          { resumeOffset: 1, nextOffset: 2, maxEventTime: at(10) },
          { resumeOffset: 0, nextOffset: 0 },
        ],
      },
      stagePosition: { stage: 'user', partition: 0, next: [2, 0] },
      isRestore: false,
    })
    expect(task.held).toBe(1)
  })

  test('comes of rejections alone, which it takes with it', () => {
    const { read, take } = openTask()
    read('clicks', ['bad'])
    expect(take()).toMatchObject({
      events: [],
      rejections: { length: 1 },
      position: { inputs: [{ resumeOffset: 1 }, {}] },
    })
    expect(take()).toBeNull()
  })
})

describe('the bounds of a batch', () => {
  const clicks = [click('a', 'anna', 1), click('b', 'bert', 2), click('c', 'anna', 3), click('d', 'cleo', 4)]

  test.each([
    ['so many events', { eventsMax: 3 }, ['a', 'b', 'c']],
    ['so many entities', { admits: admitsKeys(2) }, ['a', 'b', 'c']],
    ['nothing of a later event time', { maxReleaseTime: at(2) }, ['a', 'b']],
    ['nothing that this fetch has brought', { beforeRound: 1 }, null],
  ])('%s', (_, own, ids) => {
    const { take } = openRead(clicks)
    expect(idsOf(take(own))).toEqual(ids)
    expect(idsOf(take())).toEqual(['a', 'b', 'c', 'd'].slice(ids?.length ?? 0))
  })

  test('do not hold late events back: their offsets hold back nothing after this batch', () => {
    const start = { ...freshPosition(2), frontier: { time: at(50), order: 0 } }
    const { read, take, task } = openTask({ start })
    read('clicks', clicks)
    expect(idsOf(take({ eventsMax: 1, beforeRound: 0 }))).toEqual(['a', 'b', 'c', 'd'])
    expect(task.counts).toEqual({ late: 4, releasedEarly: 0 })
  })
})

test('a task that is held back says that it has nothing before what it holds, but not of what the latest fetch brought', () => {
  const { take, task } = openRead([click('a', 'anna', 10), click('b', 'anna', 20)])
  take({ maxReleaseTime: at(5), beforeRound: 1 })
  expect(task.heldBackAt).toEqual(freshPosition(2).frontier)
  expect(take({ maxReleaseTime: at(10), beforeRound: 3 })?.events).toHaveLength(1)
  expect(task.heldBackAt).toEqual({ time: at(20), order: orderOf(0, 0, 1) - 1 })
  expect(task.watermark()).toEqual({ time: at(10), order: orderOf(0, 0, 0) })
})

describe('an event goes early', () => {
  test('once a source that it waits for has made no progress for as long as that is waited for', () => {
    const { read, take, task } = openTask({ own: { holdMaxMs: 1_000 } })
    read('clicks', [click('a', 'anna', 10)], { nowMs: 500 })
    expect(take({}, 1_500)).toBeNull()
    expect(idsOf(take({}, 1_501))).toEqual(['a'])
    expect(task.counts.releasedEarly).toBe(1)
    expect(task.lastEarly).toEqual({ time: at(10), source: 1, input: 1 })
  })

  test('not while every source is read on, however long the event has waited', () => {
    const { read, take, task } = openTask({ own: { holdMaxMs: 1_000 } })
    read('clicks', [click('a', 'anna', 5_000)])
    for (let second = 1; second <= 50; second++) {
      read('refunds', [refund(`r${second}`, 'anna', second)], { nowMs: second * 900, more: 100 })
      expect(idsOf(take({}, second * 900))).toEqual([`r${second}`])
    }
    expect(take({}, 50 * 900 + 1_000)).toBeNull()
    expect(idsOf(take({}, 50 * 900 + 1_001))).toEqual(['a'])
    expect(task.counts).toEqual({ late: 0, releasedEarly: 1 })
  })

  test('not where a source has come to where it ended when the event was read, although it has more by then', () => {
    const { read, take, task } = openTask({ own: { holdMaxMs: 1_000 } })
    read('clicks', [click('a', 'anna', 5_000)])
    read('refunds', [refund('r', 'anna', 1)], { more: 2 })
    expect(idsOf(take())).toEqual(['r'])
    read('refunds', [refund('s', 'anna', 2)], { more: 7 })
    expect(idsOf(take())).toEqual(['s'])
    read('refunds', [refund('t', 'anna', 3)], { more: 9 })
    // Both that it had then were read; the event is in order as far as anyone could know when it was sent.
    expect(idsOf(take())).toEqual(['t', 'a'])
    expect(task.counts).toEqual({ late: 0, releasedEarly: 0 })
  })

  test('never where waiting has no bound', () => {
    const { read, take } = openTask()
    read('clicks', [click('a', 'anna', 10)])
    expect(take({}, 1e12)).toBeNull()
  })
})

describe('a restore', () => {
  const fresh = freshPosition(2)
  const restoreTo = {
    // Beyond the last event that is folded again.
    frontier: { time: at(25), order: 0 },
    retentionWatermark: at(15),
    inputs: [{ ...fresh.inputs[0]!, nextOffset: 3 }, fresh.inputs[1]!],
  }
  const clicks = [click('a', 'anna', 10), click('b', 'anna', 20), click('held', 'anna', 30), click('new', 'anna', 40)]

  test('folds up to the committed frontier; its last batch is empty, and the task is live from there on', () => {
    const { task, read, take } = openTask({ restoreTo })
    read('clicks', clicks.slice(0, 3))
    const restored = take()!
    expect([idsOf(restored), restored.isRestore, task.isRestoring]).toEqual([['a', 'b'], true, true])
    const last = take()!
    expect([idsOf(last), last.isRestore, task.isRestoring]).toEqual([[], true, false])
    expect(last.position).toMatchObject({ frontier: restoreTo.frontier, retentionWatermark: at(15) })
    expect(last.position.inputs.map(({ nextOffset }) => nextOffset)).toEqual([3, 0])

    read('clicks', clicks.slice(3))
    read('refunds', [refund('r', 'anna', 50)])
    const live = take()!
    expect([idsOf(live), live.isRestore]).toEqual([['held', 'new'], false])
  })

  test('ends once all that was read before was read again', () => {
    const { task, read, take } = openTask({ restoreTo })
    read('clicks', clicks.slice(0, 2))
    expect(idsOf(take())).toEqual(['a', 'b'])
    expect([take(), task.isRestoring]).toEqual([null, true])
    read('clicks', clicks.slice(2, 3))
    expect([idsOf(take()), task.isRestoring]).toEqual([[], false])
  })
})

describe('the position without a batch', () => {
  test('is given once it has moved, once', () => {
    const { task, read, take } = openTask()
    expect(task.takePosition()).toBeNull()
    read('clicks', [click('a', 'anna', 10)])
    expect(take()).toBeNull()
    expect(task.takePosition()).toMatchObject({
      events: [],
      isRestore: false,
      position: { inputs: [{ resumeOffset: 0, nextOffset: 1 }, { nextOffset: 0 }] },
    })
    expect(task.takePosition()).toBeNull()
  })

  test('is not given while what the store stands for is read again', () => {
    const [clicksRead, refundsRead] = freshPosition(2).inputs
    const start = { ...freshPosition(2), inputs: [{ ...clicksRead!, nextOffset: 2 }, refundsRead!] }
    const { task, read, take } = openTask({ start })
    read('clicks', [click('a', 'anna', 10)])
    expect([task.takePosition(), take()]).toEqual([null, null])
    read('clicks', [click('b', 'anna', 20)])
    expect(task.takePosition()).not.toBeNull()
  })
})
