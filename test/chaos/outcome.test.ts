/** The comparison at the end of a chaos run sees what it is there for: wrong predictions of every kind, and changed features. */
import { expect, test } from 'vitest'
import { createScorer } from '../../online-model/models/scorer.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import type { ModelVersion, Prediction } from '../../schemas/wire/records.ts'
import { createPipelineRunner } from '../../testing/index.ts'
import { expectOutcome } from './expectation.ts'
import { compareFeatures, comparePredictions } from './outcome.ts'

const startMs = Date.UTC(2024, 0, 1)
const partitions = 2
const events = Array.from({ length: 60 }, (_, i) => ({
  stream: 'transactions',
  values: {
    txId: `t${i}`,
    customerId: `c${i % 5}`,
    terminalId: `m${i % 3}`,
    amount: 10 + i / 4,
    at: startMs + i * 60_000,
  },
}))

/** The pipeline in memory, undisturbed, with everything committed. */
async function ran() {
  const runner = await createPipelineRunner({ pipeline: cardFraud, partitions, startMs: startMs + 86_400_000 })
  const { plan, broker, store } = runner
  const features = plan.features.map(({ name }) => name)
  const model: ModelVersion = {
    kind: 'version',
    version: 'v1',
    createdAtMs: 0,
    fingerprint: plan.fingerprint,
    seed: 0,
    model: {
      kind: 'logistic',
      features,
      means: features.map(() => 0),
      scales: features.map(() => 1),
      weights: features.map((_, i) => 0.01 * (i + 1)),
      intercept: -2,
    },
    metrics: {},
    trainedOn: [],
    parent: null,
    origin: 'manual',
  }
  const scorer = createScorer(model, plan, 3)
  await runner.sendAll(events)
  const started = runner.start({ currentModel: () => scorer })
  await started.until('all predictions', () => started.metrics.totals.predictions === events.length)
  await started.stop()
  const sent = events.map(({ stream, values }) => ({ stream, id: values.txId, timeMs: values.at, values }))
  const expected = expectOutcome(plan, model, sent, partitions)
  const compare = () => comparePredictions(broker.data, plan, expected.predictions, 'v1')
  const add = async (...predictions: readonly Prediction[]) => {
    const producer = await broker.data.producer()
    const { topic, codec } = plan.predictions
    await producer.send(predictions.map((one) => ({ topic, partition: 0, key: null, value: codec.encode(one) })))
  }
  return { runner, plan, model, store, sent, expected, compare, add }
}

test('nothing is found in an undisturbed run', async () => {
  const { compare, store, plan, expected } = await ran()
  expect(await compare()).toEqual({
    predictions: events.length,
    lost: [],
    doubled: [],
    differing: [],
    foreign: [],
    rejected: [],
  })
  expect(await compareFeatures(store, plan, expected, partitions)).toEqual({ entities: 8, differing: [] })
})

test('every kind of wrong prediction is found, and the last bit counts', async () => {
  const { runner, plan, model, sent, add } = await ran()
  const [first, second] = await runner.predictions()
  const more = Array.from({ length: 4 }, (_, i) => ({ ...sent.at(-1)!.values, txId: `more${i}`, amount: 100 }))
  const all = [
    ...sent,
    ...more.map((values) => ({ stream: 'transactions', id: values.txId, timeMs: values.at, values })),
  ]
  const expected = expectOutcome(plan, model, all, partitions)
  const wanted = (id: string) => expected.predictions.get(id)!
  const right = (id: string): Prediction => ({
    ...first!,
    id,
    features: [...wanted(id).vector],
    score: wanted(id).score,
  })
  const [amount, ...rest] = wanted('more0').vector
  await add(
    second!,
    { ...right('more0'), features: [amount! * (1 + Number.EPSILON), ...rest] },
    { ...right('more1'), score: wanted('more1').score * (1 - Number.EPSILON) },
    { ...right('more2'), modelVersion: 'v0' },
    { ...first!, id: 'never sent' },
  )
  const found = await comparePredictions(runner.broker.data, plan, expected.predictions, 'v1')
  expect(found).toMatchObject({ lost: ['more3'], doubled: [second!.id], foreign: ['never sent'], rejected: [] })
  expect(found.differing).toEqual([
    expect.stringMatching(/^event more0 at .*: amount 100\.00000000000003, undisturbed 100$/),
    expect.stringMatching(/^event more1 at .*: score 0\.\d+, undisturbed 0\.\d+$/),
    expect.stringMatching(/^event more2 at .*: model v0, undisturbed v1$/),
  ])
})

test('a rejected event is found', async () => {
  const { runner, compare } = await ran()
  await runner.sendRaw('transactions', 0, 'no Avro', 'c1')
  const started = runner.start()
  await started.until('a dead letter', () => started.metrics.totals.rejected === 1)
  await started.stop()
  expect((await compare()).rejected).toEqual([expect.stringMatching(/^customer refused transactions 0\/\d+: \[\{/)])
})

test('features that an undisturbed run would not have left are found', async () => {
  const { store, plan, model, sent } = await ran()
  const withoutOne = expectOutcome(plan, model, sent.slice(1), partitions)
  const { differing } = await compareFeatures(store, plan, withoutOne, partitions)
  expect(differing).toEqual([
    expect.stringMatching(/^customer c0: .*"customerCount1d":12,.*, undisturbed .*"customerCount1d":11,/),
    expect.stringMatching(/^terminal m0: .*"facts":20,.*, undisturbed .*"facts":19,/),
  ])
  store.empty()
  const emptied = await compareFeatures(store, plan, withoutOne, partitions)
  expect(emptied.differing.slice(0, 2)).toEqual([
    'customer 0: the store holds nothing',
    'customer 1: the store holds nothing',
  ])
})
