/** Models: passed as a function, called once a batch, replaced without a restart. */
import { expect, test } from 'vitest'
import type { ScoringModel } from '../../processors/batch/scoring.ts'
import { createPipelineRunner, oneByOne } from '../../testing/index.ts'
import { click, clicksPipeline, clicksStartMs } from '../support/clicks.ts'

const startMs = clicksStartMs + 3_600_000
const events = Array.from({ length: 120 }, (_, i) => click(`e${i}`, `user${i % 3}`, i, { amount: 100 + i }))

/** Scores the amount, shifted by the version, so that it shows which model and which vector it was. */
function modelOf(version: number): ScoringModel {
  return oneByOne({
    version: `v${version}`,
    score: (vector) => version * 1_000 + vector[0]!,
    reasons: (vector) => [{ feature: 'amount', contribution: vector[0]! * version }],
  })
}

test('without a model predictions carry the vector and no score', async () => {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions: 1, startMs })
  await runner.sendAll(events.slice(0, 1))
  const worker = runner.start()
  await worker.until('it is there', () => worker.metrics.totals.predictions === 1)
  await worker.stop()
  expect(await runner.predictions()).toMatchObject([
    { id: 'e0', score: null, modelVersion: null, reasons: [], features: [100, 100, 1, 100, 0, 0] },
  ])
})

test('a new model is taken up at the next batch, and never within one', async () => {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions: 1, startMs })
  await runner.sendAll(events)
  let asked = 0
  const worker = runner.start({
    limits: { batchEventsMax: 10, partitionBytesMax: 1_000 },
    currentModel: () => (++asked <= 4 ? null : modelOf(asked)),
  })
  await worker.until('all are scored', () => worker.metrics.totals.predictions === events.length)
  await worker.stop()
  expect(worker.messages).toEqual(['tasks opened'])

  const [records] = await runner.records(runner.plan.predictions.topic)
  const versions: string[][] = []
  let lastOffset = -2
  for (const { offset, value } of records!) {
    const { score, modelVersion, features, reasons } = runner.plan.predictions.codec.decode(value!)
    // A transaction ends with a marker, which takes an offset.
    if (offset !== lastOffset + 1) versions.push([])
    lastOffset = offset
    versions.at(-1)!.push(String(modelVersion))
    if (modelVersion === null) expect([score, reasons]).toEqual([null, []])
    else {
      const version = Number(modelVersion.slice(1))
      expect(score).toBe(version * 1_000 + features[0]!)
      expect(reasons).toEqual([{ feature: 'amount', contribution: features[0]! * version }])
    }
  }
  expect(versions.length).toBeGreaterThanOrEqual(12)
  const ofBatches = versions.map((batch) => new Set(batch))
  expect(ofBatches.map(({ size }) => size)).toEqual(versions.map(() => 1))
  const numbers = ofBatches.map(([version]) => (version === 'null' ? 0 : Number(version!.slice(1))))
  expect(numbers).toEqual([...numbers].sort((a, b) => a - b))
  expect(new Set(numbers).size).toBeGreaterThan(8)
})

test('challengers are taken up with a batch, on the same vectors, and leave the champion as it was', async () => {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions: 1, startMs })
  await runner.sendAll(events)
  let asked = 0
  const worker = runner.start({
    limits: { batchEventsMax: 10, partitionBytesMax: 1_000 },
    currentModel: () => {
      asked++
      // Scores of one batch show which call returned their model.
      const shadows = [oneByOne({ version: `s${asked}`, score: (vector) => asked * 1_000 - vector[0]! })]
      return { ...modelOf(1), ...(asked > 3 && asked < 9 ? { shadows } : {}) }
    },
  })
  await worker.until('all are scored', () => worker.metrics.totals.predictions === events.length)
  await worker.stop()
  const predictions = await runner.predictions()
  expect(predictions.map(({ id }) => id).sort()).toEqual(events.map(({ values }) => values.clickId).sort())
  for (const { score, modelVersion, features, shadow } of predictions) {
    expect([score, modelVersion]).toEqual([1_000 + features[0]!, 'v1'])
    for (const one of shadow) expect(one.score).toBe(Number(one.version.slice(1)) * 1_000 - features[0]!)
  }
  const versions = new Set(predictions.flatMap(({ shadow }) => shadow.map(({ version }) => version)))
  expect([...versions]).toEqual(['s4', 's5', 's6', 's7', 's8'])
  expect(predictions.some(({ shadow }) => shadow.length === 0)).toBe(true)
})

test('a challenger that fails is dropped and reported once, across restarts of the loop, and nothing else suffers', async () => {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions: 1, startMs })
  await runner.sendAll(events)
  let thrown = 0
  let infinite = 0
  const shadows = [
    oneByOne({
      version: 'throws',
      score: (vector) => {
        if (vector[0]! < 130) return 0.5
        thrown++
        throw new Error('no such tensor')
      },
    }),
    oneByOne({ version: 'sound', score: (vector) => vector[0]! }),
    {
      version: 'infinite',
      scoreBatch: (_: Float64Array, count: number, scores: Float64Array) => {
        infinite++
        scores.fill(Number.POSITIVE_INFINITY, 0, count)
      },
    },
  ]
  const worker = runner.start({
    limits: { batchEventsMax: 10, partitionBytesMax: 1_000 },
    currentModel: () => ({ ...modelOf(1), shadows }),
  })
  await worker.until('all are scored', () => worker.metrics.totals.predictions === events.length)
  await worker.stop()
  expect([thrown, infinite]).toEqual([1, 1])
  expect(worker.messages).toEqual([
    'tasks opened',
    'challenger infinite is not asked again by this process: its score is Infinity',
    'challenger throws is not asked again by this process: no such tensor',
  ])
  const predictions = await runner.predictions()
  expect(predictions.length).toBe(events.length)
  for (const { score, features, shadow } of predictions) {
    expect(score).toBe(1_000 + features[0]!)
    expect(shadow.find(({ version }) => version === 'sound')?.score).toBe(features[0])
    expect(shadow.some(({ version }) => version === 'throws')).toBe(features[0]! < 130)
  }
})
