import { describe, expect, test } from 'vitest'
import { fitLogistic } from '../../online-model/models/logistic.ts'
import { createRegistryFollower } from '../../online-model/registry/follower.ts'
import {
  type TrainingPlan,
  type TrainOptions,
  type TrainSummary,
  trainFromLog,
} from '../../online-model/trainer/train.ts'
import { customModel } from '../../schemas/definition/definition.ts'
import type { EventValues } from '../../schemas/kernel/event.ts'
import type { StreamPlan } from '../../schemas/plan/plan.ts'
import type { EventCodec } from '../../schemas/wire/codec.ts'
import { definitionEntry } from '../../schemas/wire/definition-record.ts'
import { rowLayoutOf } from '../../schemas/wire/event-rows.ts'
import type { Prediction, RegistryRecord } from '../../schemas/wire/records.ts'
import { createLogFake, jsonCodec, type LogFake } from './log-fake.ts'

const dayMs = 86_400_000
const start = Date.UTC(2024, 0, 1)
const topics = { predictions: 'team.predictions', label: 'team.chargebacks', models: 'team.models' }

const labelCodec: EventCodec = {
  schemas: new Map(),
  encode: (event) => Buffer.from(JSON.stringify(event)),
  decode: (bytes) =>
    bytes === null
      ? { ok: false, problems: [{ path: '', code: 'empty', expected: 'an event', received: 'nothing' }] }
      : { ok: true, event: JSON.parse(bytes.toString()) as EventValues },
  check: () => ({ ok: false, problems: [] }),
  layout: rowLayoutOf([]),
  decodeRow: () => false,
  readRow: () => -1,
}

function streamPlan(name: string, index: number): StreamPlan {
  return {
    name,
    index,
    topic: name,
    idField: 'txId',
    keyField: 'customerId',
    timeField: 'reportedAt',
    fields: [],
    columns: { id: 0, key: 1, time: 0 },
    disorderMs: 1_000,
    latenessMs: 0,
    aheadMs: 60_000,
    codec: labelCodec,
    rekey: false,
    entersAt: 0,
  }
}

const plan: TrainingPlan = {
  predictions: { topic: 'predictions', codec: { ...jsonCodec<Prediction>(), write: null } },
  models: { topic: 'models', codec: jsonCodec<RegistryRecord>() },
  features: ['amount', 'night'].map((name) => ({ name, identity: name, entity: null, compute: () => 0 })),
  fingerprint: 'print',
  streams: [streamPlan('transactions', 0), streamPlan('chargebacks', 1)],
  label: { stream: 1, value: 1, otherwise: { value: 0, afterMs: 7 * dayMs } },
  model: { kind: 'logistic', l2: 1 },
  schemas: { topic: 'schemas' },
}

/** One event an hour; every tenth is a fraud with a larger amount, and some frauds are small. */
function vectorOf(i: number): number[] {
  return [(i % 10 === 0 ? (i % 30 === 0 ? 5 : 90) : 10) + (i % 7), i % 24 < 7 ? 1 : 0]
}

function predict(fake: LogFake, i: number, more: Partial<Prediction> = {}): void {
  const prediction: Prediction = {
    id: `tx${i}`,
    time: start + (i * dayMs) / 24,
    score: null,
    modelVersion: null,
    features: vectorOf(i),
    fingerprint: 'print',
    origin: { partition: i & 1, offset: i },
    positions: [],
    reasons: [],
    shadow: [],
    ...more,
  }
  fake.append(topics.predictions, i & 1, plan.predictions.codec.encode(prediction))
}

function report(fake: LogFake, txId: string, reportedAt: number, appendedAtMs = reportedAt): void {
  fake.append(topics.label, 0, labelCodec.encode({ txId, reportedAt }), appendedAtMs)
}

/** 20 days of events and of labels that come seven days after theirs. */
function filledLog(): LogFake {
  const fake = createLogFake({ [topics.predictions]: 2, [topics.label]: 1, [topics.models]: 1, schemas: 1 })
  for (let i = 0; i < 480; i++) predict(fake, i)
  for (let i = 0; i < 480; i += 10) {
    const reportedAt = start + (i * dayMs) / 24 + 7 * dayMs
    if (reportedAt < start + 20 * dayMs) report(fake, `tx${i}`, reportedAt)
  }
  return fake
}

function options(fake: LogFake, more: Partial<TrainOptions> = {}): TrainOptions {
  let now = 1_000
  const clock = (): number => {
    now += 500
    return now
  }
  return { broker: fake.broker, plan, topics, seed: 7, clock, printLine: () => undefined, by: 'somebody', ...more }
}

describe('trainFromLog', () => {
  test('trains on vectors that end before the labels: these alone say what is mature', async () => {
    const fake = filledLog()
    // Of the first ten days; the labels go on to the twentieth.
    const vectors: TrainOptions['vectors'] = async (take) => {
      for (let i = 0; i < 240; i++) take({ id: `tx${i}`, time: start + (i * dayMs) / 24, features: vectorOf(i) })
    }
    expect(await trainFromLog(options(fake, { vectors }))).toMatchObject({ rows: 240, positives: 24, waiting: 0 })
  })

  test('reads, joins, fits, publishes and promotes', async () => {
    const fake = filledLog()
    const lines: string[] = []
    const summary = await trainFromLog(options(fake, { printLine: (line) => lines.push(line) }))

    // The last label is that of event 310, reported at hour 478; minus 1 s of disorder that leaves the events of hours
    // 0 to 309.
    expect(summary).toMatchObject({
      previous: null,
      promoted: true,
      rows: 310,
      positives: 31,
      waiting: 170,
      watermarkMs: start + 478 * (dayMs / 24) - 1_000,
      skipped: { foreign: 0, rejectedLabels: 0, rejectedValues: 0, labelsAhead: 0 },
      counts: { predictions: 480, labels: 32, duplicatePredictions: 0 },
      seconds: 1.5,
    })
    const expected = await fitLogistic({
      rows: Float64Array.from(Array.from({ length: 310 }, (_, i) => vectorOf(i)).flat()),
      labels: Uint8Array.from({ length: 310 }, (_, i) => (i % 10 === 0 ? 1 : 0)),
      rowCount: 310,
      features: ['amount', 'night'],
      weights: null,
      l2: 1,
      iterationsMax: 100,
    })
    expect(summary.version).toEqual({
      kind: 'version',
      version: 'v1',
      createdAtMs: 2_000,
      fingerprint: 'print',
      identities: { amount: 'amount', night: 'night' },
      seed: 7,
      model: expected.weights,
      metrics: { rows: 310, positives: 31, ...summary.metrics },
      trainedOn: [
        { topic: topics.predictions, partition: 0, offset: 240 },
        { topic: topics.predictions, partition: 1, offset: 240 },
        { topic: topics.label, partition: 0, offset: 32 },
      ],
      parent: null,
      origin: 'manual',
    })
    expect(summary.metrics.auc).toBeGreaterThan(0.6)
    expect(summary.metrics.averagePrecision).toBeGreaterThan(0.6)
    expect(lines[0]).toBe('read 480 predictions and 32 labels')
    expect(lines[1]).toMatch(
      /^fitted 310 rows \(31 positive, 170 more wait for their label\), \d+ iterations: average precision 0\.\d{4}/,
    )
    expect(fake.open()).toBe(0)

    const registry = createRegistryFollower({
      broker: fake.broker,
      plan,
      topic: topics.models,
      printLine: () => undefined,
    })
    await registry.loadToEnd()
    expect(registry.current()?.version).toBe('v1')
    expect(registry.state().history).toMatchObject([
      { previous: null, by: 'somebody', reason: 'trained on 310 rows with 31 positives' },
    ])
    await registry.close()
  })

  test('the next training is the next version and replaces the champion', async () => {
    const fake = filledLog()
    await trainFromLog(options(fake))
    const second = await trainFromLog(options(fake))
    expect(second).toMatchObject({ previous: 'v1', promoted: true, version: { version: 'v2' } })
  })

  test('skips and counts what teaches nothing', async () => {
    const clean = await trainFromLog(options(filledLog()))
    const fake = filledLog()
    predict(fake, 3)
    predict(fake, 5, { fingerprint: 'other' })
    fake.append(topics.label, 0, null)
    report(fake, 'tx1', start + 900 * dayMs, start + 20 * dayMs)
    const summary = await trainFromLog(options(fake))
    expect(summary.skipped).toEqual({ foreign: 1, rejectedLabels: 1, rejectedValues: 0, labelsAhead: 1 })
    expect(summary.counts.duplicatePredictions).toBe(1)
    expect(summary.version.model).toEqual(clean.version.model)
  })

  test('uses rows of an earlier definition without the features that have changed', async () => {
    const fake = filledLog()
    const [fingerprint, ofNight] = ['earlier', { name: 'night', identity: 'another night' }]
    const [key, value] = definitionEntry(fingerprint, [{ name: 'amount', identity: 'amount' }, ofNight])
    fake.append('schemas', 0, Buffer.from(JSON.stringify({ $schema: 'of predictions in JSON' })))
    fake.append('schemas', 0, Buffer.from(JSON.stringify(value)))
    expect(key).toBe('definition-earlier')
    // Before all others.
    for (let i = -240; i < 0; i++) predict(fake, i, { fingerprint })
    for (let i = -240; i < 0; i += 10) report(fake, `tx${i}`, start + (i * dayMs) / 24 + 7 * dayMs)
    const lines: string[] = []
    const summary = await trainFromLog(options(fake, { printLine: (line) => lines.push(line) }))
    expect(summary).toMatchObject({ rows: 310 + 240, earlier: 240, skipped: { foreign: 0 } })
    const meansOf = ({ version: { model } }: TrainSummary) => ('means' in model ? model.means : [])
    const alone = await trainFromLog(options(filledLog()))
    expect(meansOf(summary)[1]).toBe(meansOf(alone)[1])
    expect(meansOf(summary)[0]).not.toBe(meansOf(alone)[0])
  })

  test('a record of the topic of schemas that is no definition is named', async () => {
    const fake = filledLog()
    fake.append('schemas', 0, Buffer.from('{"$definition":"a","identities":{"amount":1}}'))
    await expect(trainFromLog(options(fake))).rejects.toMatchObject({
      code: 'record_unreadable',
      message:
        'The record at schemas partition 0 offset 0 is no schema or definition in JSON: $definition without a fingerprint and the ' +
        'identities of its features.',
    })
  })

  test('trains on the newest of the mature rows, however many wait for their label', async () => {
    // 30 days, one event a minute: 10,080 of the 43,200 are younger than the seven days after which a label is due.
    const fake = createLogFake({ [topics.predictions]: 2, [topics.label]: 1, [topics.models]: 1, schemas: 1 }, 1_000)
    const minute = 60_000
    for (let i = 0; i < 43_200; i++) predict(fake, i, { time: start + i * minute })
    for (let i = 0; i < 43_200; i += 10) report(fake, `tx${i}`, start + i * minute + 3 * dayMs)
    const summary = await trainFromLog(options(fake, { rowsMax: 10_000 }))
    // Predictions are the slower input: those up to minute 43,199 - 10,080 are mature, and the newest of them are kept.
    const [first, last] = [23_120, 33_119]
    expect(summary).toMatchObject({
      rows: 10_000,
      positives: 1_000,
      waiting: 10_080,
      watermarkMs: start + 43_199 * minute,
      counts: {
        predictions: 43_200,
        waiting: 10_080,
        duplicatePredictions: 0,
        droppedPredictions: 43_200 - 10_080 - 10_000,
        labels: 4_320,
        duplicateLabels: 0,
        labelsWithoutRow: 3_320,
      },
    })
    const numbers = Array.from({ length: last - first + 1 }, (_, row) => first + row)
    const expected = await fitLogistic({
      rows: Float64Array.from(numbers.flatMap(vectorOf)),
      labels: Uint8Array.from(numbers, (i) => (i % 10 === 0 ? 1 : 0)),
      rowCount: 10_000,
      features: ['amount', 'night'],
      weights: null,
      l2: 1,
      iterationsMax: 100,
    })
    expect(summary.version.model).toEqual(expected.weights)
  })

  test('the newest mature rows are those by the labels where these are the slower input', async () => {
    const summary = await trainFromLog(options(filledLog(), { rowsMax: 300 }))
    expect(summary).toMatchObject({
      rows: 300,
      positives: 30,
      waiting: 170,
      counts: { predictions: 480, droppedPredictions: 10, labels: 32, labelsWithoutRow: 2 },
    })
  })

  test('labels of rows that wait take no label from a row that is mature', async () => {
    const fake = filledLog()
    for (let i = 312; i < 480; i++) report(fake, `tx${i}`, start + 20 * dayMs - 500)
    const summary = await trainFromLog(options(fake, { rowsMax: 100 }))
    expect(summary).toMatchObject({ rows: 100, positives: 10, counts: { labels: 32 + 168 } })
  })

  test('loses to a promotion that came in between, and reports it', async () => {
    const fake = filledLog()
    const { version } = await trainFromLog(options(fake))
    fake.beforeSend = () => {
      const rival = { ...version, version: 'v2', createdAtMs: 1 }
      fake.append(topics.models, 0, plan.models.codec.encode(rival))
      fake.append(
        topics.models,
        0,
        plan.models.codec.encode({
          kind: 'alias',
          alias: 'champion',
          version: 'v2',
          previous: 'v1',
          changedAtMs: 1,
          by: 'rival',
          reason: 'first',
          action: 'set',
        }),
      )
    }
    const lines: string[] = []
    const summary = await trainFromLog(options(fake, { printLine: (line) => lines.push(line) }))
    expect(summary).toMatchObject({ previous: 'v1', promoted: false, version: { version: 'v3' } })
    expect(lines.at(-1)).toBe(
      'v3 is not the champion; another change came first: rival set champion to v2 at 1970-01-01T00:00:00.001Z (first)',
    )
  })

  test('explains with counts why nothing can be trained, and publishes nothing', async () => {
    const fake = createLogFake({ [topics.predictions]: 2, [topics.label]: 1, [topics.models]: 1, schemas: 1 })
    for (let i = 0; i < 48; i++) predict(fake, i)
    report(fake, 'tx0', start + 2 * dayMs)
    await expect(trainFromLog(options(fake))).rejects.toMatchObject({
      code: 'model_untrainable',
      message:
        'A logistic model needs labelled rows of both classes, but got 0 rows with 0 positives and 0 negatives. ' +
        'The logs hold 48 predictions of this definition and 1 labels; 48 predictions wait for their label, ' +
        'which is due 604800000 ms of event time after the event, ' +
        'and the watermark of both streams is 2024-01-02T23:00:00.000Z.',
    })
    expect((await fake.broker.bounds([{ topic: topics.models, partition: 0 }]))[0]?.end).toBe(0)
    expect(fake.open()).toBe(0)
  })

  test('empty logs are explained too', async () => {
    const fake = createLogFake({ [topics.predictions]: 2, [topics.label]: 1, [topics.models]: 1, schemas: 1 })
    await expect(trainFromLog(options(fake))).rejects.toThrow(/the watermark of both streams is not known yet\.$/)
  })

  test('a fit that fails is not published', async () => {
    const fake = filledLog()
    const broken = customModel({
      name: 'broken',
      fit: ({ rowCount }) => [rowCount, Number.NaN],
      predictor: () => () => 0.5,
    })
    await expect(trainFromLog(options(fake, { plan: { ...plan, model: broken } }))).rejects.toMatchObject({
      code: 'model_untrainable',
      message: expect.stringMatching(/^JSON does not carry the weights of broken as they are/),
    })
    expect((await fake.broker.bounds([{ topic: topics.models, partition: 0 }]))[0]?.end).toBe(0)
    expect(fake.open()).toBe(0)
  })

  test('stops on abort, and publishes nothing', async () => {
    const fake = filledLog()
    const stopping = new AbortController()
    stopping.abort(new Error('enough'))
    await expect(trainFromLog(options(fake, { signal: stopping.signal }))).rejects.toThrow('enough')
    expect((await fake.broker.bounds([{ topic: topics.models, partition: 0 }]))[0]?.end).toBe(0)
  })

  test('a missing topic and a failing fetch are passed on, connections closed', async () => {
    const fake = filledLog()
    await expect(trainFromLog(options(fake, { topics: { ...topics, label: 'team.nothing' } }))).rejects.toMatchObject({
      code: 'topic_missing',
      message: 'Topic team.nothing does not exist.',
    })
    fake.failure = new Error('down')
    await expect(trainFromLog(options(fake))).rejects.toThrow('down')
    expect(fake.open()).toBe(0)
  })
})
