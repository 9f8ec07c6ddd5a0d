import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createLabelJoin, type LabelJoin } from '../../online-model/label-join.ts'

const options = { featureCount: 2, afterMs: 100, value: 1, otherwise: 0, rowsMax: 100 }

function add(join: LabelJoin, id: string, time: number): void {
  join.addPrediction({ id, time, features: [time, -time] })
}

describe('label join', () => {
  test('a label counts before or after its event, and an event without one is negative when due', () => {
    const join = createLabelJoin(options)
    join.addLabel({ id: 'early', time: 15 })
    add(join, 'early', 10)
    add(join, 'late', 20)
    add(join, 'none', 30)
    join.addLabel({ id: 'late', time: 90 })
    expect(join.ripe(130)).toEqual({
      rows: Float64Array.of(10, -10, 20, -20, 30, -30),
      labels: Uint8Array.of(1, 1, 0),
      times: Float64Array.of(10, 20, 30),
      rowCount: 3,
      labelled: 2,
      waiting: 0,
    })
  })

  test('an early label makes its event no riper than others: positives and negatives fall due alike', () => {
    const join = createLabelJoin(options)
    add(join, 'fraud', 50)
    join.addLabel({ id: 'fraud', time: 51 })
    add(join, 'fine', 50)
    expect(join.ripe(149)).toMatchObject({ rowCount: 0, labelled: 0, waiting: 2 })
    expect(join.ripe(150)).toMatchObject({ rowCount: 2, labelled: 1, waiting: 0, labels: Uint8Array.of(0, 1) })
  })

  test('a label later than due still names its event at the next reading', () => {
    const join = createLabelJoin(options)
    add(join, 'fraud', 10)
    expect(join.ripe(500).labels).toEqual(Uint8Array.of(0))
    join.addLabel({ id: 'fraud', time: 400 })
    expect(join.ripe(500).labels).toEqual(Uint8Array.of(1))
  })

  test('duplicates are counted and the first wins', () => {
    const join = createLabelJoin(options)
    add(join, 'a', 10)
    join.addPrediction({ id: 'a', time: 99, features: [7, 7] })
    join.addLabel({ id: 'a', time: 20 })
    join.addLabel({ id: 'a', time: 30 })
    expect(join.ripe(110)).toMatchObject({ rows: Float64Array.of(10, -10), rowCount: 1, labelled: 1 })
    expect(join.counts()).toEqual({
      predictions: 1,
      labels: 1,
      duplicatePredictions: 1,
      duplicateLabels: 1,
      droppedPredictions: 0,
      droppedLabels: 0,
    })
  })

  test('keeps the newest and counts what it dropped', () => {
    const join = createLabelJoin({ ...options, rowsMax: 2 })
    add(join, 'b', 20)
    add(join, 'c', 30)
    add(join, 'a', 10)
    add(join, 'd', 40)
    for (const id of ['b', 'c', 'd']) join.addLabel({ id, time: 50 + id.charCodeAt(0) })
    expect(join.ripe(1000)).toMatchObject({
      times: Float64Array.of(30, 40),
      rows: Float64Array.of(30, -30, 40, -40),
      labelled: 2,
    })
    expect(join.counts()).toMatchObject({ predictions: 2, droppedPredictions: 2, labels: 2, droppedLabels: 1 })
  })

  test('the other value may be the positive one', () => {
    const join = createLabelJoin({ ...options, value: 0, otherwise: 1 })
    add(join, 'a', 10)
    add(join, 'b', 20)
    join.addLabel({ id: 'a', time: 20 })
    expect(join.ripe(200)).toMatchObject({ labels: Uint8Array.of(0, 1), labelled: 1 })
  })

  test('nothing is ripe while an input is empty', () => {
    const join = createLabelJoin(options)
    add(join, 'a', 10)
    expect(join.ripe(Number.NEGATIVE_INFINITY)).toMatchObject({ rowCount: 0, waiting: 1 })
  })

  test('refuses what it was not made for', () => {
    const join = createLabelJoin(options)
    expect(() => join.addPrediction({ id: 'a', time: 1, features: [1] })).toThrow('vector of a has 1 values, not 2')
    expect(() => add(join, 'a', Number.NaN)).toThrow('time of a is NaN')
    expect(() => createLabelJoin({ ...options, value: 2 })).toThrow('label value 2, expected 0 or 1')
  })

  test('keeps the same rows as a naive join of the whole set, in any order of arrival', () => {
    const event = fc.record({ number: fc.nat(60), time: fc.nat(40), isLabel: fc.boolean() })
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 150 }),
        fc.integer({ min: 1, max: 20 }),
        fc.nat(60),
        (events, rowsMax, watermarkMs) => {
          const join = createLabelJoin({ ...options, afterMs: 5, rowsMax })
          // The time of an event is a function of its id here, so that "first wins" and "newest" do not depend on each
          // other.
          const named = events.map(({ number, isLabel }) => ({ id: `e${number}`, time: (number * 7) % 40, isLabel }))
          for (const { id, time, isLabel } of named) {
            if (isLabel) join.addLabel({ id, time: time + 3 })
            else add(join, id, time)
          }
          const newest = (isLabel: boolean) =>
            [...new Map(named.filter((one) => one.isLabel === isLabel).map((one) => [one.id, one])).values()]
              .sort((a, b) => a.time - b.time || (a.id < b.id ? -1 : 1))
              .slice(-rowsMax)
          const labels = new Set(newest(true).map(({ id }) => id))
          const kept = newest(false)
          const due = kept.filter(({ time }) => time + 5 <= watermarkMs)
          const ripe = join.ripe(watermarkMs)
          expect([...ripe.times]).toEqual(due.map(({ time }) => time))
          expect([...ripe.rows]).toEqual(due.flatMap(({ time }) => [time, -time]))
          expect([...ripe.labels]).toEqual(due.map(({ id }) => (labels.has(id) ? 1 : 0)))
          expect(ripe.waiting).toBe(kept.length - due.length)
        },
      ),
      { numRuns: 300 },
    )
  })

  test('grows past its first allocation', () => {
    const join = createLabelJoin({ ...options, rowsMax: 5_000 })
    for (let i = 0; i < 6_000; i++) add(join, `e${i}`, (i * 7919) % 6_000)
    const ripe = join.ripe(10_000)
    expect(ripe.rowCount).toBe(5_000)
    expect([ripe.times[0], ripe.times[4_999]]).toEqual([1_000, 5_999])
    for (let row = 0; row < ripe.rowCount; row++) expect(ripe.rows[row * 2 + 1]).toBe(-ripe.times[row]!)
  })
})
