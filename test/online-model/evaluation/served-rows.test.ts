/** Rows of the training store become columns of an evaluation: what no model scored is left out, names become numbers. */
import { expect, test } from 'vitest'
import { servedRows, shadowRows } from '../../../online-model/evaluation/served-rows.ts'

const none = Number.NaN
const read = {
  rowCount: 4,
  times: Float64Array.of(10, 20, 30, 40),
  labels: Uint8Array.of(1, 0, 0, 1),
  weights: Float64Array.of(1, 5, 5, 1),
  scores: Float64Array.of(0.9, none, 0.2, 0.4),
  versions: ['v2', null, 'v1', 'v2'],
  keys: ['b', 'a', null, 'b'],
  labelTimes: Float64Array.of(15, none, none, 41),
  shadows: [
    [{ version: 'v3', score: 0.5 }],
    [],
    [],
    [
      { version: 'v4', score: 0.6 },
      { version: 'v3', score: 0.7 },
    ],
  ],
}

test('as served', () => {
  const { rows, of } = servedRows(read)
  expect(of).toEqual(Int32Array.of(0, 2, 3))
  expect(rows).toEqual({
    labels: Uint8Array.of(1, 0, 1),
    scores: Float64Array.of(0.9, 0.2, 0.4),
    times: Float64Array.of(10, 30, 40),
    versions: Int32Array.of(0, 1, 0),
    versionNames: ['v2', 'v1'],
    keys: Int32Array.of(0, -2, 0),
    labelDelays: Float64Array.of(5, none, 1),
    weights: Float64Array.of(1, 5, 1),
  })
})

test('in the shadow', () => {
  const { rows, of } = shadowRows(read)
  expect(of).toEqual(Int32Array.of(0, 3, 3))
  expect([rows.scores, rows.versionNames, rows.versions]).toEqual([
    Float64Array.of(0.5, 0.6, 0.7),
    ['v3', 'v4'],
    Int32Array.of(0, 1, 0),
  ])
  expect([rows.labels, rows.labelDelays]).toEqual([Uint8Array.of(1, 1, 1), Float64Array.of(5, 1, 1)])
})
