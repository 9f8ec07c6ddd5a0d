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
