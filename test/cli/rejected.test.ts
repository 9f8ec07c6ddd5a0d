/** `millrace rejected`: dead letters listed, shown and requeued, on the broker in memory. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ensureTopics } from '../../cli/topics/requirements.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import type { Broker, BrokerData, LogRecord } from '../../runtime/broker.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { partitionOf } from '../../runtime/partition.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { deadLetterOf, type RejectedRecord } from '../../schemas/wire/dead-letter.ts'
import { createVirtualClock } from '../../testing/virtual-clock.ts'
import { call, scratchFolder } from './call.ts'

const path = 'pipelines/card-fraud.ts'
const plan = compile(cardFraud)
const atMs = Date.UTC(2018, 3, 1)
const values = { txId: 't1', customerId: 'c1', terminalId: 'm', amount: 5, at: atMs }
const home = partitionOf(Buffer.from('c1'), 2)
const late = { path: '/at', code: 'late', expected: 'a later one', received: '2018-04-01' } as const

function refused(more: Partial<RejectedRecord> = {}): RejectedRecord {
  const option = { topic: 'transactions', partition: 1 - home, offset: 0, appendedAtMs: atMs }
  return { ...option, key: null, value: Buffer.from(JSON.stringify(values)), headers: {}, problems: [late], ...more }
}

async function opened(deadLetters: ReadonlyArray<readonly [stage: string, RejectedRecord]>) {
  const clock = createVirtualClock(atMs + 60_000)
  const broker = createMemoryBroker({ clock })
  // A raw topic that takes more than one of a stock Kafka.
  const config = { 'message.timestamp.type': 'LogAppendTime', 'retention.ms': '-1', 'max.message.bytes': '2000000' }
  await broker.admin.ensureTopics([{ topic: plan.scored.topic, partitions: 2, config }])
  await ensureTopics(broker.admin, plan, 2)
  const producer = await broker.data.producer()
  for (const [stage, record] of deadLetters) {
    const value = plan.rejected.codec.encode(deadLetterOf(stage, record))
    await producer.send([{ topic: plan.rejected.topic, partition: 0, key: null, value }])
    await clock.sleep(1_000)
  }
  const kept: Broker = { ...broker, close: async () => undefined }
  const rejected = (...args: string[]) => call(['rejected', ...args], { openBroker: () => kept, clock })
  return { broker, producer, rejected }
}

async function rawRecords(broker: BrokerData): Promise<LogRecord[][]> {
  const fetcher = await broker.fetcher()
  const from = [0, 1].map((partition) => ({ topic: 'transactions', partition, offset: 0 }))
  const fetched = await fetcher.fetch(from, { maxWaitMs: 0, partitionBytesMax: 1e9 })
  await fetcher.close()
  return fetched.map(({ records }) => [...records])
}

describe('list', () => {
  const three = [
    ['customer', refused({ offset: 4 })],
    ['terminal', refused({ topic: 'chargebacks', problems: [{ ...late, code: 'range' }] })],
    ['http', refused({ partition: -1, offset: -1, problems: [{ ...late, code: 'range', received: 'x'.repeat(900) }] })],
  ] as const

  test('is newest first, with the reasons counted', async () => {
    const { rejected } = await opened(three)
    const { code, out } = await rejected('list', path, '--count', '2')
    expect(code).toBe(0)
    expect(out).toEqual([
      'location  appended                  origin           stage     tried  code   first problem',
      expect.stringMatching(
        /^0:2 {7}2018-04-01T00:01:02\.000Z {2}transactions {5}http {6}0 {6}range {2}\/at expected .{60,90}…$/,
      ),
      `0:1       2018-04-01T00:01:01.000Z  chargebacks-${1 - home}@0  ` +
        'terminal  0      range  /at expected a later one, received 2018-04-01',
      '3 dead letters, 2 of them shown: 2 range, 1 late.',
    ])
  })

  test.each([
    [['--code', 'late'], ['0:0']],
    [
      ['--stream', 'transactions', '--from', 'start'],
      ['0:0', '0:2'],
    ],
    [['--stage', 'http'], ['0:2']],
    [['--since', '2018-04-01T00:01:01Z', '--until', '2018-04-01T00:01:02Z'], ['0:1']],
  ])('takes %j', async (args, locations) => {
    const { rejected } = await opened(three)
    const { out } = await rejected('list', path, '--json', ...args)
    expect(out.map((line) => JSON.parse(line).location)).toEqual(locations)
  })

  test('of nothing reports it', async () => {
    const { rejected } = await opened([])
    expect((await rejected('list', path)).out).toEqual(['0 dead letters.'])
  })

  test('of a stream that is none', async () => {
    const { rejected } = await opened([])
    const { code, err } = await rejected('list', path, '--stream', 'orders')
    expect([code, err[0]]).toEqual([
      2,
      'error: card-fraud has no stream orders: type one of transactions, chargebacks.',
    ])
  })
})

describe('show', () => {
  test('prints everything, the event as JSON in any encoding', async () => {
    const avro = plan.scored.codec.encode(values)
    const { rejected } = await opened([
      ['customer', refused({ key: Buffer.from([0xff]), headers: { trace: Buffer.from('t1') } })],
      ['terminal', refused({ value: avro })],
      ['customer', refused({ value: Buffer.from('nonsense\n') })],
    ])
    expect((await rejected('show', path, '0:0')).out).toEqual([
      'dead letter 0:0 of card-fraud.rejected, written 2018-04-01T00:01:00.000Z',
      `  origin: transactions-${1 - home}@0, 2018-04-01T00:00:00.000Z`,
      '  rejected by: customer',
      'problems:',
      '  /at late: expected a later one, received 2018-04-01',
      'key: 0xff',
      'header trace: "t1"',
      'value: 78 bytes',
      ...JSON.stringify(values, null, 2)
        .split('\n')
        .map((line) => `  ${line}`),
    ])
    expect(JSON.parse((await rejected('show', path, '0:1', '--json')).out[0]!).event).toEqual(values)
    expect((await rejected('show', path, '0:2')).out.at(-1)).toBe(
      '  000000  6e 6f 6e 73 65 6e 73 65 0a                       nonsense.',
    )
  })

  test('of a location without a dead letter', async () => {
    const { rejected } = await opened([])
    const { code, err } = await rejected('show', path, '1:7')
    expect([code, err[0]]).toEqual([
      2,
      'error: There is no dead letter at 1:7 in card-fraud.rejected; millrace rejected list shows the locations.',
    ])
    expect((await rejected('show', path, 'seven')).err[0]).toContain('Expected partition:offset, such as 0:17.')
  })
})

describe('replay', () => {
  test('puts the bytes where their key belongs, with the headers that name stage and attempt', async () => {
    const figures = join(await scratchFolder(), 'figures.json')
    const headers = { trace: Buffer.from('t'), 'millrace-attempt': Buffer.from('2') }
    const { broker, rejected } = await opened([
      ['terminal', refused({ headers })],
      ['customer', refused({ value: Buffer.from('{}') })],
    ])
    const { code, out } = await rejected('replay', path, '--all', '--json', figures)
    expect(code).toBe(1)
    expect(out).toEqual([
      `0:0  sent to transactions-${home}  t1, attempt 3`,
      expect.stringMatching(/^0:1 {2}rejected {2}missing: \/txId expected text .* received nothing \(and 4 more\)$/),
      '1 requeued, 1 rejected: 1 missing.',
    ])
    expect(JSON.parse(await readFile(figures, 'utf8'))).toEqual({
      replayed: 1,
      refused: 1,
      rejectedByCode: { missing: 1 },
      dryRun: false,
    })
    const raw = (await rawRecords(broker.data))[home]!
    expect(raw.map(({ key, value, headers }) => [key?.toString(), value?.toString(), headers])).toEqual([
      [
        'c1',
        JSON.stringify(values),
        {
          trace: Buffer.from('t'),
          'millrace-rejected-by': Buffer.from('terminal'),
          'millrace-attempt': Buffer.from('3'),
        },
      ],
    ])
  })

  test('with --dry-run sends nothing', async () => {
    const { broker, rejected } = await opened([['customer', refused()]])
    const { code, out } = await rejected('replay', path, '--code', 'late', '--dry-run')
    expect([code, out.at(-1)]).toEqual([0, '1 would be requeued, 0 rejected.'])
    expect((await rawRecords(broker.data)).flat()).toEqual([])
  })

  test('with --value sends repaired bytes; not with another id, time or key than earlier stages have folded', async () => {
    const file = join(await scratchFolder(), 'repaired.json')
    const { broker, rejected } = await opened([
      ['customer', refused({ value: Buffer.from('nonsense') })],
      ['terminal', refused()],
    ])
    await writeFile(file, JSON.stringify({ ...values, terminalId: 'other' }))
    expect((await rejected('replay', path, '0:0', '--value', file)).code).toBe(0)
    expect((await rawRecords(broker.data))[home]).toHaveLength(1)
    const { code, out } = await rejected('replay', path, '0:1', '--value', file)
    expect([code, out[0]]).toEqual([
      1,
      '0:1  rejected  identity_changed: /terminalId expected "m", since earlier stages have folded the event, received "other"',
    ])
  })

  test('of a value that the dead letter holds in part is completed from the original record, or requires --value', async () => {
    const whole = Buffer.from(`${JSON.stringify(values)}${' '.repeat(1_100_000)}`)
    const { broker, producer, rejected } = await opened([['customer', refused({ value: whole })]])
    const gone = await rejected('replay', path, '0:0')
    expect(gone.out[0]).toBe(
      '0:0  rejected  value_cut: the dead letter holds only a part of the value; supply it with --value',
    )
    expect((await rejected('show', path, '0:0')).out).toContain(
      'value: 1,100,078 bytes, of which the dead letter holds 1,048,576; the rest is in the original record while that is retained',
    )
    await producer.send([{ topic: 'transactions', partition: 1 - home, key: null, value: whole }])
    expect((await rejected('replay', path, '0:0')).code).toBe(0)
    expect((await rawRecords(broker.data))[home]![0]!.value!.equals(whole)).toBe(true)
  })

  test('requires the dead letters to be named', async () => {
    const { rejected } = await opened([])
    const unclear = 'error: Name the dead letters: locations such as 0:17, or filters such as --code late, or --all.'
    expect((await rejected('replay', path)).err[0]).toBe(unclear)
    expect((await rejected('replay', path, '0:1', '--all')).err[0]).toBe(unclear)
    expect((await rejected('replay', path, '0:1', '0:2', '--value', 'x')).err[0]).toBe(
      'error: --value needs exactly one location, received 2.',
    )
  })
})

test('a dead letter is never larger than its topic takes, for any rejected record', () => {
  const large = Buffer.alloc(3_000_000, 0x61)
  const text = '\u{1f600}'.repeat(10_000)
  const problem = { path: text, code: 'type', expected: text, received: text } as const
  const headers = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`h${i}`, Buffer.alloc(1_000)]))
  const deadLetter = deadLetterOf('customer', {
    ...refused(),
    key: large,
    value: large,
    headers,
    problems: new Array(5_000).fill(problem),
  })
  const bytes = plan.rejected.codec.encode(deadLetter).length + deadLetter.key!.length
  expect(bytes).toBeLessThan(2_097_152 - 1_000)
  expect(deadLetter).toMatchObject({ keyBytes: 3_000_000, valueBytes: 3_000_000 })
  expect(deadLetter.problems.every(({ received }) => received.isWellFormed())).toBe(true)
})
