import { expect, test } from 'vitest'
import { expectedRows } from '../../bench/expected-rows.ts'
import { sliceChunks } from '../../bench/slice.ts'
import w2 from '../../bench/w2.ts'
import { createReplay } from '../../processors/replay.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { handbookTable } from '../support/handbook-table.ts'

const plan = compile(w2)
const slice = { from: 0, count: 2_000 }
const config = { partitions: 3 } as Parameters<typeof expectedRows>[0]['config']

test('the vectors of the replay are right; one that differs in the sign of a zero, and an id that was not sent, are not', () => {
  const table = handbookTable()
  const expected = expectedRows({ table, config }, plan, slice)
  const replay = createReplay(plan, { partitions: 3 })
  const events = [...sliceChunks(table, plan, slice)].flat()
  const replayed = events.flatMap(({ stream, values }) => {
    return replay.push(plan.streams.find(({ name }) => name === stream)!.index, values)
  })
  const vectors = [...replayed, ...replay.flush()].map(({ id, vector }) => ({ id, features: [...vector] }))

  expect(vectors).toHaveLength(2_000)
  expect(vectors.filter(({ id, features }) => !expected.isRight(id, features))).toEqual([])
  const { id, features } = vectors[1_999]!
  const zero = features.indexOf(0)
  expect(plan.features[zero]!.name).toBe('seen1d')
  expect(expected.isRight(id, features.with(zero, -0))).toBe(false)
  expect(expected.isRight(id, features.slice(1))).toBe(false)
  expect(expected.isRight('2000', features)).toBe(false)
})
