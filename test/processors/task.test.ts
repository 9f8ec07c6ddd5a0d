/** A task alone: fetched records in, batches and positions out; taken up again from any position, and folded again up to another. */

import { describe, expect, test } from 'vitest'
import { storeKeysMax } from '../../feature-store/store.ts'
import { createTask, type TakeBounds, type Task, type TaskBatch } from '../../processors/batch/task.ts'
import { encodePosition, type TaskPosition } from '../../processors/position.ts'
import { initialFrontier } from '../../processors/watermarks/frontier.ts'
import type { LogRecord } from '../../runtime/broker.ts'
import { recordsOf } from '../../runtime/records.ts'
import { orderOf } from '../../schemas/kernel/canonical-order.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { StreamEvent } from '../../testing/index.ts'
import { createRandom } from '../../testing/random.ts'
import { admitsKeys } from '../support/batch-steps.ts'
import { click, clicksPipeline, clicksStartMs, refund } from '../support/clicks.ts'

const plan = compile(clicksPipeline({ stages: 1, disorder: '10s' }))
const limits = { holdMaxMs: Number.POSITIVE_INFINITY, heldMax: 100_000, readAheadMax: 1_000 }
const fresh: TaskPosition = {
  frontier: initialFrontier,
  retentionWatermark: Number.NEGATIVE_INFINITY,
  inputs: [0, 1].map(() => ({ resumeOffset: 0, nextOffset: 0, maxEventTime: Number.NEGATIVE_INFINITY })),
}
const bounds: TakeBounds = {
  eventsMax: 1_000,
  admits: () => true,
  maxReleaseTime: Number.POSITIVE_INFINITY,
  beforeRound: Number.POSITIVE_INFINITY,
}
const at = (seconds: number) => clicksStartMs + seconds * 1_000

function open(
  start: TaskPosition = fresh,
  restoreTo: TaskPosition | null = null,
  own: Partial<typeof limits> = {},
): Task {
  const stage = plan.stages[0]!
  return createTask({
    plan,
    stage,
    partition: 0,
    partitions: 1,
    tasksBefore: 0,
    sourceFrontiers: null,
    openedAtMs: 0,
    limits: { ...limits, ...own },
    start,
    restoreTo,
  })
}

/** A log of each input: events as their records, text as a record that is no event, null as a marker. */
type Log = ReadonlyArray<StreamEvent | string | null>

interface Reader {
  /** Fetches once what the task wants, from logs up to these ends. */
  read(logs: readonly [Log, Log], ends?: readonly [number, number]): void
}

function readerOf(task: Task): Reader {
  let round = 0
  return {
    read(logs, ends = [logs[0].length, logs[1].length]) {
      round++
      for (const { topic, partition, offset } of task.wanted(0)) {
        const input = topic === 'clicks' ? 0 : 1
        const records = fullRecordsOf(logs[input])
          .slice(offset, ends[input])
          .filter((record) => record !== null)
        const end = ends[input]
        task.accept(
          { topic, partition, from: offset, records: recordsOf(records), next: end, stableEnd: end, end, age: 0 },
          round,
          0,
        )
      }
    },
  }
}

const encoded = new WeakMap<Log, ReadonlyArray<LogRecord | null>>()

function fullRecordsOf(log: Log): ReadonlyArray<LogRecord | null> {
  const records = encoded.get(log) ?? log.map((entry, at) => (entry === null ? null : recordOf(entry, at)))
  encoded.set(log, records)
  return records
}

function recordOf(entry: StreamEvent | string, offset: number): LogRecord {
  const value =
    typeof entry === 'string'
      ? Buffer.from(entry)
      : plan.streams.find(({ name }) => name === entry.stream)!.codec.encode(entry.values)
  return { offset, appendedAtMs: at(100_000), key: null, value, headers: {} }
}

const idsOf = (batch: TaskBatch | null) => batch?.events.map(({ id }) => id)

describe('a batch', () => {
  const clicks = [
    click('a', 'anna', 0),
    click('c', 'anna', 20),
    'bad',
    null,
    click('b', 'bert', 15),
    click('d', 'anna', 40),
  ]
  const refunds = [refund('r', 'anna', 16)]

  test('holds what may be released, in canonical order, what was rejected, and the position after it', () => {
    const task = open()
    const { read } = readerOf(task)
    read([clicks, refunds])
    read([clicks, refunds])
    const batch = task.take(0, bounds)!
    expect(idsOf(batch)).toEqual(['a', 'b', 'r', 'c'])
    expect(batch.rejections.map(({ offset, problems }) => [offset, problems[0]!.code])).toEqual([[2, 'not_json']])
    expect(batch.position).toEqual({
      frontier: { time: at(20), order: orderOf(0, 0, 1) },
      // The first click could be the first of any time.
      retentionWatermark: Number.NEGATIVE_INFINITY,
      // The click at 40 waits for what may still come before it.
      inputs: [
        { resumeOffset: 5, nextOffset: 6, maxEventTime: at(20) },
        { resumeOffset: 1, nextOffset: 1, maxEventTime: at(16) },
      ],
    })
    expect(batch.stagePosition).toEqual({ stage: 'user', partition: 0, next: [6, 1] })
    expect(task.take(0, bounds)).toBeNull()
  })

  test('holds, and counts, what waited longer than the bound for a silent input', () => {
    const task = open(fresh, null, { holdMaxMs: 1_000 })
    const records = fullRecordsOf([click('a', 'anna', 0), click('b', 'anna', 30)]) as LogRecord[]
    task.accept(
      { topic: 'clicks', partition: 0, from: 0, records: recordsOf(records), next: 2, stableEnd: 2, end: 2, age: 0 },
      1,
      0,
    )
    // The declared disorder of 10 s comes on top.
    expect(task.take(11_000, bounds)).toBeNull()
    expect(idsOf(task.take(11_001, bounds))).toEqual(['a', 'b'])
    expect(task.counts).toEqual({ late: 0, releasedEarly: 2 })
  })

  test('retains facts by the clock of the input that is behind, which for one at its end is bounded by the retention', () => {
    const retentionMs = plan.stages[0]!.entity.retentionMs
    const task = open(fresh, null, { holdMaxMs: 0 })
    let round = 0
    let nowMs = 0
    const accept = (topic: string, from: number, log: Log, unread = 0) => {
      const records = fullRecordsOf(log).map((record, i) => ({ ...record!, offset: from + i }))
      const next = from + log.length
      const ends = { stableEnd: next + unread, end: next + unread }
      task.accept({ topic, partition: 0, from, records: recordsOf(records), next, ...ends, age: 0 }, ++round, nowMs)
    }
    const take = () => {
      nowMs += 60_000
      return task.take(nowMs, bounds)!
    }
    accept('clicks', 0, [click('a', 'anna', 0)])
    accept('refunds', 0, [refund('q', 'anna', 0)])
    take()
    accept('refunds', 1, [refund('r', 'anna', 2_000)])
    expect(take().position).toMatchObject({ frontier: { time: at(2_000) }, retentionWatermark: at(0) })
    // More clicks are to be read: those read are checked against the clock before them.
    accept('clicks', 1, [click('b', 'anna', 1_000), click('c', 'anna', 900)], 1)
    expect(take().position.retentionWatermark).toBe(at(0))
    accept('refunds', 2, [refund('s', 'anna', 90_000)])
    expect(take().position).toMatchObject({ frontier: { time: at(90_000) }, retentionWatermark: at(1_000) })
    // Nothing more is there, for an unknown time.
    accept('clicks', 3, [])
    accept('refunds', 3, [refund('t', 'anna', 90_001)])
    expect(take().position.retentionWatermark).toBe(at(90_000) - retentionMs)
  })

  test('is not awaited while the other input brings nothing but rejections', () => {
    const task = open()
    const { read } = readerOf(task)
    read([[click('a', 'anna', 0)], Array.from({ length: 40 }, () => 'bad')], [1, 10])
    expect(task.isWaitingForEnd(0)).toBe(false)
    expect(task.take(0, bounds)).toMatchObject({ events: [], rejections: { length: 10 } })
  })

  test('has at most so many events, so many entities, and nothing beyond a time', () => {
    const take = (own: Partial<typeof bounds>) => {
      const task = open()
      const { read } = readerOf(task)
      read([clicks, refunds])
      read([clicks, refunds])
      return idsOf(task.take(0, { ...bounds, ...own }))
    }
    expect(take({ eventsMax: 2 })).toEqual(['a', 'b'])
    expect(take({ admits: admitsKeys(1) })).toEqual(['a'])
    expect(take({ maxReleaseTime: at(16) })).toEqual(['a', 'b', 'r'])
  })

  test('of an offset that only moved past markers is made on demand', () => {
    const task = open()
    const { read } = readerOf(task)
    expect(task.takePosition()).toBeNull()
    read([[null, null], []])
    expect(task.take(0, bounds)).toBeNull()
    expect(task.takePosition()?.position.inputs[0]).toEqual({
      resumeOffset: 2,
      nextOffset: 2,
      maxEventTime: Number.NEGATIVE_INFINITY,
    })
    expect(task.takePosition()).toBeNull()
  })
})

describe('reading', () => {
  test('ends where an input is far enough ahead, unless what was read waits for more', () => {
    const many = Array.from({ length: 5 }, (_, i) => click(`c${i}`, 'anna', i))
    const task = open(fresh, null, { readAheadMax: 5 })
    const { read } = readerOf(task)
    const topics = () => task.wanted(0).map(({ topic }) => topic)
    read([many, []])
    // All within the disorder of 10 s: only reading on can move their own clock.
    expect(topics()).toEqual(['clicks', 'refunds'])
    const more = [...many, click('e', 'anna', 60)]
    read([more, []])
    expect(topics()).toEqual(['refunds'])
    expect(idsOf(task.take(0, bounds))).toEqual(['c0', 'c1', 'c2', 'c3', 'c4'])
    expect(topics()).toEqual(['clicks', 'refunds'])
  })

  test('stops before more late events than a step can hold, so that a position never leaves one behind', () => {
    const lateCount = 2 * storeKeysMax + 300
    const late = Array.from({ length: lateCount }, (_, i) => click(`late${i}`, `user${i}`, 2_000 - i / 10))
    const log = [click('now', 'anna', 3_000), ...late, click('then', 'anna', 3_001), 'bad']
    const start = { ...fresh, frontier: { time: at(2_500), order: 0 } }
    const task = open(start)
    const { read } = readerOf(task)
    read([log, []])
    const taken: number[] = []
    for (
      let batch = task.take(0, { ...bounds, eventsMax: 10 });
      batch;
      batch = task.take(0, { ...bounds, eventsMax: 10 })
    ) {
      const done = batch.events.length
      taken.push(done)
      const [input] = batch.position.inputs
      const before = taken.reduce((sum, count) => sum + count, 0)
      // Everything that was read is taken, but for `now` at offset 0, and `then`.
      expect([input!.resumeOffset, input!.nextOffset]).toEqual(
        before < lateCount ? [0, before + 1] : [0, lateCount + 3],
      )
      expect(batch.rejections.length).toBe(before < lateCount ? 0 : 1)
      expect(task.inputs[0]!.isAtEnd).toBe(before >= 2 * storeKeysMax)
    }
    expect(taken).toEqual([storeKeysMax, storeKeysMax, 300])
    expect(task.counts.late).toBe(lateCount)
  })
})

describe('taken up again', () => {
  test('reads its events again, even where another input brings more late events than may be held', () => {
    const lateCount = storeKeysMax + 200
    const late = Array.from({ length: lateCount }, (_, i) => click(`late${i}`, `user${i}`, 2_000 - i / 10))
    const refunds = [refund('r', 'anna', 2_600)]
    const frontier = { time: at(2_500), order: 0 }
    const read = { resumeOffset: 0, nextOffset: 0, maxEventTime: Number.NEGATIVE_INFINITY }
    const task = open({ frontier, retentionWatermark: frontier.time, inputs: [read, { ...read, nextOffset: 1 }] })
    const { read: readOnce } = readerOf(task)
    readOnce([late, refunds], [lateCount, 0])
    expect(task.take(0, bounds)).toBeNull()
    readOnce([late, refunds])
    expect(idsOf(task.take(0, bounds))!.length).toBe(storeKeysMax)
    expect(idsOf(task.take(0, bounds))!.length).toBe(200)
  })

  /** Runs to the end in batches of any size, from a position; reports what happens at each position. */
  function runAll(logs: readonly [Log, Log], seed: number, start = fresh, restoreTo: TaskPosition | null = null) {
    const random = createRandom(seed)
    const task = open(start, restoreTo)
    const { read } = readerOf(task)
    const batches: TaskBatch[] = []
    const ends: [number, number] = [0, 0]
    for (let quiet = 0; quiet < 3; ) {
      for (const input of [0, 1] as const) {
        const least = Math.max(ends[input], task.inputs[input]!.nextOffset)
        ends[input] = Math.min(logs[input].length, least + random.below(9))
      }
      read(logs, ends)
      const batch = task.take(0, { ...bounds, eventsMax: 1 + random.below(6) })
      if (batch) batches.push(batch)
      quiet = batch || ends[0] < logs[0].length || ends[1] < logs[1].length ? 0 : quiet + 1
    }
    return batches
  }

  function someLogs(seed: number): [Log, Log] {
    const random = createRandom(seed)
    const clicks = Array.from({ length: 150 }, (_, i) => {
      if (random.below(20) === 0) return random.below(2) === 0 ? 'bad' : null
      // Some are late, few later than the hour that is allowed.
      return click(`c${i}`, `user${random.below(4)}`, 4_000 + 5 * i - random.below(random.below(8) === 0 ? 4_000 : 9))
    })
    const refunds = Array.from({ length: 30 }, (_, i) => refund(`r${i}`, `user${random.below(4)}`, 4_000 + 25 * i))
    // At the end something moves the clock, so that all but the last can be released.
    return [
      [...clicks, click('end', 'anna', 10_000)],
      [...refunds, refund('end', 'anna', 10_000)],
    ]
  }

  const isBehind = (a: TaskPosition, b: TaskPosition) =>
    a.inputs.some(({ nextOffset }, i) => nextOffset < b.inputs[i]!.nextOffset)

  const outcomes = (batches: readonly TaskBatch[]) => ({
    taken: batches.flatMap(({ events }) => events.map(({ id, stream }) => `${stream} ${id}`)).sort(),
    refused: batches.flatMap(({ rejections }) => rejections.map(({ offset }) => offset)).sort((a, b) => a - b),
  })

  test.each([41, 42, 43])(
    'at any position: every event is released once, every rejection reported once, seed %i',
    (seed) => {
      const logs = someLogs(seed)
      const whole = runAll(logs, seed)
      const expected = outcomes(whole)
      expect(expected.taken.length).toBeGreaterThan(150)
      expect(expected.refused.length).toBeGreaterThan(2)
      whole.forEach((batch, i) => {
        const rest = runAll(logs, seed + i, batch.position)
        expect(outcomes([...whole.slice(0, i + 1), ...rest]), `after batch ${i}`).toEqual(expected)
        for (const { position } of rest) expect(isBehind(position, batch.position), `after batch ${i}`).toBe(false)
        // And again from somewhere in that second life.
        const half = rest.slice(0, rest.length >> 1)
        if (half.length === 0) return
        const third = runAll(logs, 2 * seed + i, half.at(-1)!.position)
        expect(
          outcomes([...whole.slice(0, i + 1), ...half, ...third]),
          `after batch ${i} and half of the rest`,
        ).toEqual(expected)
      })
    },
  )

  test.each([51, 52])('and restored up to any other position: exactly what is between, seed %i', (seed) => {
    const logs = someLogs(seed)
    const whole = runAll(logs, seed)
    for (let from = -1; from < whole.length; from += 7) {
      for (let to = from + 1; to < whole.length; to += 5) {
        const start = from < 0 ? fresh : whole[from]!.position
        const target = whole[to]!.position
        const again = runAll(logs, seed + to, start, target)
        const restored = again.filter(({ isRestore }) => isRestore)
        const between = whole.slice(from + 1, to + 1)
        expect(outcomes(restored).taken, `${from} to ${to}`).toEqual(outcomes(between).taken)
        expect(outcomes(restored).refused).toEqual([])
        expect(encodePosition(restored.at(-1)!.position)).toBe(encodePosition(target))
        const rest = again.filter(({ isRestore }) => !isRestore)
        expect(outcomes(rest)).toEqual(outcomes(whole.slice(to + 1)))
      }
    }
  })
})

describe('a restore', () => {
  test('is read to its end, however much is beyond what it folds', () => {
    const clicks = Array.from({ length: 60 }, (_, i) => click(`e${i}`, 'anna', i))
    const refunds = [refund('r', 'anna', 5)]
    const before = open()
    const reader = readerOf(before)
    // The refunds end at 5 s, and are not at their end: the clicks beyond are held.
    before.accept(
      {
        topic: 'refunds',
        partition: 0,
        from: 0,
        records: recordsOf(fullRecordsOf(refunds) as LogRecord[]),
        next: 1,
        stableEnd: 2,
        end: 2,
        age: 0,
      },
      1,
      0,
    )
    reader.read([clicks, refunds], [60, 1])
    const held = before.take(0, { ...bounds, eventsMax: 3 })!
    expect(held.position.inputs[0]).toMatchObject({ resumeOffset: 3, nextOffset: 60 })

    const after = open(fresh, held.position, { readAheadMax: 5 })
    const again = readerOf(after)
    const folded: string[] = []
    for (let rounds = 0; after.isRestoring && rounds < 100; rounds++) {
      again.read([clicks, refunds], [Math.min(60, 4 * (rounds + 1)), 1])
      folded.push(...(idsOf(after.take(0, bounds)) ?? []))
    }
    expect(after.isRestoring).toBe(false)
    expect(folded).toEqual(idsOf(held))
  })

  test('waits for no input that has nothing to be folded again', () => {
    const clicks = Array.from({ length: 60 }, (_, i) => click(`e${i}`, 'anna', i * 20))
    const quiet: Log = []
    const before = open()
    const reader = readerOf(before)
    reader.read([clicks, quiet])
    reader.read([clicks, quiet])
    const target = before.take(0, bounds)!.position
    const after = open(fresh, target)
    readerOf(after).read([clicks, quiet], [30, 0])
    // Taken as it is read, not held until all is read.
    expect(after.take(0, bounds)!.events.length).toBeGreaterThan(20)
  })
})
