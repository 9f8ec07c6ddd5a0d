/** A training on a real Kafka: logged predictions and chargebacks in, versions and a champion out, taken up while running. */
import { expect, inject, onTestFinished, test } from 'vitest'
import { ensureTopics } from '../../cli/topics/requirements.ts'
import { modelOf } from '../../online-model/models/model-of.ts'
import { createRegistryFollower } from '../../online-model/registry/follower.ts'
import { publishVersion } from '../../online-model/registry/publish-version.ts'
import { trainFromLog } from '../../online-model/trainer/train.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import type { Broker, BrokerData, OutRecord } from '../../runtime/broker.ts'
import { systemClock } from '../../runtime/clock.ts'
import { createKafkaBroker } from '../../runtime/kafka/broker.ts'
import { partitionOf } from '../../runtime/partition.ts'
import { readSpans, wholeLog } from '../../runtime/read-log.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { RegistryRecord } from '../../schemas/wire/records.ts'

const partitions = 4
const predictionCount = 4_000
/** 20 days of predictions, so that 1,400 of them are as long as the seven days after which a label is due. */
const everyMs = 432_000
const startMs = Date.UTC(2024, 0, 1)
const dayMs = 86_400_000
const fraudEvery = 20

test('a training ends in the registry, and its followers score with the new version', async () => {
  const { broker, plan } = await filledTopics(`train-${process.pid}-${Date.now()}`)
  const [predictions, label, models] = [plan.predictions.topic, plan.streams[1]!.topic, plan.models.topic]

  const printed: string[] = []
  const waiting = new Map<string, () => void>()
  const printedLine = (line: string) => new Promise<void>((resolve) => waiting.set(line, resolve))
  const printLine = (line: string) => {
    printed.push(line)
    waiting.get(line)?.()
  }
  const follower = createRegistryFollower({ broker: broker.data, plan, topic: models, printLine })
  onTestFinished(() => follower.close())
  const failures: unknown[] = []
  await follower.loadToEnd()
  expect(follower.current()).toBeNull()
  follower.follow((error) => failures.push(error))

  const train = (by: string, rowsMax: number) =>
    trainFromLog({
      broker: broker.data,
      plan,
      topics: { predictions, label, models },
      seed: 0,
      clock: systemClock.nowMs,
      printLine: () => undefined,
      by,
      rowsMax,
    })

  // The newest 2,000 of the 2,600 mature ones: 600 to 2,599.
  const firstTakenUp = printedLine('champion is v1')
  const first = await train('first', 2_000)
  expect(first).toMatchObject({
    previous: null,
    promoted: true,
    rows: 2_000,
    positives: 100,
    waiting: 1_400,
    watermarkMs: startMs + 3_999 * everyMs,
    counts: {
      predictions: 4_000,
      duplicatePredictions: 0,
      droppedPredictions: 600,
      labels: 200,
      labelsWithoutRow: 100,
    },
    skipped: { foreign: 0, rejectedLabels: 1, rejectedValues: 0, labelsAhead: 0 },
    version: { version: 'v1', fingerprint: plan.fingerprint, model: await weightsOf(plan, 600, 2_600) },
  })
  expect(trainedOn(first.version.trainedOn)).toEqual({ [predictions]: 4_000, [label]: 201 })
  expect(await registryRecords(broker.data, plan)).toEqual([
    first.version,
    {
      kind: 'alias',
      alias: 'champion',
      version: 'v1',
      previous: null,
      changedAtMs: expect.any(Number),
      by: 'first',
      reason: 'trained on 2000 rows with 100 positives',
      action: 'set',
    },
  ])
  await firstTakenUp
  const scorer = follower.current()!
  expect(scorer.version).toBe('v1')
  expect(scorer.score(vectorOf(plan, fraudEvery))).toBeGreaterThan(scorer.score(vectorOf(plan, fraudEvery + 2)))

  const secondTakenUp = printedLine('champion is v2')
  const second = await train('second', 1_000_000)
  expect(second).toMatchObject({
    previous: 'v1',
    promoted: true,
    rows: 2_600,
    positives: 130,
    waiting: 1_400,
    version: { version: 'v2', model: await weightsOf(plan, 0, 2_600) },
  })
  const records = await registryRecords(broker.data, plan)
  expect(records.slice(2)).toMatchObject([
    second.version,
    { kind: 'alias', version: 'v2', previous: 'v1', by: 'second' },
  ])
  expect(records).toHaveLength(4)
  await secondTakenUp
  expect(follower.current()?.version).toBe('v2')
  // A batch that began with v1 ends with it.
  expect(scorer.version).toBe('v1')

  // Somebody who still takes v1 for the champion changes nothing; who knows of v2 does.
  const producer = await broker.data.producer()
  const publish = (version: string, previous: string) =>
    publishVersion(producer, {
      topic: models,
      codec: plan.models.codec,
      version: { ...second.version, version },
      previous,
      by: 'rival',
      reason: 'by hand',
      changedAtMs: systemClock.nowMs(),
    })
  await publish('v3', 'v1')
  const late = createRegistryFollower({ broker: broker.data, plan, topic: models, printLine: () => undefined })
  onTestFinished(() => late.close())
  await late.loadToEnd()
  expect(late.current()?.version).toBe('v2')
  expect([...late.state().versions.keys()]).toEqual(['v1', 'v2', 'v3'])
  expect(late.state()).toMatchObject({ ignoredAliases: 1, ignoredVersions: 0 })
  const fourthTakenUp = printedLine('champion is v4')
  await publish('v4', 'v2')
  await fourthTakenUp
  expect(follower.current()?.version).toBe('v4')
  expect(printed).toEqual(['champion is v1', 'champion is v2', 'champion is v4'])
  expect(failures).toEqual([])
})

/** Topics of their own, with all predictions, a chargeback three days after every fraud, and one that is no event. */
async function filledTopics(namespace: string): Promise<{ broker: Broker; plan: Plan }> {
  const plan = compile(cardFraud, { namespace })
  const broker = createKafkaBroker({ brokers: inject('kafkaBrokers').split(','), clientId: namespace })
  onTestFinished(() => broker.close())
  await ensureTopics(broker.admin, plan, partitions)
  const chargebacks = plan.streams[1]!
  const records: OutRecord[] = []
  for (let i = 0; i < predictionCount; i++) {
    const customerId = `c${i % 97}`
    const key = Buffer.from(customerId)
    const partition = partitionOf(key, partitions)
    const [txId, time] = [`tx${i}`, startMs + i * everyMs]
    const value = plan.predictions.codec.encode({
      id: txId,
      time,
      score: null,
      modelVersion: null,
      features: vectorOf(plan, i),
      fingerprint: plan.fingerprint,
      origin: { partition, offset: i },
      positions: [],
      reasons: [],
      shadow: [],
    })
    records.push({ topic: plan.predictions.topic, partition, key, value })
    if (i % fraudEvery !== 0) continue
    const reported = { txId, customerId, terminalId: 't1', txAt: time, reportedAt: time + 3 * dayMs }
    records.push({ topic: chargebacks.topic, partition, key, value: chargebacks.codec.encode(reported) })
  }
  records.push({ topic: chargebacks.topic, partition: 0, key: null, value: Buffer.from('{"txId":1}') })
  const producer = await broker.data.producer()
  await producer.send(records)
  return { broker, plan }
}

/** Every other fraud has a large amount; every third event has no mean of the last day. */
function vectorOf(plan: Plan, i: number): number[] {
  return plan.features.map(({ name }, column) => {
    if (name === 'amount') return (i % (2 * fraudEvery) === fraudEvery ? 200 : 40) + (i % 13)
    if (name === 'customerMean1d' && i % 3 === 0) return Number.NaN
    return (i * (column + 3)) % (11 + column)
  })
}

/** The fit of these predictions, by their numbers, as it is without Kafka. */
async function weightsOf(plan: Plan, from: number, to: number) {
  const numbers = Array.from({ length: to - from }, (_, row) => from + row)
  const training = {
    rows: Float64Array.from(numbers.flatMap((i) => vectorOf(plan, i))),
    labels: Uint8Array.from(numbers, (i) => (i % fraudEvery === 0 ? 1 : 0)),
    rowCount: numbers.length,
    features: plan.features.map(({ name }) => name),
    weights: null,
  }
  const { weights } = await modelOf(plan.model).fit(training, { seed: 0 })
  return weights
}

/** Offsets summed over the partitions of each topic. */
function trainedOn(positions: ReadonlyArray<{ topic: string; offset: number }>): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const { topic, offset } of positions) sums[topic] = (sums[topic] ?? 0) + offset
  return sums
}

async function registryRecords(broker: BrokerData, plan: Plan): Promise<RegistryRecord[]> {
  const { topic, codec } = plan.models
  const records: RegistryRecord[] = []
  const fetcher = await broker.fetcher()
  try {
    await readSpans(fetcher, await wholeLog(broker, [topic]), ({ value }) => records.push(codec.decode(value!)))
  } finally {
    await fetcher.close()
  }
  return records
}
