/** A CSV with names of its own into a real Kafka, killed, resumed and taken over in the middle: every row is there once, and in order. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, inject, onTestFinished, test } from 'vitest'
import { ensureTopics } from '../../cli/topics/requirements.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import { createKafkaBroker } from '../../runtime/kafka/broker.ts'
import { partitionOf } from '../../runtime/partition.ts'
import { readSpans, wholeLog } from '../../runtime/read-log.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { ownFolder, startCommand } from '../support/command.ts'

const rows = 20_000
const partitions = 4
const customerOf = (n: number) => `c${(n * 7) % 997}`

test('a produce that is killed, resumed and taken over sends every row once', { timeout: 180_000 }, async () => {
  const namespace = `produce-${process.pid}`
  const plan = compile(cardFraud, { namespace })
  const environment = { KAFKA_BROKERS: inject('kafkaBrokers'), MILLRACE_NAMESPACE: namespace }
  const broker = createKafkaBroker({ brokers: environment.KAFKA_BROKERS.split(','), clientId: namespace })
  onTestFinished(() => broker.close())
  await ensureTopics(broker.admin, plan, partitions)

  const file = join(ownFolder(), 'tx.csv')
  const lines = Array.from(
    { length: rows },
    (_, n) => `tx-${n};${customerOf(n)};"t;${n % 50}";${n / 100};${1_522_540_800_000 + n}`,
  )
  writeFileSync(file, `Transaction;Customer;Terminal;EUR;Date\n${lines.join('\n')}\n`)
  const map = 'txId=Transaction,customerId=Customer,terminalId=Terminal,amount=EUR,at=Date'
  const source = ['--source', file, '--delimiter', ';', '--stream', 'transactions', '--map', map]
  const produce = (...more: string[]) =>
    startCommand(['produce', 'pipelines/card-fraud.ts', ...source, ...more], environment)

  const first = produce('--rate', '3000')
  await first.printed(' events, ')
  first.child.kill('SIGKILL')
  await first.exitCode
  // Slow enough to be at work still when the next one has started on a busy machine.
  const second = produce('--resume', '--rate', '200')
  await second.printed(' events, ')
  // A third one while the second is at work: the newer continues.
  const third = produce('--resume', '--rate', '200')
  expect(await second.exitCode, second.output()).toBe(1)
  expect(second.output()).toContain(`Another process is sending ${file} and has taken over`)
  await third.printed(' rows are completed')
  third.child.kill('SIGKILL')
  await third.exitCode
  const last = produce('--resume')
  expect(await last.exitCode, last.output()).toBe(0)
  const [, done] = /: ([\d,]+) rows are completed; continuing after them/.exec(last.output())!
  expect(Number(done!.replace(',', ''))).toBeGreaterThan(1_000)
  expect(Number(done!.replace(',', ''))).toBeLessThan(rows)

  const { topic, codec } = plan.scored
  let ids: string[][] = []
  // What is committed becomes readable a moment later.
  for (let tries = 0; ids.flat().length < rows && tries < 100; tries++) {
    ids = Array.from({ length: partitions }, () => [])
    const fetcher = await broker.data.fetcher()
    await readSpans(fetcher, await wholeLog(broker.data, [topic]), ({ value }, { partition }) => {
      const decoded = codec.decode(value)
      ids[partition]!.push(decoded.ok ? (decoded.event.txId as string) : 'undecodable')
    })
    await fetcher.close()
  }
  const expected: string[][] = Array.from({ length: partitions }, () => [])
  for (let n = 0; n < rows; n++) expected[partitionOf(Buffer.from(customerOf(n)), partitions)]!.push(`tx-${n}`)
  expect(ids).toEqual(expected)
})

test('several sources, killed and resumed, are sent once each and in the order of event time', {
  timeout: 180_000,
}, async () => {
  const namespace = `produce-several-${process.pid}`
  const plan = compile(cardFraud, { namespace })
  const environment = { KAFKA_BROKERS: inject('kafkaBrokers'), MILLRACE_NAMESPACE: namespace }
  const broker = createKafkaBroker({ brokers: environment.KAFKA_BROKERS.split(','), clientId: namespace })
  onTestFinished(() => broker.close())
  await ensureTopics(broker.admin, plan, 1)

  const [tx, cb] = [join(ownFolder(), 'tx.csv'), join(ownFolder(), 'cb.jsonl')]
  const startMs = 1_522_540_800_000
  // Blocks of a hundred change places, so that the file has to be sorted.
  const order = (n: number) => n - (n % 200) + (((n % 200) + 100) % 200)
  const transactions = Array.from(
    { length: rows },
    (_, n) => `tx-${order(n)},c,m,${n / 100},${startMs + 10 * order(n)}`,
  )
  writeFileSync(tx, `txId,customerId,terminalId,amount,at\n${transactions.join('\n')}\n`)
  const chargebacks = Array.from({ length: rows / 4 }, (_, n) =>
    JSON.stringify({
      txId: `tx-${n}`,
      customerId: 'c',
      terminalId: 'm',
      txAt: startMs,
      reportedAt: startMs + 40 * n + 5,
    }),
  )
  writeFileSync(cb, `${chargebacks.join('\n')}\n`)
  const sources = ['--source', `transactions=${tx}`, '--source', `chargebacks=${cb}`, '--sort']
  const produce = (...more: string[]) =>
    startCommand(['produce', 'pipelines/card-fraud.ts', ...sources, ...more], environment)

  const first = produce('--rate', '4000')
  await first.printed(' events, ')
  first.child.kill('SIGKILL')
  await first.exitCode
  const second = produce('--resume', '--rate', '4000')
  await second.printed(' events, ')
  second.child.kill('SIGKILL')
  await second.exitCode
  const last = produce('--resume')
  expect(await last.exitCode, last.output()).toBe(0)
  expect(last.output()).toMatch(/ and .*: [\d,]+ rows are completed; continuing after them/)

  const sent: Array<{ id: string; timeMs: number; stream: number; appendedAtMs: number }> = []
  for (let tries = 0; sent.length < rows * 1.25 && tries < 100; tries++) {
    sent.length = 0
    const fetcher = await broker.data.fetcher()
    for (const { topic, codec, timeField, index } of plan.streams) {
      await readSpans(fetcher, await wholeLog(broker.data, [topic]), ({ value, appendedAtMs }) => {
        const decoded = codec.decode(value)
        if (!decoded.ok) expect.fail('undecodable')
        sent.push({
          id: String(decoded.event.txId),
          timeMs: Number(decoded.event[timeField]),
          stream: index,
          appendedAtMs,
        })
      })
    }
    await fetcher.close()
  }
  for (const [stream, count] of [rows, rows / 4].entries()) {
    const ids = sent.filter((one) => one.stream === stream).map(({ id }) => id)
    expect(ids).toEqual(Array.from({ length: count }, (_, n) => `tx-${n}`))
  }
  const inTime = sent.toSorted((a, b) => a.timeMs - b.timeMs)
  // The topics of one chunk are stamped one after the other; a stream that was sent before the other would be seconds off.
  const back = inTime.findIndex(({ appendedAtMs }, i) => i > 0 && appendedAtMs < inTime[i - 1]!.appendedAtMs - 500)
  expect(back === -1 ? null : inTime.slice(back - 1, back + 1)).toBeNull()
})
