/** One event folded into the log of its entity: its slots and vector, or why it has none. */
import { describe, expect, test } from 'vitest'
import { type EntityLog, insertFact, liveRows, rowsOfBytes } from '../../../feature-store/entity-log.ts'
import { createFactRow } from '../../../feature-store/fact-row.ts'
import { decodeLog, encodeLiveRows } from '../../../feature-store/stored-log.ts'
import { createFold, type Fold } from '../../../processors/batch/fold-event.ts'
import type { StageEvent } from '../../../processors/batch/stage-event.ts'
import { orderOf } from '../../../schemas/kernel/canonical-order.ts'
import { fixedHashKey } from '../../../schemas/kernel/keyed-hash.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import type { Plan } from '../../../schemas/plan/plan.ts'
import type { StreamEvent } from '../../../testing/index.ts'
import { at, heldEvent } from '../../support/batch-steps.ts'
import { click, clicksPipeline, refund } from '../../support/clicks.ts'
import { takenFrom } from '../../support/stored-logs.ts'

const plan = compile(clicksPipeline({ stages: 1 }))
const { entity } = plan.stages[0]!
const keepAll = Number.NEGATIVE_INFINITY

/** An event folded, and what came of it: its numbers are slots before the last stage, else the vector. */
function foldOf(of: Plan, { fold, width }: Fold) {
  return (event: StageEvent, log: EntityLog, floorTime: number) => {
    const numbers = new Float64Array(width).fill(-1)
    const { kind, order, problem } = fold(event, log, floorTime, numbers, 0)
    if (kind === 'duplicate') return { kind }
    if (kind === 'rejected') return { kind, problem }
    return { kind, order, numbers: event.stream === of.scored.index ? numbers : null }
  }
}

/** The first stage of a plan with the log of one user. */
function userLog(of: Plan = plan) {
  const [stage] = of.stages
  const log = decodeLog(null, stage!.entity.layout)
  const fold = foldOf(of, createFold(of, stage!, fixedHashKey))
  let offset = 0
  return {
    log,
    fold: (event: StreamEvent, rest: Partial<StageEvent> = {}, floorTime = keepAll) =>
      fold(heldEvent(of, event, offset++, rest), log, floorTime),
  }
}

/** Time of every live fact, s since the start. */
function timesOf({ rows, width, start, end }: EntityLog): number[] {
  return Array.from({ length: end - start }, (_, i) => (rows[(start + i) * width]! - at(0)) / 1_000)
}

const order = (stream: number, offset: number) => orderOf(stream, 0, offset)

describe('an event of the scored stream', () => {
  test('has its features with its own fact and those before it', () => {
    const { fold } = userLog()
    fold(click('a', 'anna', 0, { amount: 2 }))
    const folded = fold(click('b', 'anna', 10, { amount: 3 }))
    // amount, guarded, userCount1m, userSum, lastCount1m (5 s ago), refunds
    expect(folded).toMatchObject({ kind: 'folded', order: order(0, 1), numbers: Float64Array.of(3, 3, 2, 5, 1, 0) })
  })

  test('that comes out of order lies where it belongs, and has the features of its own time', () => {
    const { log, fold } = userLog()
    for (const seconds of [0, 20]) fold(click(`c${seconds}`, 'anna', seconds))
    expect(fold(click('late', 'anna', 10, { amount: 4 }))).toMatchObject({
      numbers: Float64Array.of(4, 4, 2, 5, 1, 0),
    })
    expect(timesOf(log)).toEqual([0, 10, 20])
  })

  test('has the slots so far in a stage before the last', () => {
    const { fold } = userLog(compile(clicksPipeline({ stages: 2 })))
    // userCount1m, userSum
    expect(fold(click('a', 'anna', 0, { amount: 2 }))).toMatchObject({ numbers: Float64Array.of(1, 2) })
  })
})

test('an event of another stream leaves its fact and has no features', () => {
  const { log, fold } = userLog()
  expect(fold(refund('a', 'anna', 10, { clickedAt: 5 }))).toEqual({
    kind: 'folded',
    order: order(1, 0),
    numbers: null,
  })
  expect(timesOf(log)).toEqual([5])
})

describe('a duplicate', () => {
  test('is an event whose id has a fact of its stream with the same values', () => {
    const { log, fold } = userLog()
    fold(click('a', 'anna', 10, { amount: 1 }))
    expect(fold(click('a', 'anna', 10, { amount: 1 }))).toEqual({ kind: 'duplicate' })
    expect(fold(refund('a', 'anna', 10)).kind).toBe('folded')
    expect(liveRows(log)).toBe(2)
  })

  test.each([
    ['another amount', click('a', 'anna', 10, { amount: 9 })],
    ['no amount', click('a', 'anna', 10, { amount: null })],
    ['another time', click('a', 'anna', 300, { amount: 1 })],
    ['another page', click('a', 'anna', 10, { amount: 1, page: 'other' })],
  ])('with %s is a conflict, and the first stays', (_, other) => {
    const { log, fold } = userLog()
    fold(click('a', 'anna', 10, { amount: 1 }))
    const before = encodeLiveRows(log)
    expect(fold(other)).toEqual({
      kind: 'rejected',
      problem: {
        path: '/clickId',
        code: 'duplicate_conflict',
        expected: 'the values of the event "a" that was taken, of 2024-01-01T00:00:10.000Z (clicks 0:0), or another id',
        received: 'the same id with other values; of those taken only a hash is kept, so which differ is not known',
      },
    })
    expect(encodeLiveRows(log)).toEqual(before)
  })

  test('of a label stream corrects it: the first report stays the fact', () => {
    const { log, fold } = userLog()
    expect(fold(refund('a', 'anna', 10)).kind).toBe('folded')
    expect(fold(refund('a', 'anna', 20))).toEqual({ kind: 'duplicate' })
    expect(timesOf(log)).toEqual([10])
  })

  test('that comes requeued from a later stage is sent on, whatever was mended', () => {
    const { fold } = userLog(compile(clicksPipeline({ stages: 2 })))
    fold(click('a', 'anna', 10, { amount: 1 }))
    const again = fold(click('a', 'anna', 10, { amount: 2 }), { rejectedBy: 'page' })
    expect(again).toMatchObject({ kind: 'folded', order: order(0, 0) })
    // The stage itself had rejected it: what lies there is another attempt to mend it.
    expect(fold(click('a', 'anna', 10, { amount: 2 }), { rejectedBy: 'user' })).toEqual({ kind: 'duplicate' })
  })

  test('is none once the fact is older than retention', () => {
    const { fold } = userLog()
    fold(click('a', 'anna', 0))
    expect(fold(click('a', 'anna', entity.retentionMs / 1_000)).kind).toBe('rejected')
    expect(fold(click('a', 'anna', entity.retentionMs / 1_000 + 1)).kind).toBe('folded')
  })
})

describe('an event is rejected', () => {
  test.each([
    [13, 'function_threw', 'a function that does not throw'],
    [17, 'not_finite', 'a finite number or null'],
  ])('where a derive function fails on %i: %s, and its log is as before', (amount, code, expected) => {
    const { log, fold } = userLog()
    fold(click('a', 'anna', 0))
    fold(click('b', 'anna', 20))
    takenFrom(log)
    expect(fold(click('bad', 'anna', 10, { amount }))).toMatchObject({
      kind: 'rejected',
      problem: { path: '/features/guarded', code, expected },
    })
    expect(timesOf(log)).toEqual([0, 20])
    expect(takenFrom(log)).toEqual([])
    expect(fold(click('c', 'anna', 30))).toMatchObject({ numbers: Float64Array.of(1, 1, 3, 3, 2, 0) })
  })

  test('where its entity has all the facts that it may have', () => {
    const rowsMax = rowsOfBytes(entity.layout.width, 2 ** 16)
    const full = decodeLog(null, entity.layout)
    const row = createFactRow(entity.layout)
    for (let order = 0; order < rowsMax; order++) {
      row.cells.set([at(0), order])
      insertFact(full, row)
    }
    const fold = foldOf(plan, createFold(plan, plan.stages[0]!, fixedHashKey, 2 ** 16))
    const event = heldEvent(plan, click('a', 'anna', 10), rowsMax)
    expect(fold(event, full, keepAll)).toMatchObject({
      kind: 'rejected',
      problem: {
        path: '/user',
        code: 'entity_full',
        received: '"anna"',
        expected: `at most ${rowsMax} facts of one user within retention`,
      },
    })
    expect(liveRows(full)).toBe(rowsMax)
    // Facts that retention drops make room.
    expect(fold(event, full, at(10)).kind).toBe('folded')
  })

  test('where it was requeued after the facts of its time expired', () => {
    const { log, fold } = userLog()
    expect(fold(click('a', 'anna', 10), { rejectedBy: 'user' }, at(11))).toEqual({
      kind: 'rejected',
      problem: {
        path: '/at',
        code: 'late',
        expected: 'a fact at or after 2024-01-01T00:00:11.000Z, before which user keeps none',
        received: '2024-01-01T00:00:10.000Z',
      },
    })
    expect(liveRows(log)).toBe(0)
  })
})

describe('an event that a later stage had rejected', () => {
  const twoStages = compile(clicksPipeline({ stages: 2 }))

  test('passes on with the position and the slots of its fact', () => {
    const { log, fold } = userLog(twoStages)
    const first = fold(click('a', 'anna', 0))
    fold(click('b', 'anna', 0))
    expect(fold(click('a', 'anna', 0), { rejectedBy: 'page' })).toEqual(first)
    expect(first).toMatchObject({ kind: 'folded', order: order(0, 0), numbers: { 0: 1 } })
    expect(liveRows(log)).toBe(2)
  })

  test('is a duplicate where this stage or none had rejected it', () => {
    const { fold } = userLog(twoStages)
    fold(click('a', 'anna', 0))
    for (const rejectedBy of ['user', 'nobody', null]) {
      expect(fold(click('a', 'anna', 0), { rejectedBy })).toEqual({ kind: 'duplicate' })
    }
  })
})
