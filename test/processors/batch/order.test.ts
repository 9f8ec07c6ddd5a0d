/** Step 2, second half: one batch of each task that has something to do, and how tasks wait for each other. */

import { describe, expect, test } from 'vitest'
import { storeKeysMax } from '../../../feature-store/store.ts'
import type { ActiveBatch, OpenTask } from '../../../processors/batch/active-batch.ts'
import { type OrderParts, order } from '../../../processors/batch/order.ts'
import type { TakeBounds, Task, TaskBatch } from '../../../processors/batch/task.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import type { StreamEvent } from '../../../testing/index.ts'
import { activeBatch, at, fetchedOf, heldEvent, openClicks, openTaskOf, rawRecord } from '../../support/batch-steps.ts'
import { click, clicksPipeline, refund } from '../../support/clicks.ts'

const oneStage = compile(clicksPipeline({ stages: 1 }))
const twoStages = compile(clicksPipeline({ stages: 2 }))
const [userStage, pageStage] = twoStages.stages
const limits = { batchEventsMax: 100, heldMax: 1_000, positionEveryMs: 10_000 }
const partsOf = (tasks: readonly OpenTask[], rest: Partial<OrderParts> = {}): OrderParts => ({
  tasks,
  exchanges: [],
  limits,
  ...rest,
})

/** A task that was read up to this event time; it remembers with which bounds it was asked, and gives this batch. */
async function openAskedTask(rest: Partial<Task>, batch: TaskBatch | null = null) {
  const asked: TakeBounds[] = []
  const open = await openClicks(twoStages)
  const take: Task['take'] = (_, bounds) => {
    asked.push(bounds)
    return batch
  }
  const task: Task = { ...open.task, stage: userStage!, take, takePosition: () => null, ...rest }
  return { open: await openTaskOf(task, twoStages), asked }
}

const entitiesOf = ({ open }: ActiveBatch) => open.byEntity.entities.map(({ key }) => key)

describe('batches', () => {
  /** A task of the only stage, whose clicks and refunds were read to the end. */
  async function openRead(clicks: readonly StreamEvent[], refunds: readonly StreamEvent[]) {
    const open = await openClicks(oneStage)
    const recordsOf = (events: readonly StreamEvent[]) => events.map((event, i) => rawRecord(oneStage, event, i))
    open.task.accept(fetchedOf('clicks', recordsOf(clicks)), 1, 0)
    open.task.accept(fetchedOf('refunds', recordsOf(refunds)), 1, 0)
    for (const { topic, nextOffset } of open.task.inputs)
      open.task.accept(fetchedOf(topic, [], { from: nextOffset }), 2, 0)
    return open
  }

  test('have the events in order, the keys to load, and the rejections', async () => {
    const open = await openRead([click('a', 'anna', 1), click('b', 'bert', 3)], [refund('r', 'anna', 2)])
    const [active, ...others] = order(partsOf([open]), 2, 7)
    expect(others).toEqual([])
    expect(active!.batch.events.map(({ id }) => id)).toEqual(['a', 'r', 'b'])
    expect(active).toMatchObject({ open, rejections: [] })
    expect(entitiesOf(active!)).toEqual(['anna', 'bert'])
    const { byEntity } = active!.open
    expect([byEntity.first, byEntity.next]).toEqual([
      [0, 2],
      [1, -1, -1],
    ])
    expect(open.positionTakenMs).toBe(7)
  })

  test('are of the tasks that have something to do', async () => {
    const tasks = [await openRead([], []), await openRead([click('a', 'anna', 1)], [])]
    expect(order(partsOf(tasks), 2, 0).map(({ open }) => tasks.indexOf(open))).toEqual([1])
  })

  test('have events of as many entities as one step takes; the rest comes with the next', async () => {
    const clicks = Array.from({ length: storeKeysMax + 2 }, (_, i) => click(`c${i}`, `user ${i}`, i))
    const open = await openRead(clicks, [])
    const many = { tasks: [open], exchanges: [], limits: { ...limits, batchEventsMax: clicks.length } }
    expect(order(many, 2, 0)[0]!.batch.events.length).toBe(storeKeysMax)
    expect(order(many, 2, 0)[0]!.batch.events.length).toBe(2)
  })

  test('load no log for an event that leaves no fact in its stage', async () => {
    const open = await openClicks(twoStages)
    const events = [click('a', 'anna', 0), refund('r', 'bert', 1)].map((event, i) => heldEvent(twoStages, event, i))
    const { batch } = activeBatch(open, events)
    expect(events.map(({ key }) => key)).toEqual(['anna', 'bert'])
    const take: Task['take'] = (_, { admits }) => ({ ...batch, events: events.filter(admits) })
    const [active] = order(partsOf([{ ...open, task: { ...open.task, take } }]), 1, 0)
    expect(entitiesOf(active!)).toEqual(['anna'])
    expect(active!.open.byEntity).toMatchObject({ placeOf: [0, -1], firstWithout: 1 })
  })
})

test('a moved position is taken where there is no batch, only every so often', async () => {
  const moved = activeBatch(await openClicks(twoStages), []).batch
  const { open } = await openAskedTask({ takePosition: () => moved })
  const taken = (nowMs: number) => order(partsOf([open]), 1, nowMs).map(({ batch }) => batch)
  expect(taken(9_999)).toEqual([])
  expect(taken(10_000)).toEqual([moved])
  expect(taken(19_999)).toEqual([])
  expect(taken(20_000)).toEqual([moved])
})

describe('a task is asked', () => {
  test('for nothing beyond what the slowest task of its stage has read', async () => {
    const fast = await openAskedTask({ readTime: () => at(90) })
    const slow = await openAskedTask({ readTime: () => at(20) })
    const last = await openAskedTask({ readTime: () => at(10), stage: pageStage! })
    order(partsOf([fast, slow, last].map(({ open }) => open)), 4, 0)
    const releaseTimes = [fast, slow, last].map(({ asked }) => asked[0]!.maxReleaseTime)
    // The last stage sends nothing on.
    expect(releaseTimes).toEqual([at(20), at(20), Number.POSITIVE_INFINITY])
  })

  test('for nothing that the latest fetch has brought, where it goes on to another stage', async () => {
    const first = await openAskedTask({})
    const last = await openAskedTask({ stage: pageStage! })
    order(partsOf([first.open, last.open]), 4, 0)
    expect(first.asked).toMatchObject([{ eventsMax: 100, beforeRound: 4 }])
    expect(last.asked).toMatchObject([{ beforeRound: Number.POSITIVE_INFINITY }])
  })

  test('for nothing beyond what the readers of its topic wait for, once they hold too much', async () => {
    const { open, asked } = await openAskedTask({ readTime: () => at(90) })
    const exchange = {
      stage: userStage!,
      progressConsumer: null,
      startRound: () => undefined,
      dueUpdate: () => null,
      isReportPending: () => false,
      report: () => [],
      maxReleaseTime: () => at(5),
    }
    order(partsOf([open], { exchanges: [exchange] }), 4, 0)
    expect(asked[0]!.maxReleaseTime).toBe(at(5))
    order(partsOf([open], { exchanges: [{ ...exchange, maxReleaseTime: () => null }] }), 4, 0)
    expect(asked[1]!.maxReleaseTime).toBe(at(90))
  })
})
