/**
 * One boundary: over timestamps of whole minutes, where most events share their instant with others, the prediction, the replay, the audit
 * and HTTP (as of the event, or of its place) have the same bits, and those that the rule of docs/time.md gives for a plain list of events.
 */
import { expect, onTestFinished, test } from 'vitest'
import { createFeatureReader } from '../../feature-store/reader.ts'
import { featureRoutes } from '../../feature-store/routes.ts'
import { auditLogs } from '../../processors/audit/audit.ts'
import { frontierOf } from '../../processors/position.ts'
import type { LogRecord } from '../../runtime/broker.ts'
import { createHttpServer } from '../../runtime/http/server.ts'
import { partitionOf } from '../../runtime/partition.ts'
import {
  count,
  definePipeline,
  entity,
  logisticRegression,
  max,
  number,
  stream,
  sum,
  text,
  timestamp,
} from '../../schemas/definition/definition.ts'
import { fixedHashKey } from '../../schemas/kernel/keyed-hash.ts'
import {
  bitsOf,
  createPipelineRunner,
  type PipelineRunner,
  predictedVectors,
  type ReadPrediction,
  replayed,
  replayedVectors,
  type StreamEvent,
} from '../../testing/index.ts'
import { createRandom, type Random } from '../../testing/random.ts'
import { drawn as howMany } from '../support/nightly.ts'

const minute = 60_000
const startMs = Date.UTC(2024, 0, 1)
const partitions = 2

const wide = { lateness: '2h', ahead: '3650d' } as const
const orders = stream('orders', {
  ...wide,
  id: 'id',
  key: 'buyer',
  time: 'at',
  fields: { id: text(), buyer: text(), city: text(), shop: text(), amount: number({ decimals: 2 }), at: timestamp() },
})
const weather = stream('weather', {
  ...wide,
  id: 'id',
  key: 'city',
  time: 'at',
  fields: { id: text(), city: text(), shop: text(), rain: number(), at: timestamp() },
})
/** Counts at the visit, which may be before or after it is booked. */
const visits = stream('visits', {
  ...wide,
  id: 'id',
  key: 'buyer',
  time: 'bookedAt',
  fields: { id: text(), buyer: text(), shop: text(), visitAt: timestamp(), bookedAt: timestamp() },
})
const buyer = entity('buyer', [orders.fields.buyer, visits.fields.buyer])
/** In the middle, and no order leaves a fact with it. */
const city = entity('city', [orders.fields.city, weather.fields.city])
const shop = entity('shop', [orders.fields.shop, weather.fields.shop, visits.fields.shop])

interface Counted {
  readonly of: typeof orders | typeof weather | typeof visits
  readonly by: 'buyer' | 'city' | 'shop'
  readonly over: number
  readonly lag?: number
  readonly kind?: 'sum' | 'max'
}

const windows: Readonly<Record<string, Counted>> = {
  mine: { of: orders, by: 'buyer', over: 3 },
  mineBefore: { of: orders, by: 'buyer', over: 2, lag: 1 },
  visits: { of: visits, by: 'buyer', over: 4 },
  visitsBefore: { of: visits, by: 'buyer', over: 3, lag: 2 },
  rain: { of: weather, by: 'city', over: 2, kind: 'max' },
  rainBefore: { of: weather, by: 'city', over: 1, lag: 1, kind: 'sum' },
  atShop: { of: orders, by: 'shop', over: 1 },
  rainAtShop: { of: weather, by: 'shop', over: 3, kind: 'sum' },
  visitsAtShop: { of: visits, by: 'shop', over: 5, lag: 1 },
}
const entities = { buyer, city, shop }
const pipeline = definePipeline({
  name: 'ties',
  version: 1,
  scores: orders,
  features: Object.fromEntries(
    Object.entries(windows).map(([name, { of, by, over, lag = 0, kind }]) => {
      const window = {
        by: entities[by],
        over: `${over}m`,
        lag: `${lag}m`,
        ...(of === visits ? { at: visits.fields.visitAt } : {}),
      } as const
      if (kind === undefined) return [name, count(of, window)]
      return [name, (kind === 'max' ? max : sum)(weather.fields.rain, window)]
    }),
  ),
  label: { from: visits, value: 1, otherwise: { value: 0, after: '1h' } },
  model: logisticRegression(),
})

function minuteEvents(random: Random, length: number): StreamEvent[] {
  let at = startMs - 60 * minute
  const drawn = Array.from({ length }, (_, i): StreamEvent => {
    if (random.below(5) === 0) at += minute * (1 + random.below(2))
    const keys = { buyer: `b${random.below(3)}`, city: `c${random.below(2)}`, shop: `s${random.below(3)}` }
    const draw = random.below(10)
    const amount = random.below(1_000) / 100
    if (draw < 5) return { stream: 'orders', values: { id: `o${i}`, ...keys, amount, at } }
    if (draw < 8) return { stream: 'weather', values: { id: `w${i}`, ...keys, rain: random.next(), at } }
    const visitAt = at + (random.below(9) - 5) * minute
    return { stream: 'visits', values: { id: `v${i}`, ...keys, visitAt, bookedAt: at } }
  })
  // So that every task comes to the end of the others' instants.
  const last = [0, 1, 2].map((i): StreamEvent => {
    const keys = { buyer: `b${i}`, city: `c${i % 2}`, shop: `s${i}` }
    return { stream: 'orders', values: { id: `last${i}`, ...keys, amount: 1, at: at + minute } }
  })
  return [...drawn, ...last]
}

/** An event as the rule sees it: where it stands in canonical order, and when it counts. */
interface Placed {
  readonly stream: string
  readonly values: StreamEvent['values']
  readonly place: readonly [time: number, stream: number, partition: number, offset: number]
  readonly countsAt: number
}

function placed(events: readonly StreamEvent[], streams: readonly string[]): Placed[] {
  const offsets = new Map<string, number>()
  return events.map(({ stream: name, values }) => {
    const partition = partitionOf(Buffer.from((name === 'weather' ? values.city : values.buyer) as string), partitions)
    const offset = offsets.get(`${name} ${partition}`) ?? 0
    offsets.set(`${name} ${partition}`, offset + 1)
    const time = (values.at ?? values.bookedAt) as number
    const countsAt = (values.visitAt ?? time) as number
    return { stream: name, values, place: [time, streams.indexOf(name), partition, offset], countsAt }
  })
}

function isAfter(a: readonly number[], b: readonly number[]): boolean {
  const first = a.findIndex((part, i) => part !== b[i])
  return first !== -1 && a[first]! > b[first]!
}

/** The rule, word for word; `knowsAll`: with what became known later. */
function byRule(
  all: readonly Placed[],
  at: Placed['place'],
  window: Counted,
  key: string,
  knowsAll = false,
): number | null {
  const [t] = at
  const { of, by, over, lag = 0, kind } = window
  const until = t - lag * minute
  const counted = all.filter(({ stream: name, values, place, countsAt }) => {
    if (name !== of.name || values[by] !== key) return false
    if (countsAt <= until - over * minute || countsAt > until) return false
    if (isAfter([countsAt, ...place.slice(1)], at)) return false
    return knowsAll || !isAfter(place, at)
  })
  const rains = counted.map(({ values }) => values.rain as number)
  if (kind === 'max') return rains.length === 0 ? null : Math.max(...rains)
  // Whole numbers of 2^-53 are added exactly, and rounded once.
  return kind === 'sum'
    ? Number(rains.reduce((total, rain) => total + BigInt(rain * 2 ** 53), 0n)) / 2 ** 53
    : counted.length
}

async function serveFeatures({ plan, store }: PipelineRunner) {
  const app = createHttpServer({ log: { info: () => undefined, warn: () => undefined, error: () => undefined } })
  onTestFinished(() => app.close())
  const partitionFor = (key: string) => partitionOf(Buffer.from(key), partitions)
  const reader = createFeatureReader({
    plan,
    store,
    partitions,
    partitionOf: partitionFor,
    hashKey: fixedHashKey,
    frontierOf,
  })
  await app.register(featureRoutes(reader, plan, { nowMs: () => startMs }))
  return async (entityName: string, key: string, query: string) => {
    const reply = await app.inject(`/features/${entityName}/${key}?${query}`)
    expect([reply.statusCode, reply.statusCode === 200 ? '' : reply.body]).toEqual([200, ''])
    return reply.json() as { status: string; place: string | null; features: Record<string, number | null> }
  }
}

async function auditRun(runner: PipelineRunner) {
  const logs = new Map<string, LogRecord[][]>()
  for (const { topic } of runner.plan.topics) logs.set(topic, await runner.records(topic))
  const partitionsOf = (topic: string) => logs.get(topic)!.length
  return auditLogs({ plan: runner.plan, partitionsOf, sample: 1, scoreOf: () => null }, (topic) => logs.get(topic)!)
}

const seeds = Array.from({ length: howMany({ always: 6, nightly: 100 }) }, (_, i) => i + 1)

test.each(seeds)('events of whole minutes, seed %i', async (seed) => {
  const events = minuteEvents(createRandom(seed), 120)
  const runner = await createPipelineRunner({ pipeline, partitions, startMs })
  await runner.sendAll(events)
  await runner.run()
  const predictions = await runner.predictions()
  expect(predictions.length).toBe(events.filter(({ stream: name }) => name === 'orders').length)

  expect(predictedVectors(predictions)).toEqual(replayedVectors(replayed(runner.plan, partitions, events)))
  const { counts, differences } = await auditRun(runner)
  expect([differences, counts.skipped]).toEqual([[], {}])
  expect(counts.checked).toBeGreaterThan(predictions.length)

  const streams = runner.plan.streams.map(({ name }) => name)
  const all = placed(events, streams)
  const serve = await serveFeatures(runner)
  const names = Object.keys(windows)
  for (const prediction of predictions) {
    const own = all.find(({ values }) => values.id === prediction.id)!
    const expected = names.map((name) =>
      byRule(all, own.place, windows[name]!, own.values[windows[name]!.by] as string),
    )
    expect([prediction.id, bitsOf(prediction.features)]).toEqual([prediction.id, bitsOf(expected.map((v) => v ?? NaN))])
    const served = await servedAsOf(serve, prediction, own)
    expect([prediction.id, names.map((name) => served[name])]).toEqual([prediction.id, expected])
  }
  await expectThroughInstants(serve, all)
})

/** Of all three entities: by the event's id, and where no order leaves a fact, by the place that its prediction has. */
async function servedAsOf(
  serve: Awaited<ReturnType<typeof serveFeatures>>,
  { id, time, origin }: ReadPrediction,
  { values }: Placed,
): Promise<Record<string, number | null>> {
  const place = `${new Date(time).toISOString()},orders,${origin.partition},${origin.offset}`
  const found: Record<string, number | null> = {}
  for (const by of ['buyer', 'city', 'shop'] as const) {
    const answer = await serve(by, values[by] as string, by === 'city' ? `place=${place}` : `asOf=${id}`)
    expect([answer.place, answer.status]).toEqual([place, 'complete'])
    Object.assign(found, answer.features)
  }
  return found
}

/** Everything of an instant counts: also what comes after every order of it, and with knowledge now what became known later. */
async function expectThroughInstants(serve: Awaited<ReturnType<typeof serveFeatures>>, all: readonly Placed[]) {
  const instants = [...new Set(all.map(({ place }) => place[0]))]
  for (const instant of instants) {
    for (const knowledge of ['now', 'then'] as const) {
      const answer = await serve('shop', 's1', `through=${instant}&knowledge=${knowledge}`)
      const end = [instant, Infinity, Infinity, Infinity] as const
      for (const [name, window] of Object.entries(windows)) {
        if (window.by !== 'shop') continue
        const expected = byRule(all, end, window, 's1', knowledge === 'now')
        expect([instant, knowledge, name, answer.features[name]]).toEqual([instant, knowledge, name, expected])
      }
    }
  }
}
