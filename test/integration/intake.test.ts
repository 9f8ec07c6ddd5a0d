/** Events over HTTP into a running pipeline on a real Kafka: what is accepted is scored, what is not is a dead letter, on both paths. */
import { expect, test } from 'vitest'
import type { IntakeAnswer } from '../../producers/intake.ts'
import type { BrokerData, LogRecord } from '../../runtime/broker.ts'
import { partitionOf } from '../../runtime/partition.ts'
import type { DeadLetter } from '../../schemas/wire/records.ts'
import { readPartition } from '../conformance/broker.ts'
import { runPipeline } from '../support/running-pipeline.ts'

const at = Date.UTC(2018, 4, 1)
const transaction = (n: number) => ({
  txId: `t${n}`,
  customerId: `c${n % 20}`,
  terminalId: `m${n % 5}`,
  amount: 1.5,
  at,
})
const good = (n: number) => Buffer.from(JSON.stringify(transaction(n)))
const changed = (change: object) => Buffer.from(JSON.stringify({ ...transaction(1), ...change }))
const spelled = (amount: string) => Buffer.from(JSON.stringify(transaction(1)).replace('1.5', () => amount))

/** One of a kind, with the code of its first problem. */
const bad: ReadonlyArray<readonly [string, Buffer]> = [
  ['not_json', Buffer.from('no event')],
  ['not_json', Buffer.concat([Buffer.from('{"txId":"'), Buffer.from([0xff]), Buffer.from('"}')])],
  ['not_json', spelled('NaN')],
  ['type', Buffer.from('"text"')],
  ['type', changed({ amount: '1.5' })],
  ['type', spelled(`${'['.repeat(2_000)}${']'.repeat(2_000)}`)],
  ['type', changed({ customerId: '\ud800' })],
  ['range', changed({ amount: -1 })],
  ['range', spelled('9007199254740993')],
  ['decimals', changed({ amount: 1.555 })],
  ['length', changed({ terminalId: 'x'.repeat(257) })],
  ['missing', changed({ at: null })],
  ['repeated', spelled('1.5,"amount":2')],
  ['missing', Buffer.from('{"__proto__":{"txId":"t"}}')],
]

test('good and bad events, at once, alone and together, and the bad ones by Kafka too', async () => {
  const { plan, url, broker } = await runPipeline('intake')
  const counts = await broker.data.partitionCounts([plan.scored.topic, plan.rejected.topic, plan.predictions.topic])
  const read = (topic: string, count: number) => readTopic(broker.data, topic, counts.get(topic)!, count)
  const post = async (body: Buffer, type = 'application/json') => {
    const headers = { 'content-type': type }
    const response = await fetch(`${url}/streams/transactions/events`, { method: 'POST', headers, body })
    return { status: response.status, body: (await response.json()) as IntakeAnswer }
  }

  // Lines that hold no newline: the bad ones among good ones, many requests at once.
  const batch = (from: number) => [good(from), ...bad.map(([, bytes]) => bytes), good(from + 1)]
  const batches = [100, 200, 300, 400, 500, 600].map(batch)
  const answers = await Promise.all(
    batches.map((lines) =>
      post(Buffer.concat(lines.flatMap((line) => [line, Buffer.from('\n')])), 'application/x-ndjson'),
    ),
  )
  const codes = bad.map(([code]) => code)
  for (const { status, body } of answers) {
    expect([status, body.accepted, body.rejected]).toEqual([207, 2, bad.length])
    expect(body.results.map((one) => (one.status === 'accepted' ? 'accepted' : one.problems[0]!.code))).toEqual([
      'accepted',
      ...codes,
      'accepted',
    ])
  }
  const singles = await Promise.all(Array.from({ length: 30 }, (_, n) => post(good(n))))
  expect(singles.map(({ status }) => status)).toEqual(Array(30).fill(200))
  expect((await post(plan.scored.codec.encode(transaction(30)), 'application/avro')).status).toBe(200)
  for (const [, bytes] of bad) expect((await post(bytes)).status).toBe(422)

  const accepted = await read(plan.scored.topic, 43)
  expect(accepted.length).toBe(43)
  const overHttp = await read(plan.rejected.topic, 7 * bad.length)
  expect(deadLettersOf(overHttp, plan.rejected.codec.decode)).toEqual(sorted(Array(7).fill(bad).flat()))
  for (const { value } of overHttp) {
    const { stage, topic, partition, offset } = plan.rejected.codec.decode(value!)
    expect([stage, topic, partition, offset]).toEqual(['http', plan.scored.topic, -1, -1])
  }

  const partitions = counts.get(plan.scored.topic)!
  const key = Buffer.from('c1')
  const producer = await broker.data.producer()
  await producer.send(
    bad.map(([, value]) => ({ topic: plan.scored.topic, partition: partitionOf(key, partitions), key, value })),
  )
  const both = await read(plan.rejected.topic, 8 * bad.length)
  expect(deadLettersOf(both, plan.rejected.codec.decode)).toEqual(sorted(Array(8).fill(bad).flat()))
  const byKafka = both
    .map(({ value }) => plan.rejected.codec.decode(value!))
    .filter(({ stage }) => stage === 'customer')
  expect(byKafka.map(({ offset }) => offset).sort((a, b) => a - b)).toEqual(
    bad.map((_, i) => accepted.filter(({ partition }) => partition === partitionOf(key, partitions)).length + i),
  )

  expect((await read(plan.predictions.topic, 43)).length).toBe(43)
  const metrics = await (await fetch(`${url}/metrics`)).text()
  expect(metrics).toContain('millrace_intake_accepted_total{stream="transactions"} 43\n')
  const rejected = [...metrics.matchAll(/^millrace_intake_rejected_total\{.*\} (\d+)$/gm)].map(([, count]) =>
    Number(count),
  )
  expect(rejected.reduce((sum, count) => sum + count)).toBe(7 * bad.length)
})

async function readTopic(broker: BrokerData, topic: string, count: number, expected: number) {
  const fetcher = await broker.fetcher()
  const until = performance.now() + 30_000
  for (;;) {
    const read: Array<LogRecord & { partition: number }> = []
    for (let partition = 0; partition < count; partition++) {
      const records = await readPartition(fetcher, { topic, partition }, 0)
      read.push(...records.map((record) => ({ ...record, partition })))
    }
    if (read.length >= expected || performance.now() > until) {
      await fetcher.close()
      return read
    }
  }
}

const line = (code: string, bytes: Buffer) => `${code} ${bytes.toString('base64')}`
const sorted = (events: typeof bad) => events.map(([code, bytes]) => line(code, bytes)).sort()

function deadLettersOf(records: readonly LogRecord[], decode: (bytes: Buffer) => DeadLetter): string[] {
  return records
    .map(({ value }) => decode(value!))
    .map(({ problems, value }) => line(problems[0]!.code, value!))
    .sort()
}
