import { describe, expect, test } from 'vitest'
import { batchEventsMax, type IntakeOptions } from '../../producers/intake.ts'
import { eventBytesMax } from '../../producers/take-events.ts'
import type { OutRecord } from '../../runtime/broker.ts'
import { partitionOf } from '../../runtime/partition.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { fingerprintBytes } from '../../schemas/wire/avro-fingerprint.ts'
import { avroType } from '../../schemas/wire/avro-types.ts'
import { nowMs, openIntake, partitionCount, plan, transaction } from './intake-fixture.ts'

const acceptedAs = (n: number) => ({
  status: 'accepted',
  stream: 'transactions',
  id: `t${n}`,
  partition: partitionOf(Buffer.from(`c${n}`), partitionCount),
})
const bytesOf = (value: unknown) =>
  Buffer.isBuffer(value) ? value : Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))

describe('events', () => {
  test('one in JSON is in its raw topic when the answer comes, as Avro, under its key', async () => {
    const { post, recordsOf, accepted } = await openIntake()
    const { status, body } = await post(transaction(1, { at: '2024-01-01T01:00:00+01:00', extra: true }))
    expect([status, body]).toEqual([200, { accepted: 1, rejected: 0, results: [acceptedAs(1)] }])
    const [record] = await recordsOf('transactions')
    expect(record).toMatchObject({ partition: acceptedAs(1).partition, key: Buffer.from('c1') })
    expect(record!.value!.subarray(0, 2).toString('hex')).toBe('c301')
    expect(await accepted()).toEqual([transaction(1)])
  })

  test.each([
    ['a JSON array', 'application/json', ` [${[1, 2, 3].map((n) => JSON.stringify(transaction(n))).join(' ,\n')}]\n`],
    ['lines', 'application/x-ndjson', [1, 2, 3].map((n) => JSON.stringify(transaction(n))).join('\r\n\n')],
    [
      'lines with a byte order mark',
      'application/x-ndjson; charset=utf-8',
      `\ufeff${[1, 2, 3].map((n) => JSON.stringify(transaction(n))).join('\n')}\n`,
    ],
  ])('several in %s are answered in their order', async (_, type, body) => {
    const { post, accepted } = await openIntake()
    const answer = await post(body, type)
    expect([answer.status, answer.body]).toEqual([
      200,
      { accepted: 3, rejected: 0, results: [acceptedAs(1), acceptedAs(2), acceptedAs(3)] },
    ])
    expect((await accepted()).map(({ txId }) => txId).sort()).toEqual(['t1', 't2', 't3'])
  })

  test.each(['application/avro', 'application/octet-stream'])('one in Avro as %s', async (type) => {
    const { post, accepted } = await openIntake()
    const { status } = await post(plan.scored.codec.encode(transaction(7)), type)
    expect([status, await accepted()]).toEqual([200, [transaction(7)]])
  })

  test('of every stream have a path', async () => {
    const { post, recordsOf } = await openIntake()
    const chargeback = {
      txId: 't1',
      customerId: 'c1',
      terminalId: 'm',
      txAt: 1_700_000_000_000,
      reportedAt: 1_700_000_000_001,
    }
    expect((await post(chargeback, undefined, 'chargebacks')).status).toBe(200)
    expect((await recordsOf('chargebacks')).length).toBe(1)
    const unknown = await post(chargeback, undefined, 'refunds')
    expect([unknown.status, unknown.body.error.code]).toEqual([404, 'not_found'])
    expect(unknown.body.error.routes).toEqual(['POST /streams/chargebacks/events', 'POST /streams/transactions/events'])
  })
})

describe('bad events', () => {
  test.each(['application/avro', 'application/octet-stream'])(
    'that name an internal schema, with a block that never ends, are refused as %s',
    async (type) => {
      const { post, recordsOf, deadLetters } = await openIntake()
      const internal = plan.stages[1]!.repartitionIn!.codec.schemas.get('terminal_mark')!
      const named = fingerprintBytes(avroType(internal))
      const body = Buffer.concat([Buffer.from('c301', 'hex'), named, Buffer.from('0103', 'hex')])
      const answer = await post(body, type)
      expect(answer.status).toBe(422)
      expect(answer.body).toMatchObject({ accepted: 0, rejected: 1 })
      expect(answer.body.results).toMatchObject([{ status: 'rejected', problems: [{ code: 'schema_incompatible' }] }])
      expect(await recordsOf('transactions')).toEqual([])
      expect(await deadLetters()).toMatchObject([{ value: body, problems: [{ code: 'schema_incompatible' }] }])
    },
  )

  test('among good ones are reported and are dead letters with their own bytes', async () => {
    const { post, accepted, deadLetters } = await openIntake()
    const bad = '{"txId":"t2" , "customerId":"c2","terminalId":"m","amount":-1,"at":"yesterday"}'
    const { status, body } = await post(
      `[${JSON.stringify(transaction(1))}, ${bad} ,${JSON.stringify(transaction(3))}]`,
    )
    expect(status).toBe(207)
    const problems = [
      { path: '/amount', code: 'range', expected: 'a finite number >= 0 with at most 2 decimals', received: '-1' },
      {
        path: '/at',
        code: 'type',
        expected: 'an RFC 3339 instant with zone or whole milliseconds since 1970, from 1973-01-01 to 2199-12-31',
        received: '"yesterday"',
      },
    ]
    expect(body).toEqual({
      accepted: 2,
      rejected: 1,
      results: [acceptedAs(1), { status: 'rejected', problems }, acceptedAs(3)],
    })
    expect((await accepted()).map(({ txId }) => txId).sort()).toEqual(['t1', 't3'])
    expect(await deadLetters()).toEqual([
      {
        stage: 'http',
        topic: 'transactions',
        partition: -1,
        offset: -1,
        appendedAtMs: nowMs,
        key: null,
        keyBytes: null,
        value: Buffer.from(bad),
        valueBytes: bad.length,
        headers: {},
        attempt: 0,
        problems,
      },
    ])
  })

  const whole = 'a JSON object in UTF-8, an Avro single object or the Confluent wire format'

  const noNumber = 'JSON has neither NaN nor Infinity: null or no field stands for no value'
  const withAmount = (text: string) => JSON.stringify(transaction(1, { amount: '@' })).replace('"@"', () => text)
  test.each([
    ['no JSON', 'hello', ['', 'not_json', whole]],
    ['NaN', withAmount('NaN'), ['', 'not_json', `${whole}; ${noNumber}`]],
    ['another type', '7', ['', 'type', 'an object with the fields of the event']],
    ['no field', '{}', ['/txId', 'missing', expect.any(String)]],
    ['a number beyond all doubles', withAmount('1e999'), ['/amount', 'type', expect.any(String)]],
    ['a whole number beyond 2^53', withAmount('9007199254740993'), ['/amount', 'range', expect.any(String)]],
    [
      'nothing but depth',
      withAmount(`${'['.repeat(100_000)}${']'.repeat(100_000)}`),
      ['/amount', 'type', expect.any(String)],
    ],
    ['half a surrogate pair', JSON.stringify(transaction('\ud800')), ['/txId', 'type', expect.any(String)]],
    [
      'invalid UTF-8',
      Buffer.concat([Buffer.from('{"txId":"'), Buffer.from([0xff]), Buffer.from('"}')]),
      ['', 'not_json', whole],
    ],
    ['a field given twice', withAmount('1,"amount":2'), ['/amount', 'repeated', 'one value']],
    ['only a prototype', `{"__proto__":${JSON.stringify(transaction(1))}}`, ['/txId', 'missing', expect.any(String)]],
    ['a truncated single object', Buffer.from([0xc3, 0x01, 0]), ['', 'not_avro', expect.any(String)]],
    [
      'a list that is not closed',
      '[{"txId":"t1"}',
      ['', 'not_json', 'a JSON array of events that is closed, and nothing after it'],
    ],
    [
      'a list with something after it',
      '[{}] 1',
      ['', 'not_json', 'a JSON array of events that is closed, and nothing after it'],
    ],
  ])('%s: 422 and a dead letter of it', async (_, body, [path, code, expected]) => {
    const { post, deadLetters, accepted, errors } = await openIntake()
    const answer = await post(body)
    expect([answer.status, answer.body.accepted, answer.body.rejected]).toEqual([422, 0, 1])
    const [result] = answer.body.results
    expect(result!.status === 'rejected' && result!.problems[0]).toMatchObject({ path, code, expected })
    const [deadLetter] = await deadLetters()
    expect([deadLetter!.value, deadLetter!.problems]).toEqual([
      bytesOf(body),
      result!.status === 'rejected' && result!.problems,
    ])
    expect([await accepted(), errors]).toEqual([[], []])
  })

  test('in a list affect only themselves', async () => {
    const { post } = await openIntake()
    const good = JSON.stringify(transaction(1))
    const { status, body } = await post(`[${good},,tru,{"a":[1}},"]",${good} {},${good}]`)
    expect(status).toBe(207)
    const codes = body.results.map((result) => (result.status === 'accepted' ? result.id : result.problems[0]!.code))
    expect(codes).toEqual(['t1', 'empty', 'not_json', 'not_json', 'type', 'not_json', 't1'])
  })

  test('of great length are rejected', async () => {
    const { post, deadLetters } = await openIntake()
    const text = 'x'.repeat(eventBytesMax)
    const { status, body } = await post(transaction(1, { text }))
    const expected = `an event of at most ${eventBytesMax} bytes`
    expect(status).toBe(422)
    expect(body.results).toMatchObject([{ status: 'rejected', problems: [{ path: '', code: 'length', expected }] }])
    const [deadLetter] = await deadLetters()
    expect(deadLetter!.value).toEqual(bytesOf(transaction(1, { text })))
  })
})

describe('requests that are rejected as a whole', () => {
  const nothingTaken = async ({ accepted, deadLetters }: Awaited<ReturnType<typeof openIntake>>) =>
    expect([await accepted(), await deadLetters()]).toEqual([[], []])

  test.each([
    ['an empty list', '[ ]', 'application/json'],
    ['no line', '\n \n', 'application/x-ndjson'],
    ['nothing', '', 'application/json'],
  ])('%s', async (_, body, type) => {
    const intake = await openIntake()
    const answer = await intake.post(body, type)
    expect([answer.status, answer.body.error]).toMatchObject([
      400,
      { code: 'request_invalid', expected: 'at least one event' },
    ])
    await nothingTaken(intake)
  })

  test('without a body', async () => {
    const intake = await openIntake()
    expect((await intake.inject(undefined, {}, 'transactions')).status).toBe(400)
    await nothingTaken(intake)
  })

  test.each(['application/json', 'application/x-ndjson'])('too many events in %s', async (type) => {
    const intake = await openIntake()
    const one = JSON.stringify(transaction(1))
    const many = (count: number) =>
      type === 'application/json' ? `[${Array(count).fill(one).join(',')}]` : Array(count).fill(one).join('\n')
    const answer = await intake.post(many(batchEventsMax + 1), type)
    expect([answer.status, answer.body]).toEqual([
      413,
      {
        error: {
          code: 'too_large',
          message: 'A request holds at most 1000 events and 1048576 bytes; nothing of this one was taken.',
        },
      },
    ])
    await nothingTaken(intake)
    expect((await intake.post(many(batchEventsMax), type)).status).toBe(200)
  })

  test('too many bytes', async () => {
    const intake = await openIntake()
    expect((await intake.post(Buffer.alloc(1_048_577, ' '))).status).toBe(413)
    await nothingTaken(intake)
  })

  test('other types and compressed bodies', async () => {
    const intake = await openIntake()
    const body = JSON.stringify(transaction(1))
    expect((await intake.post(body, 'text/csv')).status).toBe(415)
    expect((await intake.post(body, 'application/x-www-form-urlencoded')).status).toBe(415)
    const headers = { 'content-type': 'application/json', 'content-encoding': 'gzip' }
    const compressed = await intake.inject(body, headers, 'transactions')
    expect([compressed.status, compressed.body.error.received]).toEqual([415, 'content-encoding gzip'])
    await nothingTaken(intake)
  })
})

/** A producer whose sends wait until the test releases them. */
function heldProducer() {
  const sends: Array<{ records: readonly OutRecord[]; settle: (error?: Error) => void }> = []
  const send = (records: readonly OutRecord[]) =>
    new Promise<void>((resolve, reject) => {
      sends.push({ records, settle: (error) => (error ? reject(error) : resolve()) })
    })
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  const until = async (count: number) => {
    for (let turns = 0; sends.length < count && turns < 1_000; turns++) await turn()
    expect(sends.length).toBe(count)
  }
  return { producer: { send }, sends, until, turn }
}

describe('while Kafka', () => {
  test('has not acknowledged get no response, and further requests are sent at once', async () => {
    const held = heldProducer()
    const { post } = await openIntake({ producer: held.producer })
    const answered: string[] = []
    const ask = (n: number) => post(transaction(n)).then(({ status }) => answered.push(`${n}: ${status}`))
    const asked = [ask(1), ask(2), ask(3)]
    await held.until(3)
    for (let turns = 0; turns < 20; turns++) await held.turn()
    expect(answered).toEqual([])
    held.sends[1]!.settle()
    await asked[1]
    expect(answered).toEqual(['2: 200'])
    held.sends[0]!.settle()
    held.sends[2]!.settle(new PipelineError('kafka_unreachable', 'No broker confirmed 1 records'))
    await Promise.all(asked)
    expect(answered).toEqual(['2: 200', '1: 200', '3: 503'])
  })

  test('is away: 503 with its code, and that sending again is safe', async () => {
    const failure = new PipelineError('kafka_unreachable', 'No broker confirmed 1 records to transactions, partition 0')
    const { post, errors } = await openIntake({ producer: { send: () => Promise.reject(failure) } })
    const answer = await post(transaction(1))
    expect([answer.status, answer.headers['retry-after'], answer.body]).toEqual([
      503,
      '1',
      {
        error: {
          code: 'kafka_unreachable',
          message:
            'No broker confirmed 1 records to transactions, partition 0. Send the request again: that is safe, because an ' +
            'event whose id was taken already is a duplicate.',
        },
      },
    ])
    expect(errors).toEqual([])
  })

  test('takes too long the wait ends, and its room is given back only when the send has ended', async () => {
    const held = heldProducer()
    const late = { reached: Promise.resolve('late' as const), cancel: () => undefined }
    const pendingMax = { events: 1, bytes: 10_000 }
    const { post } = await openIntake({ producer: held.producer, deadlineAfter: () => late, pendingMax })
    const answer = await post(transaction(1))
    expect([answer.status, answer.body.error.code]).toEqual([503, 'kafka_unreachable'])
    expect((await post(transaction(2))).body.error.code).toBe('busy')
    held.sends[0]!.settle(new Error('whoever waited has gone'))
    await held.turn()
    expect((await post(transaction(3))).body.error.code).toBe('kafka_unreachable')
    held.sends[1]!.settle()
  })

  test.each<[string, IntakeOptions['pendingMax']]>([
    ['events', { events: 2, bytes: 1_000_000 }],
    ['bytes', { events: 100, bytes: 300 }],
  ])('is slow no more %s wait than there is room for', async (_, pendingMax) => {
    const held = heldProducer()
    const { post } = await openIntake({ producer: held.producer, ...(pendingMax ? { pendingMax } : {}) })
    const first = [post(transaction(1)), post(transaction(2))]
    await held.until(2)
    const answer = await post(transaction(3))
    expect([answer.status, answer.headers['retry-after'], answer.body.error.code]).toEqual([503, '1', 'busy'])
    expect(held.sends.length).toBe(2)
    for (const { settle } of held.sends) settle()
    expect((await Promise.all(first)).map(({ status }) => status)).toEqual([200, 200])
    const again = post(transaction(3))
    await held.until(3)
    held.sends[2]!.settle()
    expect((await again).status).toBe(200)
  })

  test('mistakes of ours are 500 and logged', async () => {
    const { post, errors } = await openIntake({ producer: { send: () => Promise.reject(new TypeError('secret')) } })
    const answer = await post(transaction(1))
    expect([answer.status, answer.body.error.code, errors.length]).toEqual([500, 'internal', 1])
  })
})

test('metrics count events by what became of them, requests by status, and what is pending', async () => {
  const { post, registry } = await openIntake()
  await post([transaction(1), transaction(2), transaction(3, { amount: -1 }), transaction(4, { txId: 5 })])
  await post('no')
  const text = await registry.metrics()
  const lines = text
    .split('\n')
    .filter((line) => !line.startsWith('#') && !line.includes('_bucket') && !line.includes('_sum'))
  expect(lines.filter((line) => line !== '')).toEqual([
    'millrace_intake_accepted_total{stream="transactions"} 2',
    'millrace_intake_rejected_total{stream="transactions",code="range"} 1',
    'millrace_intake_rejected_total{stream="transactions",code="type"} 1',
    'millrace_intake_rejected_total{stream="transactions",code="not_json"} 1',
    'millrace_intake_request_duration_ms_count{status="207"} 1',
    'millrace_intake_request_duration_ms_count{status="422"} 1',
    'millrace_intake_pending_events 0',
    'millrace_intake_pending_bytes 0',
  ])
})
