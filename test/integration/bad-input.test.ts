/**
 * More than ten thousand malformed events of every kind among good ones, by Kafka and over HTTP: each bad one is a dead letter with its
 * bytes, reason and origin, each good one is scored as if the others had never come, and nothing is lost.
 */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { watchTopics } from '../../cli/environment/watch-topics.ts'
import { generateHandbook, handbookEvents } from '../../pipelines/handbook.ts'
import { createReplay } from '../../processors/replay.ts'
import type { OutRecord } from '../../runtime/broker.ts'
import { systemClock } from '../../runtime/clock.ts'
import { partitionOf } from '../../runtime/partition.ts'
import type { EventValues, RejectCode } from '../../schemas/kernel/event.ts'
import type { DeadLetter, Prediction } from '../../schemas/wire/records.ts'
import { createRandom } from '../../testing/random.ts'
import { type BadEvent, badEvent, httpKinds, kafkaKinds } from '../support/bad-events.ts'
import { ownFolder, startCommand } from '../support/command.ts'
import { runPipeline } from '../support/running-pipeline.ts'

const seed = Number(process.env.SEED ?? 20_180_401)
const partitions = 4
const goodMax = 5_950
/** Good events of one round: those by Kafka and then those over HTTP, each acknowledged before the next. */
const round = { byKafka: 150, overHttp: 50 }
const badEach = { byKafka: 300, overHttp: 60 }
const duplicatesEach = 5

test(`bad events by the thousand (SEED=${seed})`, { timeout: 300_000 }, async () => {
  const { plan, url, broker, environment } = await runPipeline('bad-input')
  const { scored } = plan

  const predictions: Prediction[] = []
  const rejections: DeadLetter[] = []
  const watched = await watchTopics({
    broker,
    plan,
    clock: systemClock,
    from: 'start',
    onPrediction: (prediction) => void predictions.push(prediction),
    onRejection: (rejection) => void rejections.push(rejection),
  })
  onTestFinished(() => watched.close())

  const random = createRandom(seed)
  const good = [...handbookEvents(generateHandbook(), { untilSecond: 86_400 })]
    .filter(({ stream }) => stream === 'transactions')
    .slice(0, goodMax)
    .map(({ values }) => values as EventValues)
  const all = [...good]
  const producer = await broker.data.producer()
  const expectedCodes = new Map<RejectCode, number>()
  const deadLetters = new Map<string, number>()
  let bad = 0
  let duplicates = 0
  const expectDeadLetter = ({ code, value }: BadEvent) => {
    bad++
    expectedCodes.set(code, (expectedCodes.get(code) ?? 0) + 1)
    const bytes = value === null ? 'null' : value.toString('base64')
    deadLetters.set(bytes, (deadLetters.get(bytes) ?? 0) + 1)
  }
  const recordOf = (values: EventValues): OutRecord => {
    const key = Buffer.from(values[scored.keyField] as string)
    return { topic: scored.topic, partition: partitionOf(key, partitions), key, value: scored.codec.encode(values) }
  }
  const residentMb: number[] = []
  // Every partition has a clock before the first event of long ago.
  await producer.send(good.splice(0, round.byKafka).map(recordOf))

  for (let at = 0; at < good.length; at += round.byKafka + round.overHttp) {
    const byKafka = good.slice(at, at + round.byKafka)
    const overHttp = good.slice(at + round.byKafka, at + round.byKafka + round.overHttp)
    const records = byKafka.map(recordOf)
    for (let i = 0; i < badEach.byKafka; i++) {
      const made = badEvent(random.pick(kafkaKinds), { random, scored, like: random.pick(byKafka), partitions })
      expectDeadLetter(made)
      records.splice(random.below(records.length + 1), 0, { topic: scored.topic, ...made })
    }
    for (let i = 0; i < duplicatesEach; i++) records.push(recordOf(random.pick(byKafka)))
    duplicates += duplicatesEach
    await producer.send(records)

    const lines: Buffer[] = overHttp.map((values) => Buffer.from(JSON.stringify(values)))
    const badLines = new Set<Buffer>()
    for (let i = 0; i < badEach.overHttp; i++) {
      const made = badEvent(random.pick(httpKinds), { random, scored, like: random.pick(overHttp), partitions })
      expectDeadLetter(made)
      badLines.add(made.value!)
      lines.splice(random.below(lines.length + 1), 0, made.value!)
    }
    const response = await fetch(`${url}/streams/transactions/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-ndjson' },
      body: new Uint8Array(Buffer.concat(lines.flatMap((line) => [line, Buffer.from('\n')]))),
    })
    expect(response.status).toBe(207)
    const { results } = (await response.json()) as { results: ReadonlyArray<{ status: string }> }
    expect(results.map(({ status }) => status)).toEqual(
      lines.map((line) => (badLines.has(line) ? 'rejected' : 'accepted')),
    )
    residentMb.push((await metric(url, 'process_resident_memory_bytes')) / 2 ** 20)
  }

  expect(bad).toBeGreaterThanOrEqual(10_000)
  await eventually(
    () => predictions.length >= all.length && rejections.length >= bad,
    () => [predictions.length, all.length, rejections.length, bad],
  )
  // What is written twice would follow.
  await sleep(1_000)
  expect(predictions.length).toBe(all.length)
  expect(rejections.length).toBe(bad)
  expect(await metric(url, 'millrace_duplicates_total')).toBe(duplicates)

  const codes = new Map<string, number>()
  for (const { problems } of rejections) codes.set(problems[0]!.code, (codes.get(problems[0]!.code) ?? 0) + 1)
  expect(sorted(codes)).toEqual(sorted(expectedCodes))
  for (const { value, topic, stage, partition, offset, problems } of rejections) {
    const bytes = value === null ? 'null' : value.toString('base64')
    expect(deadLetters.get(bytes) ?? 0).toBeGreaterThan(0)
    deadLetters.set(bytes, deadLetters.get(bytes)! - 1)
    expect(topic).toBe(scored.topic)
    expect(problems.length).toBeGreaterThan(0)
    if (stage === 'http') expect([partition, offset]).toEqual([-1, -1])
    else expect(partition >= 0 && offset >= 0).toBe(true)
  }

  // No date from the future moved a clock: every vector is what the good events alone give.
  const replay = createReplay(plan, { partitions })
  const replayed = [...all.flatMap((values) => replay.push(0, values)), ...replay.flush()]
  const vectors = new Map(replayed.map(({ id, vector }) => [id, vector]))
  const differing = predictions.filter(
    ({ id, features }) => !features.every((value, i) => Object.is(value, vectors.get(id)?.[i])),
  )
  expect(differing.map(({ id }) => id)).toEqual([])

  const third = Math.floor(residentMb.length / 3)
  console.log(
    `${all.length + bad + duplicates} in = ${predictions.length} scored + ${rejections.length} rejected + ${duplicates} ` +
      'duplicates; ' +
      `resident ${residentMb[0]!.toFixed(0)} MB at first, ${residentMb[third]!.toFixed(0)} MB after a third, ` +
      `${residentMb.at(-1)!.toFixed(0)} MB at the end; by code ${JSON.stringify(sorted(codes))}`,
  )
  expect(residentMb.at(-1)!).toBeLessThan(1.5 * residentMb[third]!)

  // Once requeued, those from the wrong partition are recognised as duplicates.
  const mismatched = codes.get('partition_mismatch')!
  const figures = join(ownFolder(), 'replay.json')
  const requeue = startCommand(
    ['rejected', 'replay', 'pipelines/card-fraud.ts', '--code', 'partition_mismatch', '--json', figures],
    environment,
  )
  expect(await requeue.exitCode, requeue.output()).toBe(0)
  await eventuallyMetric(url, 'millrace_duplicates_total', duplicates + mismatched)
  const shown = startCommand(
    ['rejected', 'list', 'pipelines/card-fraud.ts', '--code', 'ahead', '--count', '1'],
    environment,
  )
  expect(await shown.exitCode, shown.output()).toBe(0)
  expect(shown.output()).toContain('received 2038-')
  expect(predictions.length).toBe(all.length)
})

function sorted(counts: ReadonlyMap<string, number>): Array<[string, number]> {
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1))
}

async function metric(url: string, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text()
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}

async function eventually(holds: () => boolean, shown: () => unknown): Promise<void> {
  for (const began = Date.now(); !holds(); await sleep(50)) {
    if (Date.now() - began > 120_000) throw new Error(`waited in vain: ${JSON.stringify(shown())}`)
  }
}

async function eventuallyMetric(url: string, name: string, value: number): Promise<void> {
  for (const began = Date.now(); (await metric(url, name)) < value; await sleep(50)) {
    if (Date.now() - began > 60_000) break
  }
  expect(await metric(url, name)).toBe(value)
}
