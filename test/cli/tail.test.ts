/** The filters of `tail`, and raw events: on the broker in memory. */
import { setTimeout } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { ensureTopics } from '../../cli/topics/requirements.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import type { Broker, OutRecord } from '../../runtime/broker.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { DeadLetter, Prediction, RegistryRecord } from '../../schemas/wire/records.ts'
import { createVirtualClock } from '../../testing/virtual-clock.ts'
import { call } from './call.ts'

const path = 'pipelines/card-fraud.ts'
const plan = compile(cardFraud)
const startMs = Date.UTC(2024, 0, 1)
const amountAt = plan.features.findIndex(({ name }) => name === 'amount')
const nightAt = plan.features.findIndex(({ name }) => name === 'night')

async function setUp() {
  const clock = createVirtualClock(startMs)
  const broker = createMemoryBroker({ clock })
  await ensureTopics(broker.admin, plan, 2)
  const producer = await broker.data.producer()
  const kept: Broker = { ...broker, close: async () => undefined }
  const send = (topic: string, values: ReadonlyArray<{ value: Buffer | null; key?: string; partition?: number }>) =>
    producer.send(
      values.map(
        ({ value, key, partition = 0 }): OutRecord => ({ topic, partition, key: key ? Buffer.from(key) : null, value }),
      ),
    )
  /** Everything that is there now. */
  const tail = async (topic: string, ...more: string[]) => {
    const until = new Date(clock.nowMs() + 1).toISOString()
    const args = ['tail', path, topic, '--until', until, ...more]
    if (!more.includes('--since') && !more.includes('--from')) args.push('--from', 'start')
    return call(args, { openBroker: () => kept, clock })
  }
  const tailOf = (...args: string[]) => call(['tail', path, ...args], { openBroker: () => kept, clock })
  return { clock, send, tail, tailOf }
}

/** The first words of the lines. */
const firsts = ({ out }: { readonly out: readonly string[] }) => out.map((line) => line.split('  ')[0])

describe('predictions', () => {
  function prediction(id: string, score: number | null, amount: number, night = 0): Prediction {
    const features = plan.features.map((_, i) => (i === amountAt ? amount : i === nightAt ? night : Number.NaN))
    const modelVersion = score === null ? null : id === 'd' ? 'v2' : 'v1'
    const origin = { partition: 0, offset: 0 }
    const { fingerprint } = plan
    return {
      id,
      time: startMs,
      score,
      modelVersion,
      features,
      fingerprint,
      origin,
      positions: [],
      reasons: [],
      shadow: [],
    }
  }
  async function withPredictions() {
    const subject = await setUp()
    const { topic, codec } = plan.predictions
    const list = [
      prediction('a', 0.1, 10),
      prediction('b', null, 200),
      prediction('c', 0.5, 100, 1),
      prediction('d', 0.9, 50),
    ]
    await subject.send(
      topic,
      list.map((one, i) => ({ value: codec.encode(one), key: `key ${one.id}`, partition: i % 2 })),
    )
    return subject
  }

  test.each([
    [[], 'abcd'],
    [['--id', 'c'], 'c'],
    [['--key', 'key b'], 'b'],
    [['--min-score', '0.5'], 'cd'],
    [['--max-score', '0.5'], 'ac'],
    [['--min-score', '0.2', '--max-score', '0.6'], 'c'],
    [['--model', 'v2'], 'd'],
    [['--where', 'amount>=100'], 'bc'],
    [['--where', 'amount >= 100', '--where', 'night=1'], 'c'],
    [['--where', 'amount!=100'], 'abd'],
    [['--where', 'amount<5e1'], 'a'],
    [['--where', 'amount<=50', '--min-score', '0.2'], 'd'],
    // Nothing is true of what is missing.
    [['--where', 'weekend!=7'], ''],
  ])('%j shows %s', async (more, expected) => {
    const { tail } = await withPredictions()
    const called = await tail('predictions', ...more)
    expect([called.code, firsts(called).sort().join('')]).toEqual([0, expected])
  })

  test('count counts what is shown', async () => {
    const { tail } = await withPredictions()
    expect(firsts(await tail('predictions', '--where', 'amount>=50', '--count', '2'))).toHaveLength(2)
  })

  test('count ends when there is no more, but waits for new ones from the end', async () => {
    const { send, clock, tailOf } = await withPredictions()
    const { topic, codec } = plan.predictions
    const asked = ['predictions', '--count', '9']
    expect(firsts(await tailOf(...asked, '--from', 'start')).sort()).toEqual(['a', 'b', 'c', 'd'])
    expect(firsts(await tailOf(...asked, '--since', '2023-01-01', '--where', 'amount>=100')).sort()).toEqual(['b', 'c'])
    expect(firsts(await tailOf('predictions', '--since', '2030-01-01', '--count', '1'))).toEqual([])
    let isWaiting = true
    const waiting = tailOf('predictions', '--count', '1').finally(() => {
      isWaiting = false
    })
    // Loading the definition takes time of the day, which the virtual clock does not know: what is sent before it is not from the end.
    while (isWaiting) {
      await send(topic, [{ value: codec.encode(prediction('new', 0.3, 1)), key: 'k' }])
      await clock.sleep(1_000)
      await setTimeout(5)
    }
    expect(firsts(await waiting)).toEqual(['new'])
  })

  test('applies to JSON', async () => {
    const { tail } = await withPredictions()
    const { out } = await tail('predictions', '--json', '--id', 'c')
    expect(out.map((line) => (JSON.parse(line) as Prediction).score)).toEqual([0.5])
  })
})

describe('dead letters', () => {
  test('by reason, stream, stage and key', async () => {
    const { send, tail } = await setUp()
    const { topic, codec } = plan.rejected
    const rejection = (offset: number, more: Partial<DeadLetter>): DeadLetter => ({
      stage: 'customer',
      topic: 'transactions',
      partition: 0,
      offset,
      appendedAtMs: startMs,
      key: Buffer.from('k'),
      value: null,
      keyBytes: null,
      valueBytes: null,
      headers: {},
      attempt: 0,
      problems: [{ path: '', code: 'late', expected: 'e', received: 'r' }],
      ...more,
    })
    const range = { path: '/amount', code: 'range', expected: 'e', received: 'r' } as const
    const list = [
      rejection(0, {}),
      rejection(1, { topic: 'chargebacks', key: Buffer.from('other') }),
      rejection(2, { stage: 'terminal', problems: [range] }),
    ]
    await send(
      topic,
      list.map((one) => ({ value: codec.encode(one) })),
    )
    const shown = async (...more: string[]) => firsts(await tail('rejected', ...more))
    expect(await shown()).toEqual(['transactions-0@0', 'chargebacks-0@1', 'transactions-0@2'])
    expect(await shown('--code', 'range')).toEqual(['transactions-0@2'])
    expect(await shown('--stream', 'chargebacks')).toEqual(['chargebacks-0@1'])
    expect(await shown('--stage', 'customer')).toEqual(['transactions-0@0', 'chargebacks-0@1'])
    expect(await shown('--key', 'k', '--code', 'late')).toEqual(['transactions-0@0'])
  })
})

test('models by version', async () => {
  const { send, tail } = await setUp()
  const { topic, codec } = plan.models
  const alias = (version: string): RegistryRecord => {
    return {
      kind: 'alias',
      alias: 'champion',
      version,
      previous: null,
      changedAtMs: startMs,
      by: 'b',
      reason: 'r',
      action: 'set',
    }
  }
  await send(
    topic,
    ['v1', 'v2'].map((version) => ({ value: codec.encode(alias(version)) })),
  )
  expect((await tail('models', '--model', 'v2')).out).toEqual([
    '2024-01-01T00:00:00.000Z  champion: none -> v2  by b: r',
  ])
})

describe('a stream', () => {
  const event = (txId: string, amount: number) => {
    return { txId, customerId: 'c1', terminalId: 't1', amount, at: startMs }
  }
  async function withEvents() {
    const subject = await setUp()
    await subject.send('transactions', [
      { value: plan.scored.codec.encode(event('a', 10)), key: 'c1' },
      { value: Buffer.from(JSON.stringify({ ...event('b', 99.5), at: '2024-01-01T00:00:00Z' })), key: 'c2' },
      { value: Buffer.from('nonsense'), key: 'c1' },
    ])
    return subject
  }

  test('prints its events in any encoding, and what is no event', async () => {
    const { tail } = await withEvents()
    const lines = await tail('transactions')
    expect(lines.out).toEqual([
      'a  2024-01-01T00:00:00.000Z  customerId=c1  terminalId=t1  amount=10',
      'b  2024-01-01T00:00:00.000Z  customerId=c1  terminalId=t1  amount=99.5',
      expect.stringMatching(
        /^@2 {2}no valid event: not_json: expected a JSON object in UTF-8, an Avro single object or the Confluent wire format, received /,
      ),
    ])
    const { out } = await tail('transactions', '--json')
    expect(JSON.parse(out[0]!)).toEqual({
      offset: 0,
      appendedAtMs: startMs,
      key: 'c1',
      ok: true,
      event: event('a', 10),
    })
    expect(JSON.parse(out[2]!)).toMatchObject({ offset: 2, ok: false, problems: [{ code: 'not_json' }] })
  })

  test('by id, key and number field', async () => {
    const { tail } = await withEvents()
    expect(firsts(await tail('transactions', '--id', 'b'))).toEqual(['b'])
    expect(firsts(await tail('transactions', '--key', 'c1'))).toEqual(['a', '@2'])
    expect(firsts(await tail('transactions', '--where', 'amount>10'))).toEqual(['b'])
  })
})

test('since and until use the append time of a record', async () => {
  const { clock, send, tail } = await setUp()
  const alias = (version: string): RegistryRecord => {
    return {
      kind: 'alias',
      alias: 'champion',
      version,
      previous: null,
      changedAtMs: startMs,
      by: 'b',
      reason: 'r',
      action: 'set',
    }
  }
  for (const version of ['v1', 'v2', 'v3']) {
    await send(plan.models.topic, [{ value: plan.models.codec.encode(alias(version)) }])
    await clock.sleep(60_000)
  }
  const versions = async (...more: string[]) =>
    (await tail('models', ...more)).out.map((line) => /-> (v\d)/.exec(line)![1])
  expect(await versions()).toEqual(['v1', 'v2', 'v3'])
  expect(await versions('--since', '2024-01-01T00:01:00Z')).toEqual(['v2', 'v3'])
  expect(await versions('--since', '2024-01-01T00:00:30Z', '--until', '2024-01-01T00:02:00Z')).toEqual(['v2'])
  expect(await versions('--until', '2024-01-01T00:01:00Z')).toEqual(['v1'])
  expect(await versions('--since', '2025-01-01')).toEqual([])
})

describe('wrong usage', () => {
  test.each([
    [
      ['scores'],
      'card-fraud has no topic scores: type predictions, rejected, models, or a stream: transactions, chargebacks.',
    ],
    [['predictions', '--code', 'late'], '--code applies to rejected, not to predictions.'],
    [['models', '--key', 'k'], '--key applies to predictions or rejected or a stream, not to models.'],
    [['rejected', '--min-score', '1'], '--min-score applies to predictions, not to rejected.'],
    [['transactions', '--stage', 'customer'], '--stage applies to rejected, not to a stream.'],
    [
      ['predictions', '--where', 'amout>1'],
      '--where: feature amout is not known to this definition; the nearest is amount.',
    ],
    [
      ['transactions', '--where', 'txId=1'],
      '--where: number field txId is not known to this definition; the nearest is amount.',
    ],
    [['rejected', '--stream', 'payments'], /^--stream payments is not known to this definition; the nearest is /],
    [['rejected', '--stage', 'shop'], /^--stage shop is not known to this definition; the nearest is /],
  ])('%j', async (args, message) => {
    const { tail } = await setUp()
    const { code, out, err } = await tail(args[0]!, ...args.slice(1))
    expect([code, out]).toEqual([2, []])
    expect(err[0]!.slice('error: '.length)).toEqual(
      typeof message === 'string' ? message : expect.stringMatching(message),
    )
  })

  test.each([
    [
      ['--where', 'amount > much'],
      "error: option '--where <condition>' argument 'amount > much' is invalid. Expected a name,",
    ],
    [['--where', 'amount'], "error: option '--where <condition>' argument 'amount' is invalid."],
    [['--min-score', 'high'], "error: option '--min-score <score>' argument 'high' is invalid. Expected a number."],
    [
      ['--code', 'odd'],
      "error: option '--code <code>' argument 'odd' is invalid. Allowed choices are empty, not_json,",
    ],
    [
      ['--since', '2024-01-01', '--from', 'start'],
      "error: option '--since <instant>' cannot be used with option '--from <end>'",
    ],
  ])('%j', async (args, message) => {
    const { code, err } = await call(['tail', path, 'predictions', ...args])
    expect([code, err[0]!.slice(0, message.length)]).toEqual([2, message])
  })
})
