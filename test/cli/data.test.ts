/** `millrace data` on the broker in memory and on files. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { ensureTopics } from '../../cli/topics/requirements.ts'
import { createStoreFollower } from '../../online-model/training-store/follow.ts'
import type { DataProfile } from '../../online-model/training-store/profile.ts'
import { openTrainingStore } from '../../online-model/training-store/store.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import { systemClock } from '../../runtime/clock.ts'
import { createMemoryBroker, type MemoryBroker } from '../../runtime/memory/broker.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { call, scratchFolder } from './call.ts'

const definition = 'pipelines/card-fraud.ts'
const plan = compile(cardFraud)
const dayMs = 86_400_000
const startMs = Date.UTC(2024, 0, 1)
const clock = { ...systemClock, nowMs: () => startMs + 60 * dayMs }

/** 200 transactions of 20 days, every tenth a fraud with a larger amount; one is reported twice, one after its time. */
async function filledBroker(): Promise<MemoryBroker> {
  const broker = createMemoryBroker({ clock })
  onTestFinished(() => broker.close())
  await ensureTopics(broker.admin, plan, 2)
  const producer = await broker.data.producer()
  const chargebacks = plan.streams[1]!
  for (let i = 0; i < 200; i++) {
    const time = startMs + (i * dayMs) / 10
    const features = plan.features.map(({ name }, column) => {
      if (name === 'amount') return i % 10 === 0 ? 500 + i : 20 + (i % 7)
      return name === 'customerMean1d' && i % 4 === 0 ? Number.NaN : (i * (column + 3)) % 11
    })
    const value = plan.predictions.codec.encode({
      id: `tx${i}`,
      time,
      score: 0.5,
      modelVersion: 'v1',
      features,
      fingerprint: plan.fingerprint,
      origin: { partition: 0, offset: i },
      positions: [],
      reasons: [],
      shadow: [],
    })
    await producer.send([{ topic: plan.predictions.topic, partition: i % 2, key: Buffer.from(`c${i % 9}`), value }])
  }
  const report = async (i: number, afterDays: number) => {
    const txAt = startMs + (i * dayMs) / 10
    const event = { txId: `tx${i}`, customerId: 'c1', terminalId: 't1', txAt, reportedAt: txAt + afterDays * dayMs }
    const value = chargebacks.codec.encode(event)
    await producer.send([{ topic: chargebacks.topic, partition: 0, key: Buffer.from('c1'), value }])
  }
  for (let i = 0; i < 200; i += 10) await report(i, 3)
  await report(0, 4)
  await report(1, 15)
  await producer.close()
  return broker
}

describe('millrace data', () => {
  test('profiles what Kafka has where there is no store, as text, JSON and a page', async () => {
    const folder = await scratchFolder()
    const broker = await filledBroker()
    const [json, html, parquet] = ['profile.json', 'profile.html', 'rows.parquet'].map((name) => join(folder, name))
    const env = { MILLRACE_FOLDER: folder }
    const args = ['data', definition, '--json', json!, '--html', html!, '--export', parquet!]
    const { code, out, err } = await call(args, { env, openBroker: () => broker, clock })
    expect([code, err]).toEqual([0, []])
    // The last label is dated day 22, and predictions have passed day 19.9.
    expect(out.slice(0, 8)).toEqual([
      'Training set of card-fraud: 130 mature rows, 14 positive (10.8 % of events)',
      "  from: card-fraud.predictions in Kafka, since there is no trainer's store here",
      '  events: 2024-01-01T00:00:00.000Z to 2024-01-13T21:36:00.000Z',
      '  waiting for their label: 70 (mature 7d after the event; both streams have passed 2024-01-20T21:36:00.000Z)',
      '  labels: 13 in time, 1 later, 0 of these changed the row; 0 withdrawn; 7 without a row',
      '',
      'day         rows  positive  rate',
      '2024-01-01  10    2         20.0 %',
    ])
    const head = out.findIndex((line) => line.startsWith('feature '))
    expect(out[head]).toMatch(/^feature +missing +min +1 % +25 % +50 % +75 % +99 % +max +mean +mean of 1 +of 0$/)
    expect(out[head + 1]).toMatch(
      /^amount +0\.0 % +20 +20 +21 +23 +25 +\d+(?:\.\d)? +620 +\d+\.\d+ +\d+\.?\d* +\d+\.?\d*$/,
    )
    expect(out.find((line) => line.startsWith('customerMean1d'))).toMatch(/^customerMean1d +25\.4 % /)
    expect(out.slice(-2)).toEqual([`130 rows written to ${parquet}`, `page written to ${html}`])

    const profile = JSON.parse(readFileSync(json!, 'utf8')) as DataProfile & { pipeline: string }
    expect(profile).toMatchObject({ pipeline: 'card-fraud', rows: 130, positives: 14, waiting: 70 })
    expect(profile.days).toHaveLength(13)
    const amount = profile.features[0]!
    expect(amount).toMatchObject({ name: 'amount', all: { rows: 130, missing: 0, min: 20, max: 620 } })
    expect(amount.negatives).toMatchObject({ rows: 116, max: 26 })
    const bars = [...amount.histogram!.positives, ...amount.histogram!.negatives]
    expect(bars.reduce((sum, count) => sum + count, 0)).toBe(130)
    const page = readFileSync(html!, 'utf8')
    expect(page).toContain('<h1>Training set of card-fraud</h1>')
    expect(page.match(/<svg /g)).toHaveLength(1 + plan.features.length)
    expect(page).not.toMatch(/(?:src|href)=|NaN|undefined|null/)
  })

  test("reads the trainer's store, its snapshot while the trainer has it, and takes rows in", async () => {
    const folder = await scratchFolder()
    const broker = await filledBroker()
    const env = { MILLRACE_FOLDER: folder }
    const file = join(folder, 'training', 'card-fraud.duckdb')
    const snapshot = join(folder, 'training', 'card-fraud.snapshot.duckdb')
    mkdirSync(join(folder, 'training'))
    const store = await openTrainingStore({ file, plan, clusterId: await broker.admin.clusterId() })
    const follower = createStoreFollower({
      broker: broker.data,
      plan,
      store,
      clock,
      log: { warn: () => undefined },
      random: () => 1,
      handOut: null,
    })
    for (let quiet = 0; quiet < 2; ) quiet = (await follower.step()).isAtEnd ? quiet + 1 : 0
    await follower.close()
    // Kafka is not read where there is a file.
    const openBroker = () => {
      throw new Error('asked')
    }
    const locked = await call(['data', definition], { env, openBroker })
    expect([locked.code, locked.err[0]]).toEqual([
      1,
      `error: The training store ${file} is taken: this process has it open already, and DuckDB lets one process in. ` +
        'Stop that one, name another file, or read a snapshot.',
    ])
    await store.snapshot(snapshot)
    const copied = await call(['data', definition], { env, openBroker })
    expect(copied.out[1]).toBe(`  from: ${snapshot}, the trainer's last snapshot`)
    await store.close()
    const parquet = join(folder, 'rows.parquet')
    const own = await call(['data', definition, '--export', parquet], { env, openBroker })
    expect(own.out.slice(0, 2)).toEqual([copied.out[0], `  from: ${file}`])

    const other = { MILLRACE_FOLDER: join(folder, 'other') }
    const taken = await call(['data', definition, '--import', parquet], {
      env: other,
      openBroker: () => createMemoryBroker({ clock }),
    })
    expect([taken.code, ...taken.out.slice(0, 2)]).toEqual([0, `130 new rows from ${parquet}`, copied.out[0]])
    expect(existsSync(join(folder, 'other', 'training', 'card-fraud.duckdb'))).toBe(true)
  })

  test('reports what is wrong with a file', async () => {
    const folder = await scratchFolder()
    const file = join(folder, 'store')
    const gone = await call(['data', definition, '--store', file])
    expect([gone.code, gone.err[0]]).toEqual([
      1,
      `error: ${file} does not exist: expected the file of a training store.`,
    ])
    writeFileSync(file, 'none')
    const none = await call(['data', definition, '--store', file])
    expect([none.code, none.err[0]]).toEqual([
      1,
      expect.stringContaining(`The training store ${file} cannot be read: DuckDB `),
    ])
  })

  test('of nothing reports it', async () => {
    const folder = await scratchFolder()
    const broker = createMemoryBroker({ clock })
    await ensureTopics(broker.admin, plan, 2)
    const html = join(folder, 'page.html')
    const { code, out } = await call(['data', definition, '--html', html], {
      env: { MILLRACE_FOLDER: folder },
      openBroker: () => broker,
    })
    expect([code, out[0]]).toEqual([0, 'Training set of card-fraud: 0 mature rows, 0 positive (0.0 % of events)'])
    expect(readFileSync(html, 'utf8')).toContain('no value')
  })
})
