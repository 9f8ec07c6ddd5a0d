/** When versions are published and trainings begin: by event time, by volume, once however much became due. */
import { describe, expect, test } from 'vitest'
import { begun, nothingScheduled, publishFrom, retrainDue, retrained } from '../../../online-model/trainer/schedule.ts'

const dayMs = 86_400_000
const at = (days: number) => Date.UTC(2024, 0, 1) + days * dayMs
const nothingMature = { untilMs: Number.NEGATIVE_INFINITY, rows: 0 }

describe('time', () => {
  test('begins with the first row, and only once', () => {
    expect(begun(nothingScheduled, nothingMature, null)).toBe(nothingScheduled)
    const first = begun(nothingScheduled, { untilMs: at(3), rows: 5 }, null)
    expect(first).toEqual({ publishedMs: null, retrainedMs: at(3), retrainedRows: 0 })
    const both = begun(first, { untilMs: at(4), rows: 9 }, at(2))
    expect(both).toEqual({ publishedMs: at(2), retrainedMs: at(3), retrainedRows: 0 })
    expect(begun(both, { untilMs: at(5), rows: 12 }, at(4))).toBe(both)
  })
})

describe('publishing', () => {
  const learn = { publishEveryMs: dayMs }

  test('is due by the time of the last one, or of the first row', () => {
    expect(publishFrom(learn, { ...nothingScheduled, publishedMs: at(2) }, at(9))).toBe(at(3))
    expect(publishFrom(learn, nothingScheduled, at(9))).toBe(at(10))
  })

  test('is never due where nothing is learnt continuously', () => {
    expect(publishFrom(null, { ...nothingScheduled, publishedMs: at(2) }, at(9))).toBe(Number.POSITIVE_INFINITY)
  })
})

describe('a retraining', () => {
  const schedule = { publishedMs: null, retrainedMs: at(2), retrainedRows: 100 }
  const weekly = { everyMs: 7 * dayMs, rows: null, overMs: null }
  const byVolume = { everyMs: null, rows: 50, overMs: null }

  test('is due by event time', () => {
    expect(retrainDue(weekly, schedule, { untilMs: at(9) - 1, rows: 9_999 })).toBeNull()
    expect(retrainDue(weekly, schedule, { untilMs: at(9), rows: 100 })).toBe(
      '7 days of events have matured since the last one',
    )
  })

  test('is due by volume', () => {
    expect(retrainDue(byVolume, schedule, { untilMs: at(99), rows: 149 })).toBeNull()
    expect(retrainDue(byVolume, schedule, { untilMs: at(2), rows: 150 })).toBe(
      '50 rows have matured since the last one',
    )
  })

  test('is due once, however much was due', () => {
    const now = { untilMs: at(60), rows: 5_000 }
    expect(retrainDue(weekly, schedule, now)).not.toBeNull()
    const after = retrained(schedule, now, 'this')
    expect(retrainDue(weekly, after, now)).toBeNull()
    expect(retrainDue(byVolume, after, now)).toBeNull()
    expect(retrainDue(weekly, after, { untilMs: at(67), rows: 5_000 })).not.toBeNull()
  })

  test('is never due without a plan or before the first row', () => {
    expect(retrainDue(null, schedule, { untilMs: at(99), rows: 9_999 })).toBeNull()
    expect(retrainDue(weekly, nothingScheduled, { untilMs: at(99), rows: 9_999 })).toBeNull()
  })
})
