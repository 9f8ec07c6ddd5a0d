import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createLabelJoin, type LabelJoin } from '../../online-model/labels/label-join.ts'
import type { Outcome } from '../../schemas/plan/label-outcome.ts'

const options = { featureCount: 2, matureUntilMs: 100, otherwise: 0 as const, rowsMax: 100 }

function add(join: LabelJoin, id: string, time: number): void {
  join.addPrediction({ id, time, features: [time, -time] })
}

function report(join: LabelJoin, id: string, label: { outcome?: Outcome; time?: number; offset?: number } = {}): void {
  join.addLabel(id, { outcome: 1, time: 50, partition: 0, offset: 0, ...label })
}

describe('label join', () => {
  test('without a label an event is unknown where nothing holds otherwise, and makes no row', () => {
    const join = createLabelJoin({ ...options, otherwise: null })
    for (const id of ['good', 'bad', 'silent', 'withdrawn']) add(join, id, 10)
    report(join, 'good')
    report(join, 'bad', { outcome: 0 })
    report(join, 'withdrawn')
    report(join, 'withdrawn', { outcome: null, time: 60 })
    expect(join.labelledRows()).toMatchObject({ rowCount: 2, labelled: 2, labels: Uint8Array.of(0, 1) })
  })

  test('where a report counts as it arrives, an event that is not due yet has a row only with one', () => {
    const join = createLabelJoin({ ...options, dueUntilMs: 20 })
    add(join, 'due', 20)
    add(join, 'reported', 90)
    add(join, 'young', 91)
    report(join, 'reported', { time: 95 })
    expect(join.labelledRows()).toMatchObject({
      rowCount: 2,
      times: Float64Array.of(20, 90),
      labels: Uint8Array.of(0, 1),
    })
  })

  test('an event that a label names has its value, every other mature one the other value', () => {
    const join = createLabelJoin(options)
    add(join, 'fraud', 20)
    add(join, 'fine', 10)
    add(join, 'due', 100)
    report(join, 'fraud')
    report(join, 'due')
    expect(join.labelledRows()).toEqual({
      rows: Float64Array.of(10, -10, 20, -20, 100, -100),
      labels: Uint8Array.of(0, 1, 1),
      times: Float64Array.of(10, 20, 100),
      rowCount: 3,
      labelled: 2,
    })
  })

  test('an early label makes its event mature no earlier than others: positives and negatives fall due alike', () => {
    const join = createLabelJoin(options)
    add(join, 'fraud', 101)
    add(join, 'fine', 101)
    report(join, 'fraud')
    expect(join.labelledRows()).toMatchObject({ rowCount: 0, labelled: 0 })
    expect(join.counts()).toMatchObject({ predictions: 2, waiting: 2, labels: 1, labelsWithoutRow: 1 })
  })

  test('duplicates are counted and the first wins', () => {
    const join = createLabelJoin(options)
    add(join, 'a', 10)
    join.addPrediction({ id: 'a', time: 99, features: [7, 7] })
    report(join, 'a')
    report(join, 'a')
    expect(join.labelledRows()).toMatchObject({ rows: Float64Array.of(10, -10), rowCount: 1, labelled: 1 })
    expect(join.counts()).toEqual({
      predictions: 2,
      waiting: 0,
      duplicatePredictions: 1,
      droppedPredictions: 0,
      labels: 2,
      duplicateLabels: 1,
      labelsWithoutRow: 0,
    })
  })

  test('keeps the newest that are mature and counts what it dropped', () => {
    const join = createLabelJoin({ ...options, rowsMax: 2 })
    add(join, 'e', 101)
    add(join, 'b', 20)
    add(join, 'c', 30)
    add(join, 'a', 10)
    add(join, 'd', 40)
    add(join, 'f', 102)
    for (const id of ['e', 'f', 'a', 'b', 'd']) report(join, id)
    expect(join.labelledRows()).toMatchObject({
      times: Float64Array.of(30, 40),
      rows: Float64Array.of(30, -30, 40, -40),
      labels: Uint8Array.of(0, 1),
      labelled: 1,
    })
    expect(join.counts()).toMatchObject({
      predictions: 6,
      waiting: 2,
      droppedPredictions: 2,
      labels: 5,
      labelsWithoutRow: 4,
    })
  })

  test('the latest label holds, however they come: corrected and withdrawn ones', () => {
    const join = createLabelJoin(options)
    for (const [time, id] of ['corrected', 'withdrawn', 'again', 'stale', 'tie'].entries()) add(join, id, time)
    report(join, 'corrected', { outcome: 1, time: 10 })
    report(join, 'corrected', { outcome: 0, time: 11 })
    report(join, 'withdrawn', { outcome: 1, time: 10 })
    report(join, 'withdrawn', { outcome: null, time: 11 })
    report(join, 'again', { outcome: null, time: 10 })
    report(join, 'again', { outcome: 1, time: 11 })
    report(join, 'stale', { outcome: 1, time: 11 })
    report(join, 'stale', { outcome: 0, time: 10 })
    report(join, 'tie', { outcome: 1, offset: 5 })
    report(join, 'tie', { outcome: 0, offset: 4 })
    expect(join.labelledRows()).toMatchObject({ labels: Uint8Array.of(0, 0, 1, 1, 1), labelled: 4 })
    expect(join.counts()).toMatchObject({ labels: 10, duplicateLabels: 5, labelsWithoutRow: 0 })
  })

  test('the other value may be the positive one', () => {
    const join = createLabelJoin({ ...options, otherwise: 1 })
    add(join, 'a', 10)
    add(join, 'b', 20)
    report(join, 'a', { outcome: 0 })
    expect(join.labelledRows()).toMatchObject({ labels: Uint8Array.of(0, 1), labelled: 1 })
  })

  test('nothing is mature while an input is empty', () => {
    const join = createLabelJoin({ ...options, matureUntilMs: Number.NEGATIVE_INFINITY })
    add(join, 'a', 10)
    expect(join.labelledRows()).toMatchObject({ rowCount: 0 })
    expect(join.counts()).toMatchObject({ predictions: 1, waiting: 1 })
  })

  test('rejects what it is not configured for', () => {
    const join = createLabelJoin(options)
    expect(() => join.addPrediction({ id: 'a', time: 1, features: [1] })).toThrow('vector of a has 1 values, not 2')
    expect(() => add(join, 'a', Number.NaN)).toThrow('time of a is NaN')
    report(join, 'a')
    expect(() => add(join, 'b', 1)).toThrow('a prediction after the first label')
    expect(() => createLabelJoin({ ...options, otherwise: 2 as never })).toThrow('label value 2, expected 0 or 1')
    expect(() => createLabelJoin({ ...options, matureUntilMs: Number.NaN })).toThrow('matureUntilMs is NaN')
  })

  test('keeps the same rows as a naive join of the whole set, in any order of arrival', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(60), { maxLength: 150 }),
        fc.array(fc.nat(60), { maxLength: 60 }),
        fc.integer({ min: 1, max: 20 }),
        fc.nat(60),
        (predicted, named, rowsMax, matureUntilMs) => {
          const join = createLabelJoin({ ...options, rowsMax, matureUntilMs })
          // The time of an event is a function of its id here, so that "first wins" and "newest" do not depend on each
          // other.
          const events = predicted.map((number) => ({ id: `e${number}`, time: (number * 7) % 40 }))
          for (const { id, time } of events) add(join, id, time)
          for (const number of named) report(join, `e${number}`)
          const due = [...new Map(events.map((one) => [one.id, one])).values()]
            .filter(({ time }) => time <= matureUntilMs)
            .sort((a, b) => a.time - b.time || (a.id < b.id ? -1 : 1))
            .slice(-rowsMax)
          const labels = new Set(named.map((number) => `e${number}`))
          const labelled = due.filter(({ id }) => labels.has(id)).length
          const rows = join.labelledRows()
          expect([...rows.times]).toEqual(due.map(({ time }) => time))
          expect([...rows.rows]).toEqual(due.flatMap(({ time }) => [time, -time]))
          expect([...rows.labels]).toEqual(due.map(({ id }) => (labels.has(id) ? 1 : 0)))
          expect(rows.labelled).toBe(labelled)
          const counts = join.counts()
          expect(counts.waiting).toBe(events.filter(({ time }) => time > matureUntilMs).length)
          expect(counts.labels - counts.duplicateLabels - counts.labelsWithoutRow).toBe(labelled)
        },
      ),
      { numRuns: 300 },
    )
  })

  test('grows past its first allocation', () => {
    const join = createLabelJoin({ ...options, matureUntilMs: 10_000, rowsMax: 5_000 })
    for (let i = 0; i < 6_000; i++) add(join, `e${i}`, (i * 7919) % 6_000)
    const { rowCount, rows, times } = join.labelledRows()
    expect(rowCount).toBe(5_000)
    expect([times[0], times[4_999]]).toEqual([1_000, 5_999])
    for (let row = 0; row < rowCount; row++) expect(rows[row * 2 + 1]).toBe(-times[row]!)
  })
})
