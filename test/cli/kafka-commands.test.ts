/** `produce`, `tail` and `train` from their arguments to their output, on the broker in memory. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ensureTopics, topicSpecs } from '../../cli/topics/requirements.ts'
import { modelFromJson } from '../../online-model/registry/model-file.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import type { Broker, BrokerData } from '../../runtime/broker.ts'
import { systemClock } from '../../runtime/clock.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { DeadLetter, ModelVersion, Prediction } from '../../schemas/wire/records.ts'
import { createVirtualClock } from '../../testing/virtual-clock.ts'
import { call, scratchFolder } from './call.ts'

const namespace = 'cli-test'
const env = { MILLRACE_NAMESPACE: namespace }
const path = 'pipelines/card-fraud.ts'
const plan = compile(cardFraud, { namespace })
const atMs = Date.UTC(2018, 3, 1)
const dayMs = 86_400_000

/** A command closes the broker that it opened; the one in memory outlives it here. */
async function brokerWithTopics() {
  const broker = createMemoryBroker({ clock: systemClock })
  await ensureTopics(broker.admin, plan, 2)
  const kept: Broker = { ...broker, close: async () => undefined }
  return { broker: kept, openBroker: () => kept }
}

async function valuesOf(broker: BrokerData, topic: string): Promise<Buffer[]> {
  const partitions = (await broker.partitionCounts([topic])).get(topic)!
  const fetcher = await broker.fetcher()
  const from = Array.from({ length: partitions }, (_, partition) => ({ topic, partition, offset: 0 }))
  const fetched = await fetcher.fetch(from, { maxWaitMs: 0, partitionBytesMax: 1e9 })
  await fetcher.close()
  return fetched.flatMap(({ records }) => Array.from(records, ({ value }) => value!))
}

const send = async (broker: Broker, topic: string, values: readonly Buffer[]) =>
  (await broker.data.producer()).send(values.map((value) => ({ topic, partition: 0, key: null, value })))

function transaction(n: number, more: object = {}): string {
  const values = {
    txId: `t${n}`,
    customerId: `c${n}`,
    terminalId: 'm',
    amount: n,
    at: new Date(atMs + n).toISOString(),
  }
  return JSON.stringify({ stream: 'transactions', ...values, ...more })
}

describe('topics', () => {
  test('have the partitions and the retention of the plan', () => {
    const specs = topicSpecs(plan, 12)
    expect(specs.map(({ topic, partitions }) => `${topic} ${partitions}`)).toEqual([
      'cli-test.transactions 12',
      'cli-test.chargebacks 12',
      'cli-test.card-fraud.terminal 12',
      'cli-test.card-fraud.predictions 12',
      'cli-test.card-fraud.rejected 12',
      'cli-test.card-fraud.models 1',
      'cli-test.card-fraud.schemas 1',
      'cli-test.transactions.schemas 1',
      'cli-test.chargebacks.schemas 1',
    ])
    const others = { 'message.timestamp.type': 'LogAppendTime', 'cleanup.policy': 'delete' }
    expect(specs[0]!.config).toEqual({ 'retention.ms': String(38 * dayMs), ...others })
    expect(specs.at(-1)!.config).toEqual({ 'retention.ms': '-1', ...others })
  })

  test('that are missing are all named', async () => {
    const broker = createMemoryBroker({ clock: systemClock })
    const { code, err } = await call(['produce', path, '--source', 'stdin'], { env, openBroker: () => broker })
    expect([code, err]).toEqual([
      1,
      [
        'error: Topics cli-test.transactions, cli-test.chargebacks, cli-test.transactions.schemas, ' +
          'cli-test.chargebacks.schemas do not exist.',
        'Create it, or let Millrace create it with --create-topics.',
      ],
    ])
  })
})

describe('produce', () => {
  test('sends what is valid, reports what is not, and prints what it did', async () => {
    const { broker, openBroker } = await brokerWithTopics()
    const figures = join(await scratchFolder(), 'figures.json')
    const stdin = [transaction(0), 'nonsense', transaction(1, { amount: 'much' }), transaction(2)].join('\n')
    const args = ['produce', path, '--source', 'stdin', '--json', figures]
    const { code, out, err } = await call(args, { env, openBroker, stdin })
    expect(code).toBe(3)
    expect(err[0]).toMatch(/^not sent: standard input, line 2: expected a JSON object in UTF-8, received .*nonsense/)
    expect(err[1]).toBe(
      'not sent: standard input, line 3: /amount expected a finite number >= 0 with at most 2 decimals, received "much"',
    )
    expect(out[0]).toMatch(
      /^Sent 2 events in \d+\.\d s \([\d,]+\/s\), event time 2018-04-01T00:00:00\.000Z to 2018-04-01T00:00:00\.002Z\.$/,
    )
    expect(out.slice(1)).toEqual([
      '  transactions: 2',
      '  chargebacks: 0',
      '  not sent, since they are no valid events: 2 (not_json 1, type 1)',
    ])
    const sent = (await valuesOf(broker.data, 'cli-test.transactions')).map((value) => plan.scored.codec.decode(value))
    expect(sent.map((one) => one.ok && one.event.txId).sort()).toEqual(['t0', 't2'])
    expect(JSON.parse(await readFile(figures, 'utf8'))).toMatchObject({
      events: 2,
      byStream: { transactions: 2, chargebacks: 0 },
      rejected: 2,
      stopped: false,
      lastTime: atMs + 2,
    })
  })

  test('reads a file of one stream', async () => {
    const { broker, openBroker } = await brokerWithTopics()
    const file = join(await scratchFolder(), 'transactions.jsonl')
    await writeFile(file, [transaction(0, { stream: undefined }), transaction(1, { stream: undefined })].join('\r\n'))
    const args = ['produce', path, '--source', file, '--stream', 'transactions']
    expect((await call(args, { env, openBroker })).code).toBe(0)
    expect(await valuesOf(broker.data, 'cli-test.transactions')).toHaveLength(2)
  })

  /** One transaction a minute. */
  const minutes = (count: number) =>
    Array.from({ length: count }, (_, n) => transaction(n, { at: atMs + n * 60_000 })).join('\n')

  test('by event time keeps to the clock and shows where it is', async () => {
    const { openBroker } = await brokerWithTopics()
    const args = ['produce', path, '--source', 'stdin', '--speed', '3600']
    const clock = createVirtualClock(0)
    const { code, out, err } = await call(args, { env, openBroker, clock, stdin: minutes(121) })
    expect(code).toBe(0)
    expect(out[0]).toMatch(
      /^Sent 121 events in 2\.0 s \(6[01]\/s\), event time 2018-04-01T00:00:00\.000Z to 2018-04-01T02:00:00\.000Z\.$/,
    )
    expect(err).toHaveLength(2)
    expect(err[0]).toMatch(/^6\d events, 6\d\/s, event time 2018-04-01T0[01]:\d\d:00\.000Z$/)
  })

  test('a signal ends it between two chunks, with what was sent so far', async () => {
    const { broker, openBroker } = await brokerWithTopics()
    const clock = createVirtualClock(0)
    const args = ['produce', path, '--source', 'stdin', '--rate', '100']
    let lines = 0
    const onLine = (line: string, process: NodeJS.EventEmitter) => {
      if (line.includes(' events, ') && ++lines === 3) process.emit('SIGTERM')
    }
    const { code, out } = await call(args, { env, openBroker, clock, onLine, stdin: minutes(1_000) })
    expect(code).toBe(0)
    expect(out[0]).toMatch(/^Stopped after 30\d events in 3\.\d s/)
    expect(await valuesOf(broker.data, 'cli-test.transactions')).toHaveLength(Number(/(\d+) events/.exec(out[0]!)![1]))
  })
})

const prediction: Prediction = {
  id: 't1',
  time: atMs,
  score: 0.12345,
  modelVersion: 'v3',
  features: plan.features.map((_, i) => (i === 2 ? Number.NaN : i / 3)),
  fingerprint: plan.fingerprint,
  origin: { partition: 0, offset: 7 },
  positions: [],
  reasons: [
    { feature: 'night', contribution: 2 },
    { feature: 'amount', contribution: -1 },
  ],
  shadow: [],
}

describe('tail', () => {
  test('prints predictions: the features that mattered, or the first where there is no model', async () => {
    const { broker, openBroker } = await brokerWithTopics()
    const plain = { ...prediction, id: 't2', score: null, modelVersion: null, reasons: [] }
    await send(broker, plan.predictions.topic, [prediction, plain, plain].map(plan.predictions.codec.encode))
    const args = ['tail', path, 'predictions', '--from', 'start', '--count', '2']
    expect(await call(args, { env, openBroker })).toEqual({
      code: 0,
      err: [],
      out: [
        't1  2018-04-01T00:00:00.000Z  score 0.1235  v3  night=missing  amount=0',
        't2  2018-04-01T00:00:00.000Z  no score  no model  amount=0  weekend=0.333333  night=missing',
      ],
    })
    const { out } = await call([...args, '--json'], { env, openBroker })
    expect(JSON.parse(out[0]!)).toMatchObject({
      id: 't1',
      score: 0.12345,
      features: { amount: 0, weekend: 1 / 3, night: null },
      origin: { partition: 0, offset: 7 },
    })
  })

  test('prints dead letters with their location and problems; bytes as text where they are text', async () => {
    const { broker, openBroker } = await brokerWithTopics()
    const rejection: DeadLetter = {
      stage: 'customer',
      topic: 'cli-test.transactions',
      partition: 1,
      offset: 17,
      appendedAtMs: atMs,
      key: Buffer.from('ü'),
      value: Buffer.from([0xff, 0x00]),
      keyBytes: 2,
      valueBytes: 2,
      headers: {},
      attempt: 0,
      problems: [
        { path: '/amount', code: 'range', expected: 'a finite number >= 0', received: '-1' },
        { path: '', code: 'late', expected: 'an event', received: 'another' },
      ],
    }
    await send(broker, plan.rejected.topic, [plan.rejected.codec.encode(rejection)])
    const args = ['tail', path, 'rejected', '--from', 'start', '--count', '1']
    expect((await call(args, { env, openBroker })).out).toEqual([
      'cli-test.transactions-1@17  customer  /amount range: expected a finite number >= 0, received -1; ' +
        'late: expected an event, received another',
    ])
    const { out } = await call([...args, '--json'], { env, openBroker })
    expect(JSON.parse(out[0]!)).toMatchObject({ key: 'ü', value: { base64: '/wA=' }, offset: 17 })
  })

  test('from the end waits for what comes, until it is stopped', async () => {
    const { broker, openBroker } = await brokerWithTopics()
    const encode = plan.predictions.codec.encode
    await send(broker, plan.predictions.topic, [encode({ ...prediction, id: 'old' })])
    let isSent = false
    const late: Broker = {
      ...broker,
      data: {
        ...broker.data,
        fetcher: async () => {
          if (!isSent) await send(broker, plan.predictions.topic, [encode({ ...prediction, id: 'new' })])
          isSent = true
          return broker.data.fetcher()
        },
      },
    }
    const { code, out, err } = await call(['tail', path, 'predictions'], {
      env,
      openBroker: () => late,
      onLine: (line, process) => {
        if (line.startsWith('new')) process.emit('SIGINT')
      },
    })
    expect([code, out.length, err]).toEqual([0, 1, ['Stopping. A second signal stops immediately.']])
    expect(openBroker()).toBe(broker)
  })

  test('a record that cannot be decoded ends it', async () => {
    const { broker, openBroker } = await brokerWithTopics()
    await send(broker, plan.models.topic, [Buffer.from('junk')])
    const { code, err } = await call(['tail', path, 'models', '--from', 'start'], { env, openBroker })
    expect([code, err[0]?.startsWith('error: A registry record')]).toEqual([1, true])
  })
})

describe('train', () => {
  /** Frauds have large amounts, mostly: 60 mature rows and one that waits for its label. */
  async function brokerWithLog() {
    const made = await brokerWithTopics()
    const rows = Array.from({ length: 61 }, (_, n) => ({
      n,
      isFraud: n % 6 === 0,
      time: atMs + (n === 60 ? 30 : 0) * dayMs + n,
    }))
    const predictions = rows.map(({ n, isFraud, time }) =>
      plan.predictions.codec.encode({
        ...prediction,
        id: `t${n}`,
        time,
        features: plan.features.map((_, i) => (i === 0 ? (isFraud ? 200 : 20) + ((n * 7) % 190) : 0)),
      }),
    )
    const chargebacks = plan.streams[plan.label.stream]!
    const labels = rows
      .filter(({ isFraud }) => isFraud)
      .map(({ n, time }) =>
        chargebacks.codec.encode({
          txId: `t${n}`,
          customerId: 'c',
          terminalId: 'm',
          txAt: time,
          reportedAt: time + dayMs,
        }),
      )
    await send(made.broker, plan.predictions.topic, predictions)
    await send(made.broker, chargebacks.topic, labels)
    return made
  }

  test('makes the first champion, writes it to a file and prints what it learnt from', async () => {
    const { broker, openBroker } = await brokerWithLog()
    const folder = await scratchFolder()
    const [model, figures] = [join(folder, 'model.json'), join(folder, 'figures.json')]
    const { code, out, err } = await call(['train', path, '--out', model, '--json', figures], {
      env,
      openBroker,
    })
    expect(code, err.join('\n')).toBe(0)
    expect(out[0]).toBe('Model v1 is the champion now, the first one.')
    expect(out[1]).toMatch(/^ {2}rows: 60, 10 of them positive; 20 epochs of 1 steps on wasm in \d+\.\d s$/)
    expect(out[2]).toBe(
      '  waiting for their label: 1 (due 7d after the event; both streams have passed 2018-05-01T00:00:00.060Z)',
    )
    expect(out.at(-1)).toBe(`  model written to ${model}`)
    const read: ModelVersion = modelFromJson(await readFile(model, 'utf8'), model)
    expect([read.version, read.fingerprint]).toEqual(['v1', plan.fingerprint])
    expect(JSON.parse(await readFile(figures, 'utf8'))).toMatchObject({
      version: 'v1',
      promoted: true,
      rows: 60,
      positives: 10,
    })
    expect(await valuesOf(broker.data, plan.models.topic)).toHaveLength(2)

    const again = await call(['train', path], { env, openBroker })
    expect(again.out[0]).toBe('Model v2 is the champion now, instead of v1.')
    const { out: models } = await call(['tail', path, 'models', '--from', 'start', '--count', '4'], {
      env,
      openBroker,
    })
    expect(models.map((line) => line.split('  ').slice(1, 2)[0])).toEqual([
      'v1',
      'champion: none -> v1',
      'v2',
      'champion: v1 -> v2',
    ])
  })

  test('without labels reports what is there', async () => {
    const { openBroker } = await brokerWithTopics()
    const { code, err } = await call(['train', path], { env, openBroker })
    expect(code).toBe(1)
    expect(err.at(-2)).toMatch(/^error: A multilayer perceptron needs labelled rows of both classes, but got 0 rows/)
    expect(err.at(-1)).toBe('Wait until labels have matured, or see the counts in the message.')
  })
})
