/** The ring of newest rows against a plain list that is cut. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createRecentScores } from '../../../online-model/trainer/recent-scores.ts'

test('holds the newest rows, oldest first', () => {
  const row = fc.record({
    label: fc.constantFrom(0, 1),
    time: fc.nat(),
    weight: fc.integer({ min: 1, max: 9 }),
    served: fc.constantFrom(Number.NaN, 0.25, 0.5),
    candidate: fc.double({ min: 0, max: 1, noNaN: true }),
    key: fc.constantFrom(null, 'a', 'b'),
    version: fc.constantFrom(null, 'v1'),
  })
  fc.assert(
    fc.property(fc.array(row, { maxLength: 40 }), fc.integer({ min: 1, max: 12 }), (rows, rowsMax) => {
      const recent = createRecentScores(rowsMax)
      for (const one of rows) recent.add(one)
      const kept = rows.slice(-rowsMax)
      const held = recent.rows()
      expect(held.rowCount).toBe(kept.length)
      expect([...held.labels]).toEqual(kept.map(({ label }) => label))
      for (const name of ['served', 'candidate'] as const) expect([...held[name]]).toEqual(kept.map((one) => one[name]))
      for (const name of ['key', 'version'] as const) expect(held[`${name}s`]).toEqual(kept.map((one) => one[name]))
      expect([...held.times]).toEqual(kept.map(({ time }) => time))
      expect([...held.weights]).toEqual(kept.map(({ weight }) => weight))
    }),
  )
})
