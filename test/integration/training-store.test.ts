/** The training store on a real Kafka, its process killed between and in the middle of batches: nothing lost, nothing doubled. */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, inject, onTestFinished, test } from 'vitest'
import { ensureTopics } from '../../cli/topics/requirements.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import type { OutRecord } from '../../runtime/broker.ts'
import { createKafkaBroker } from '../../runtime/kafka/broker.ts'
import { partitionOf } from '../../runtime/partition.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { createRandom } from '../../testing/random.ts'
import { ownFolder } from '../support/command.ts'
import { type Digest, digested, noRows } from './fixtures/follow-store.ts'

const partitions = 4
const count = 20_000
const everyMs = 120_000
const startMs = Date.UTC(2024, 0, 1)
const dayMs = 86_400_000
const waves = 8

interface StoreDigest extends Digest {
  readonly predictions: number
  readonly labels: number
  readonly duplicatePredictions: number
  readonly watermarkMs: number
}

test('kill -9 of the process that follows: every row matures once, with its label, in the order of event time', {
  timeout: 240_000,
}, async () => {
  const seed = Number(process.env.STORE_SEED ?? process.pid)
  const random = createRandom(seed)
  const namespace = `store-${process.pid}`
  const brokers = inject('kafkaBrokers')
  const plan = compile(cardFraud, { namespace })
  const broker = createKafkaBroker({ brokers: brokers.split(','), clientId: namespace })
  onTestFinished(() => broker.close())
  await ensureTopics(broker.admin, plan, partitions)
  const producer = await broker.data.producer()
  const file = join(ownFolder(), 'store.duckdb')
  const vectorOf = (i: number) => plan.features.map((_, column) => (i * (column + 3)) % 997)
  const isFraud = (i: number) => i % 20 === 0

  // Labels three days after the event, in the order of their own time; a doubled prediction now and then, as after a crash.
  let reported = 0
  const recordsOf = (from: number, to: number): OutRecord[] => {
    const records: OutRecord[] = []
    for (let i = from; i < to; i++) {
      const key = Buffer.from(`c${i % 97}`)
      const partition = partitionOf(key, partitions)
      const time = startMs + i * everyMs
      const value = plan.predictions.codec.encode({
        id: `tx${i}`,
        time,
        score: 0.5,
        modelVersion: 'v1',
        features: vectorOf(i),
        fingerprint: plan.fingerprint,
        origin: { partition, offset: i },
        positions: [],
        reasons: [],
        shadow: [],
      })
      const record = { topic: plan.predictions.topic, partition, key, value }
      records.push(record, ...(i % 100 === 0 ? [record] : []))
      for (; startMs + reported * everyMs + 3 * dayMs <= time; reported++) {
        if (isFraud(reported)) records.push(reportOf(reported))
      }
    }
    return records
  }
  const reportOf = (i: number): OutRecord => {
    const txAt = startMs + i * everyMs
    const event = { txId: `tx${i}`, customerId: `c${i % 97}`, terminalId: 't', txAt, reportedAt: txAt + 3 * dayMs }
    const key = Buffer.from(event.customerId)
    const chargebacks = plan.streams[1]!
    return {
      topic: chargebacks.topic,
      partition: partitionOf(key, partitions),
      key,
      value: chargebacks.codec.encode(event),
    }
  }

  let child: ChildProcess | null = null
  const digest: { last: StoreDigest | null } = { last: null }
  const start = () => {
    const script = fileURLToPath(new URL('./fixtures/follow-store.ts', import.meta.url))
    const own = spawn(process.execPath, ['--import', 'tsx', script, file, namespace, brokers], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    createInterface(own.stdout).on('line', (line) => {
      digest.last = JSON.parse(line) as StoreDigest
    })
    child = own
  }
  onTestFinished(() => void child?.kill('SIGKILL'))
  const until = async (what: string, isThere: (digest: StoreDigest) => boolean) => {
    for (const began = Date.now(); digest.last === null || !isThere(digest.last); await sleep(20)) {
      const context = `seed ${seed}, waiting for ${what}: ${JSON.stringify(digest.last)}`
      expect(Date.now() - began, context).toBeLessThan(60_000)
      expect(child?.exitCode, context).toBeNull()
    }
  }

  start()
  for (let wave = 0; wave < waves; wave++) {
    await producer.send(recordsOf((count / waves) * wave, (count / waves) * (wave + 1)))
    await until('some of the wave', ({ predictions }) => predictions > (count / waves) * (wave + random.next() * 0.8))
    await sleep(random.below(150))
    child!.kill('SIGKILL')
    digest.last = null
    start()
  }
  const frauds = Math.ceil(reported / 20)
  const watermarkMs = startMs + (frauds - 1) * 20 * everyMs + 3 * dayMs
  const mature = Math.floor((watermarkMs - 7 * dayMs - startMs) / everyMs) + 1
  await until('all of it', (now) => now.rows === mature && now.predictions === count && now.labels === frauds)
  await sleep(500)

  let expected = noRows
  for (let i = 0; i < mature; i++) {
    expected = digested(expected, `tx${i}`, Number(isFraud(i)), Float64Array.from(vectorOf(i)))
  }
  expect(digest.last, `seed ${seed}`).toEqual({
    ...expected,
    predictions: count,
    labels: frauds,
    duplicatePredictions: count / 100,
    watermarkMs,
  })
})
