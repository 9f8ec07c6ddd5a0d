/** Random definitions and random streams for them, each from a seed: input of the property test of features. */

import { partitionOf } from '../../runtime/partition.ts'
import {
  type Aggregate,
  type AnyStream,
  count,
  definePipeline,
  derive,
  entity,
  type Feature,
  integer,
  logisticRegression,
  max,
  mean,
  min,
  type NumericField,
  number,
  stream,
  sum,
  text,
  timestamp,
} from '../../schemas/definition/definition.ts'
import type { Duration } from '../../schemas/kernel/duration.ts'
import type { EventValues } from '../../schemas/kernel/event.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { Random } from '../../testing/random.ts'

/** Around this time are the events of all streams. */
export const eventsFromMs = Date.UTC(2024, 0, 1)

export interface RandomPipeline {
  readonly plan: Plan
  readonly partitions: number
  /** Event time at which its streams begin. */
  readonly fromMs: number
  /** Of raw topics that are rekeyed. */
  readonly rawPartitions: number
}

const overs: readonly Duration[] = ['1s', '3s', '10s', '30s', '2m', '10m']
const lags: readonly Duration[] = ['0s', '0s', '0s', '1s', '5s', '1m']

/** One to three stages; purchases are scored, reports count at their own time or at an earlier one. */
export function randomPipeline(random: Random): RandomPipeline {
  const chance = (percent: number) => random.below(100) < percent
  // No more disorder than lateness: a pair each.
  const order = () => {
    const [disorder, lateness] = random.pick([
      ['0s', '5s'],
      ['0s', '5m'],
      ['2s', '5s'],
      ['2s', '1h'],
      ['20s', '30s'],
      ['20s', '1h'],
    ] as const)
    return { disorder, lateness }
  }
  // Time has no special instant: the same before 1970, across it, and now.
  const fromMs = random.pick([eventsFromMs, eventsFromMs, Date.UTC(1954, 3, 1), -7_500])
  const common = { ahead: '3650d', rekey: false, instants: { from: '0001-01-01' } } as const
  const purchases = stream('purchases', {
    ...common,
    id: 'id',
    key: 'buyer',
    time: 'at',
    ...order(),
    rekey: chance(20),
    fields: {
      id: text(),
      buyer: text(),
      shop: text(),
      item: text(),
      money: number({ decimals: 2, optional: true }),
      wild: number({ optional: true }),
      pieces: integer({ optional: true }),
      at: timestamp(),
    },
  })
  const reports = stream('reports', {
    ...common,
    id: 'id',
    key: 'buyer',
    time: 'reportedAt',
    ...order(),
    rekey: chance(20),
    fields: {
      id: text(),
      buyer: text(),
      shop: text(),
      item: text(),
      lost: number({ decimals: 2, optional: true }),
      boughtAt: timestamp(),
      reportedAt: timestamp(),
    },
  })
  const names = ['buyer', 'shop', 'item'] as const
  const entities = names
    .slice(0, 1 + random.below(3))
    .map((name) => ({ by: entity(name, [purchases.fields[name], reports.fields[name]]), isDated: chance(60) }))
  const { money, wild, pieces, at } = purchases.fields
  const window = ({ by, isDated }: (typeof entities)[number], of: AnyStream) => ({
    by,
    over: random.pick(overs),
    lag: random.pick(lags),
    ...(isDated && of === reports ? { at: reports.fields.boughtAt } : {}),
  })
  const aggregateOf = (entity: (typeof entities)[number]): Aggregate => {
    if (chance(30)) return count(purchases, window(entity, purchases))
    if (chance(35)) return count(reports, window(entity, reports))
    const of = random.pick([sum, mean, min, max])
    const field = random.pick<NumericField>([money, wild, pieces, at, reports.fields.lost, reports.fields.boughtAt])
    return of(field, window(entity, field.stream))
  }
  const features: Record<string, Feature> = {
    money,
    // A bad event: every value of 13 makes it throw, and 17 is infinite.
    guarded: derive([money], (value) => {
      if (value === 13) throw new Error('unlucky')
      return value === 17 ? Number.POSITIVE_INFINITY : value
    }),
  }
  entities.forEach((entity, stage) => {
    const some = Array.from({ length: 1 + random.below(4) }, () => aggregateOf(entity))
    // The first entity is that of the scored stream's key only if something is counted by it.
    some.forEach((aggregate, i) => {
      features[`f${stage}_${i}`] = aggregate
    })
    if (chance(25)) {
      // How often it fails depends on what was counted before it.
      features[`crowded${stage}`] = derive([count(purchases, window(entity, purchases))], (others) => {
        if (others === 9) throw new Error('crowded')
        return others / 7
      })
    }
  })
  const pipeline = definePipeline({
    name: 'random',
    version: 1,
    scores: purchases,
    features,
    label: { from: reports, value: 1, otherwise: { value: 0, after: '1h' } },
    model: logisticRegression(),
  })
  const partitions = 1 + random.below(3)
  const plan = compile(pipeline)
  return {
    plan,
    partitions,
    fromMs,
    rawPartitions: plan.streams.some(({ rekey }) => rekey) ? 1 + random.below(3) : partitions,
  }
}

/** A record on its way into a raw topic, in the order in which they are sent. */
export interface Sent {
  readonly topic: string
  readonly partition: number
  readonly key: Buffer
  readonly value: Buffer
  /** Id of the event; null where the record is none. */
  readonly id: string | null
}

/**
 * 5 to 60 events of few entities: many of an instant, some repeated, some out of order and some too late, some that cannot be read, that
 * are in a wrong partition or that a feature fails for. `hot`: so many of one entity instead.
 */
export function randomStream(
  random: Random,
  { plan, partitions, rawPartitions, fromMs }: RandomPipeline,
  hot = 0,
): Sent[] {
  const chance = (percent: number) => random.below(100) < percent
  const length = hot > 0 ? hot : 5 + random.below(chance(10) ? 56 : 20)
  const [entities, stepMs] = [hot > 0 ? 1 : 1 + random.below(4), random.pick([200, 1_000, 4_000, 60_000])]
  // Most streams keep to the disorder that they declare; the others are late as it comes.
  const isTidy = chance(60)
  const events: Array<{ stream: number; values: EventValues; sentAtMs: number }> = []
  let time = fromMs
  for (let i = 0; i < length; i++) {
    if (!chance(30)) time += random.below(4) * stepMs
    const name = (of: string) => `${of}${random.below(entities)}`
    const keys = { buyer: name('b'), shop: name('s'), item: name('i') }
    const { disorderMs } = plan.streams[0]!
    if (chance(70)) {
      const values = {
        id: `p${chance(6) ? random.below(i + 1) : i}`,
        ...keys,
        money: chance(15) ? null : chance(6) ? random.pick([13, 17]) : (random.below(100_000) - 30_000) / 100,
        wild: chance(20) ? null : wildNumber(random),
        pieces: chance(20) ? null : random.below(2 ** 31) * random.pick([1, 1, 2 ** 21]) * random.pick([1, -1]),
        at: time,
      }
      const delayMs = isTidy ? random.below(disorderMs + 1) : chance(25) ? random.below(40) * stepMs : 0
      events.push({ stream: 0, values, sentAtMs: time + delayMs })
    } else {
      const values = {
        id: `p${random.below(i + 3)}`,
        ...keys,
        lost: chance(20) ? null : random.below(100_000) / 100,
        boughtAt: time - random.below(20) * stepMs + (chance(4) ? 30 * stepMs : 0),
        reportedAt: time,
      }
      const late = isTidy
        ? random.below((plan.streams[1]?.disorderMs ?? 0) + 1)
        : chance(25)
          ? random.below(40) * stepMs
          : 0
      events.push({ stream: 1, values, sentAtMs: time + late })
    }
  }
  events.sort((a, b) => a.sentAtMs - b.sentAtMs)
  return events.flatMap(({ stream: index, values }): Sent[] => {
    const stream = plan.streams[index]
    // Of reports nothing may be counted; then there is no such input.
    if (!stream) return []
    const key = Buffer.from(values[stream.keyField] as string)
    const belongs = partitionOf(key, partitions)
    const partition = stream.rekey ? random.below(rawPartitions) : chance(2) ? random.below(partitions) : belongs
    const id = values[stream.idField] as string
    const whole = { topic: stream.topic, partition, key, value: stream.codec.encode(values), id }
    const sent = chance(4) ? [whole, whole] : [whole]
    return chance(2) ? [{ ...whole, value: Buffer.from('{'), id: null }, ...sent] : sent
  })
}

function wildNumber(random: Random): number {
  const size = 10 ** (random.below(36) - 18) * random.pick([1, 1, 1, 2 ** 500, 2 ** -500, 2 ** 512])
  return random.pick([0, -0, 1, -1, random.next() * size, -random.next() * size])
}
