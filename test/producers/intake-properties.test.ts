/** For any body: never a 5xx, a result for each event in its order, and everything in Kafka. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { drawn } from '../support/nightly.ts'
import { openIntake, plan, transaction } from './intake-fixture.ts'

const seed = 20261125

const loose = fc.oneof(fc.jsonValue(), fc.string({ unit: 'binary' }), fc.double())
const field = fc.oneof(
  { weight: 3, arbitrary: fc.string({ minLength: 1, maxLength: 12 }) },
  { weight: 1, arbitrary: loose },
)
const event = fc.record(
  {
    txId: field,
    customerId: field,
    terminalId: fc.oneof({ weight: 5, arbitrary: fc.constant('m') }, { weight: 1, arbitrary: loose }),
    amount: fc.oneof(
      { weight: 5, arbitrary: fc.nat(100_000).map((cents) => cents / 100) },
      { weight: 1, arbitrary: loose },
    ),
    at: fc.oneof(
      fc.nat(2_000_000_000_000),
      fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
      loose,
    ),
  },
  { requiredKeys: ['amount', 'at'] },
)
const element = fc.oneof({ weight: 4, arbitrary: event }, { weight: 1, arbitrary: fc.jsonValue() })

test('any JSON values: results in order, accepted ones in the topic as the same event, the others dead letters', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(element, { minLength: 1, maxLength: 12 }),
      fc.constantFrom('json', 'lines'),
      async (events, kind) => {
        const intake = await openIntake()
        const texts = events.map((one) => JSON.stringify(one))
        const { status, body } = await (kind === 'json'
          ? intake.post(`[${texts.join(',')}]`)
          : intake.post(texts.join('\n'), 'application/x-ndjson'))
        const expected = texts.map((text) => plan.scored.codec.decode(Buffer.from(text)))
        const good = expected.flatMap((one) => (one.ok ? [one.event] : []))
        expect(status).toBe(good.length === texts.length ? 200 : good.length === 0 ? 422 : 207)
        expect([body.accepted, body.rejected]).toEqual([good.length, texts.length - good.length])
        expect(body.results.map((result) => (result.status === 'accepted' ? result.id : result.problems))).toEqual(
          expected.map((one) => (one.ok ? one.event.txId : one.problems)),
        )
        const byId = (list: ReadonlyArray<{ txId?: unknown }>) => list.map((one) => JSON.stringify(one)).sort()
        expect(byId(await intake.accepted())).toEqual(byId(good))
        const deadLetters = await intake.deadLetters()
        expect(deadLetters.map(({ value }) => value!.toString()).sort()).toEqual(
          texts.filter((_, i) => !expected[i]!.ok).sort(),
        )
      },
    ),
    { seed, numRuns: drawn({ always: 40, nightly: 150 }) },
  )
})

test('any bytes: answered as what they are, never a 5xx', async () => {
  const sound = JSON.stringify([transaction(1), transaction(2)])
  const bent = fc.tuple(fc.nat(), fc.nat(255)).map(([at, byte]) => {
    const bytes = Buffer.from(sound)
    bytes[at % bytes.length] = byte
    return bytes
  })
  const bytes = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 80 }).map((given) => Buffer.from(given)),
    fc.json().map((text) => Buffer.from(text)),
    fc
      .string({ unit: fc.constantFrom('[', ']', '{', '}', ',', '"', '\\', ':', '1', ' '), minLength: 1 })
      .map((text) => Buffer.from(text)),
    bent,
  )
  const types = fc.constantFrom(
    'application/json',
    'application/x-ndjson',
    'application/avro',
    'application/octet-stream',
  )
  const intake = await openIntake()
  let [accepted, rejected] = [0, 0]
  await fc.assert(
    fc.asyncProperty(bytes, types, async (body, type) => {
      const answer = await intake.post(body, type)
      expect([200, 207, 400, 422]).toContain(answer.status)
      if (answer.status === 400) return
      accepted += answer.body.accepted
      rejected += answer.body.rejected
      expect(answer.body.results.length).toBe(answer.body.accepted + answer.body.rejected)
    }),
    { seed, numRuns: drawn({ always: 150, nightly: 600 }) },
  )
  expect([(await intake.accepted()).length, (await intake.deadLetters()).length]).toEqual([accepted, rejected])
  expect(intake.errors).toEqual([])
})
