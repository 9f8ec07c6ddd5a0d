/** More events than a task may hold: dropped, read again, and given in the same order as if all had been held. */
import { describe, expect, test } from 'vitest'
import type { StageEvent } from '../../../processors/batch/stage-event.ts'
import { createTask, type TakeBounds, type Task } from '../../../processors/batch/task.ts'
import { createTaskInput, noteDropped, noteReadAgain } from '../../../processors/batch/task-input.ts'
import { decodePosition, encodePosition, type TaskPosition } from '../../../processors/position.ts'
import type { LogRecord } from '../../../runtime/broker.ts'
import { orderOf } from '../../../schemas/kernel/canonical-order.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import type { StreamEvent } from '../../../testing/index.ts'
import { createRandom } from '../../../testing/random.ts'
import { at, fetchedOf, freshPosition, heldEvent, rawRecord, taskOptions } from '../../support/batch-steps.ts'
import { click, clicksPipeline, refund } from '../../support/clicks.ts'

const plan = compile(clicksPipeline({ stages: 1, disorder: '20s' }))
const bounds: TakeBounds = {
  eventsMax: 7,
  admits: () => true,
  maxReleaseTime: Number.POSITIVE_INFINITY,
  beforeRound: Number.POSITIVE_INFINITY,
}

type Topic = 'clicks' | 'refunds'

interface Setup {
  readonly heldMax: number
  readonly start?: TaskPosition
  readonly restoreTo?: TaskPosition
}

function opened({ heldMax, start = freshPosition(2), restoreTo }: Setup): Task {
  const limits = { holdMaxMs: Number.POSITIVE_INFINITY, heldMax, readAheadMax: 100_000 }
  return createTask(taskOptions(plan, { limits, start, restoreTo: restoreTo ?? null }))
}

/** Feeds a task what it wants, at most `chunk` records an answer, and takes what it gives, until nothing moves any more. */
function drained(task: Task, logs: Readonly<Record<Topic, readonly LogRecord[]>>, chunk: number) {
  const taken: Array<Pick<StageEvent, 'id' | 'repeats'>> = []
  const positions: TaskPosition[] = []
  let reads = 0
  let heldMost = 0
  let round = 0
  for (let idle = 0; idle < 5; idle++) {
    round++
    // The disorder of 20 s is waited out.
    const nowMs = round * 30_000
    for (const { topic, offset } of task.wanted(nowMs)) {
      const log = logs[topic as Topic]
      const records = log.slice(offset, offset + chunk)
      reads += records.length
      if (records.length > 0) idle = 0
      task.accept(fetchedOf(topic, records, { from: offset, stableEnd: log.length, end: log.length }), round, nowMs)
      heldMost = Math.max(heldMost, inMemory(task))
    }
    for (let batch = task.take(nowMs, bounds); batch; batch = task.take(nowMs, bounds)) {
      if (batch.events.length > 0) idle = 0
      taken.push(...batch.events.map(({ id, repeats }) => ({ id, repeats })))
      positions.push(decodePosition(encodePosition(batch.position), 'a test'))
    }
  }
  return { taken, positions, reads, heldMost }
}

const inMemory = (task: Task) => task.held - task.dropped

function logsOf(events: readonly StreamEvent[]): Record<Topic, LogRecord[]> {
  const logs: Record<Topic, LogRecord[]> = { clicks: [], refunds: [] }
  for (const event of events) {
    const log = logs[event.stream as Topic]
    log.push(rawRecord(plan, event, log.length))
  }
  return logs
}

/** Clicks ahead of the refunds by as much as the draw says, out of order up to the disorder, some ids twice. */
function drawn(seed: number): Record<Topic, LogRecord[]> {
  const random = createRandom(seed)
  const ahead = random.below(400)
  const events: StreamEvent[] = []
  for (let i = 0; i < 300; i++) {
    const id = random.below(20) === 0 ? `c${random.below(i + 1)}` : `c${i}`
    events.push(click(id, `u${i % 3}`, ahead + i + random.below(20)))
    if (random.below(3) === 0) events.push(refund(`r${i}`, `u${i % 3}`, i))
  }
  return logsOf(events)
}

describe('a task that holds too much', () => {
  test.each([1, 2, 5, 20, 100])('%i events at most: the same events in the same order, each once', (heldMax) => {
    for (let seed = 0; seed < 10; seed++) {
      const logs = drawn(seed)
      const all = drained(opened({ heldMax: 100_000 }), logs, 40)
      const few = drained(opened({ heldMax }), logs, 40)
      expect(few.taken, `seed ${seed}`).toEqual(all.taken)
      expect(all.taken).toHaveLength(logs.clicks.length + logs.refunds.length)
      // One answer of a fetch comes on top before anything is dropped.
      expect(few.heldMost).toBeLessThanOrEqual(heldMax + 40)
    }
  })

  test('reads on behind what it dropped, since what it waits for may lie there', () => {
    const clicks = Array.from({ length: 500 }, (_, i) => click(`c${i}`, 'anna', 1_000 + i))
    const logs = logsOf([...clicks, refund('r', 'anna', 1)])
    const task = opened({ heldMax: 80 })
    const { taken, reads } = drained(task, logs, 50)
    expect(taken.map(({ id }) => id)).toEqual(['r', ...clicks.map(({ values }) => values.clickId)])
    expect(task.dropped).toBe(0)
    // Every record is read once to see it, and again when there is room: not over and over.
    expect(reads).toBeLessThan(500 * 12)
  })

  test.each([3, 30, 100_000])(
    'opened again anywhere with at most %i held: nothing twice, nothing left out',
    (heldMax) => {
      for (let seed = 100; seed < 104; seed++) {
        const logs = drawn(seed)
        const { taken, positions } = drained(opened({ heldMax }), logs, 40)
        const batches = [...positions.keys()].filter((i) => i % 23 === 5)
        for (const i of batches) {
          const again = drained(opened({ heldMax, start: positions[i]! }), logs, 40)
          const done = taken.length - again.taken.length
          expect(
            again.taken.map(({ id }) => id),
            `seed ${seed}, batch ${i}`,
          ).toEqual(taken.slice(done).map(({ id }) => id))
          expect(done).toBeGreaterThan(0)
        }
      }
    },
  )

  test('restored up to a position: what it folds again and what follows are all events in order', () => {
    const logs = drawn(7)
    const { taken, positions } = drained(opened({ heldMax: 8 }), logs, 40)
    const restoreTo = positions[Math.floor(positions.length / 2)]!
    const task = opened({ heldMax: 8, restoreTo })
    const again = drained(task, logs, 40)
    expect(task.isRestoring).toBe(false)
    expect(again.taken.map(({ id }) => id)).toEqual(taken.map(({ id }) => id))
  })

  test('restored, it never stands anywhere without what the recovered position counts', () => {
    const logs = drawn(7)
    const { positions } = drained(opened({ heldMax: 8 }), logs, 40)
    const disorder = { late: 21, early: 2, overtaken: 13, uncounted: 1 }
    const restoreTo = { ...positions[Math.floor(positions.length / 2)]!, disorder }
    const again = drained(opened({ heldMax: 8, restoreTo }), logs, 40)
    // Whoever takes over after a crash in the middle of it continues from there.
    expect(new Set(again.positions.map((position) => JSON.stringify(position.disorder)))).toEqual(
      new Set([JSON.stringify(disorder)]),
    )
  })
})

test('an event that repeats a held one is still known as that after it was dropped', () => {
  // Read first, but later in order: the one that overtakes it is the repeated one.
  const logs = logsOf([
    click('twice', 'anna', 15),
    click('twice', 'anna', 10),
    ...Array.from({ length: 30 }, (_, i) => click(`c${i}`, 'anna', 11 + i / 10)),
  ])
  const all = drained(opened({ heldMax: 100_000 }), logs, 5)
  const few = drained(opened({ heldMax: 4 }), logs, 5)
  expect(few.taken).toEqual(all.taken)
  expect(all.taken[0]).toEqual({ id: 'twice', repeats: { time: at(15), order: orderOf(0, 0, 0), isConflict: true } })
})

test('of one id over and over only some are kept in mind, and each is taken', () => {
  const place = { topic: 'clicks', partition: 0, stream: plan.scored, firstSource: 0 }
  const input = createTaskInput(place, freshPosition(1).inputs[0]!)
  const events = Array.from({ length: 20 }, (_, i) => heldEvent(plan, click('same', 'anna', 20 - i), i))
  for (const event of events) noteDropped(input, event)
  expect([...input.droppedNames.values()].map(({ length }) => length)).toEqual([8])
  for (const event of events) noteReadAgain(input, event)
  expect(input.droppedNames.size).toBe(0)
})

test('an event that repeats one which was dropped before it was read is known as that', () => {
  const logs = logsOf([
    ...Array.from({ length: 30 }, (_, i) => click(`c${i}`, 'anna', 11 + i / 10)),
    click('twice', 'anna', 15),
    ...Array.from({ length: 10 }, (_, i) => click(`d${i}`, 'anna', 14 + i / 10)),
    click('twice', 'anna', 14.5),
  ])
  const all = drained(opened({ heldMax: 100_000 }), logs, 5)
  expect(all.taken.filter(({ id }) => id === 'twice')).toEqual([
    { id: 'twice', repeats: { time: at(15), order: orderOf(0, 0, 30), isConflict: true } },
    { id: 'twice', repeats: null },
  ])
  expect(drained(opened({ heldMax: 2 }), logs, 5).taken).toEqual(all.taken)
})
