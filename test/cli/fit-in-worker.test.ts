/** A fit in a thread of its own: the same weights as here, and what becomes of it where it cannot or must not end. */
import { expect, test } from 'vitest'
import { fitInWorker } from '../../cli/learn/fit-in-worker.ts'
import { loadPlan } from '../../cli/load-plan.ts'
import { modelOf } from '../../online-model/models/model-of.ts'
import type { TrainingRows } from '../../schemas/models/custom.ts'
import { createRandom } from '../../testing/random.ts'

const definition = 'pipelines/card-fraud.ts'
const plan = await loadPlan(definition, { namespace: '' })
const features = plan.features.map(({ name }) => name)
const never = new AbortController().signal

/** Made again for each fit, since its rows are moved. */
function someRows(rowCount = 400): TrainingRows {
  const random = createRandom(5)
  const rows = Float64Array.from({ length: rowCount * features.length }, () => random.next())
  const labels = Uint8Array.from({ length: rowCount }, (_, row) => Number(rows[row * features.length]! > 0.7))
  return { features, rows, rowCount, labels, weights: null }
}

const fitOf = (more: Partial<Parameters<typeof fitInWorker>[0]> = {}) =>
  fitInWorker({
    definition,
    namespace: '',
    timeMaxMs: 60_000,
    heapBytesMax: 512 * 1_048_576,
    onProgress: () => undefined,
    ...more,
  })

test('gives the weights that a fit in this thread gives, and reports its progress', async () => {
  const progress: number[] = []
  const fitted = await fitOf({ onProgress: (done) => progress.push(done) })(someRows(), { seed: 3, signal: never })
  expect(fitted).toEqual(await modelOf(plan.model).fit(someRows(), { seed: 3 }))
  expect(progress.at(-1)).toBe(1)
})

test('takes its rows over, so that nothing is held twice', async () => {
  const rows = someRows()
  await fitOf()(rows, { seed: 3, signal: never })
  expect(rows.rows.length).toBe(0)
})

test('that takes too long is ended, and reports what to do', async () => {
  await expect(fitOf({ timeMaxMs: 1 })(someRows(), { seed: 3, signal: never })).rejects.toMatchObject({
    code: 'model_untrainable',
    message: expect.stringContaining('learn.retrain.over'),
  })
})

test('that is aborted ends with the reason', async () => {
  const stop = new AbortController()
  const fitting = fitOf()(someRows(), { seed: 3, signal: stop.signal })
  stop.abort(new Error('no more'))
  await expect(fitting).rejects.toThrow('no more')
  await expect(fitOf()(someRows(), { seed: 3, signal: stop.signal })).rejects.toThrow('no more')
})

test('of rows that nothing can be learnt from is rejected as it is here', async () => {
  const rows = someRows()
  rows.labels.fill(0)
  await expect(fitOf()(rows, { seed: 3, signal: never })).rejects.toMatchObject({ code: 'model_untrainable' })
})

test('of a definition that was removed is reported', async () => {
  const fitting = fitOf({ definition: 'pipelines/none.ts' })(someRows(), { seed: 3, signal: never })
  await expect(fitting).rejects.toMatchObject({ code: 'usage' })
})
