/**
 * The card-fraud pipeline under the first hours of the benchmark on real servers, in a namespace of its own: real processes start and stop,
 * and in the end the committed predictions are compared with those of the pure core. For the tests of recovery.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished } from 'vitest'
import { watchTopics } from '../../cli/environment/watch-topics.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import { generateHandbook, handbookEvents } from '../../pipelines/handbook.ts'
import { createReplay } from '../../processors/replay.ts'
import type { Broker } from '../../runtime/broker.ts'
import { systemClock } from '../../runtime/clock.ts'
import { parseConfig } from '../../runtime/config/config.ts'
import { kafkaSecurity } from '../../runtime/config/security.ts'
import { createKafkaBroker } from '../../runtime/kafka/broker.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { Prediction } from '../../schemas/wire/records.ts'
import { type Command, startCommand } from './command.ts'

export const definition = 'pipelines/card-fraud.ts'
export const listening = 'Features, health and metrics: http'
export const partitions = 4
const firstDay = Date.UTC(2018, 3, 1)

export interface Received {
  readonly prediction: Prediction
  readonly receivedMs: number
}

export interface HandbookRunOptions {
  readonly name: string
  readonly kafkaBrokers: string
  readonly redisUrl: string
  /** Of event time from the first event on; a day has 9,488 transactions. */
  readonly hours: number
  readonly settings?: Readonly<Record<string, string>>
}

export interface HandbookRun {
  readonly plan: Plan
  readonly environment: Readonly<Record<string, string>>
  /** For reading only; not for what runs while a test kills Kafka. */
  readonly broker: Broker
  /** Consumer group of the processes. */
  readonly group: string
  readonly expected: ReadonlyMap<string, Float64Array>
  /** Everything that was committed since `watch`, in the order of receipt. */
  readonly received: readonly Received[]
  /** A production process; resolves when it listens. */
  start(worker: string, settings?: Readonly<Record<string, string>>, ...more: string[]): Promise<Command>
  /** Sends hours of event time at a pace, events a second; all of them by default. */
  produceHours(rate: number, hours?: { readonly from: number; readonly until: number }): Command
  /** Hands over what is committed, from the start of the topic on. Once a test. */
  watch(): Promise<void>
  untilPredicted(count: number, withinMs?: number): Promise<void>
  /** Nothing lost, doubled or different from a quiet run: all there is, read again from the start of the topic. */
  expectQuiet(): Promise<void>
}

let runs = 0

export function createHandbookRun(options: HandbookRunOptions): HandbookRun {
  const { kafkaBrokers, redisUrl, hours, settings = {} } = options
  const namespace = `${options.name}-${process.pid}-${++runs}`
  const environment = {
    KAFKA_BROKERS: kafkaBrokers,
    REDIS_URL: redisUrl,
    MILLRACE_NAMESPACE: namespace,
    MILLRACE_HTTP_PORT: '0',
    MILLRACE_PARTITIONS: String(partitions),
    ...settings,
  }
  const plan = compile(cardFraud, { namespace })
  const expected = quietVectors(hours)
  const received: Received[] = []
  const security = kafkaSecurity(parseConfig(environment))
  const openBroker = () =>
    createKafkaBroker({ brokers: kafkaBrokers.split(','), clientId: 'millrace-test', ...security })
  const broker = openBroker()
  onTestFinished(() => broker.close())

  async function watchInto(onPrediction: (prediction: Prediction, receivedMs: number) => void, from: Broker) {
    const watched = await watchTopics({
      broker: from,
      plan,
      clock: systemClock,
      from: 'start',
      onPrediction,
      onRejection: ({ problems }) => expect.fail(`rejected: ${JSON.stringify(problems)}`),
    })
    return watched
  }

  async function expectQuiet(): Promise<void> {
    // Read by a client of its own: the reading one may have given up while Kafka was down.
    const own = openBroker()
    const all: Prediction[] = []
    const watched = await watchInto((prediction) => void all.push(prediction), own)
    try {
      const isThere = () => new Set(all.map(({ id }) => id)).size >= expected.size
      await eventually(isThere, `${expected.size} predictions`, () => all.length, 60_000)
      // What is committed twice would follow.
      await sleep(1_000)
    } finally {
      await watched.close()
      await own.close()
    }
    expect(comparedWith(expected, all)).toEqual({ lost: [], doubled: [], differing: [] })
  }

  return {
    plan,
    environment,
    broker,
    group: `${namespace}.${plan.name}`,
    expected,
    received,
    async start(worker, more = {}, ...args) {
      const command = startCommand(['run', definition, '--create-topics', ...args], {
        ...environment,
        MILLRACE_WORKER: worker,
        ...more,
      })
      await command.printed(listening)
      return command
    },
    produceHours(rate, { from, until } = { from: 0, until: hours }) {
      const at = (hour: number) => new Date(firstDay + hour * 3_600_000).toISOString()
      const source = ['--source', 'handbook', '--from', at(from), '--until', at(until), '--rate', String(rate)]
      return startCommand(['produce', definition, ...source], environment)
    },
    async watch() {
      const watched = await watchInto((prediction, receivedMs) => received.push({ prediction, receivedMs }), broker)
      onTestFinished(() => watched.close())
    },
    untilPredicted: (count, withinMs = 60_000) =>
      eventually(
        () => received.length >= count,
        `${count} predictions`,
        () => received.length,
        withinMs,
      ),
    expectQuiet,
  }
}

/** Ids; the same id may be doubled and differ. */
export function comparedWith(expected: ReadonlyMap<string, Float64Array>, predictions: readonly Prediction[]) {
  const counts = new Map<string, number>()
  for (const { id } of predictions) counts.set(id, (counts.get(id) ?? 0) + 1)
  const isEqual = ({ id, features }: Prediction) => {
    const vector = expected.get(id)
    return vector !== undefined && features.every((value, i) => Object.is(value, vector[i]))
  }
  return {
    lost: [...expected.keys()].filter((id) => !counts.has(id)),
    doubled: [...counts].filter(([, count]) => count > 1).map(([id]) => id),
    differing: predictions.filter((prediction) => !isEqual(prediction)).map(({ id }) => id),
  }
}

/** What the pure core gives for the first hours of the benchmark, by id. */
export function quietVectors(hours: number): ReadonlyMap<string, Float64Array> {
  const replay = createReplay(compile(cardFraud), { partitions })
  const expected = new Map<string, Float64Array>()
  for (const { stream, values } of handbookEvents(generateHandbook(), { untilSecond: hours * 3_600 })) {
    for (const { id, vector } of replay.push(stream === 'transactions' ? 0 : 1, values)) expected.set(id, vector)
  }
  for (const { id, vector } of replay.flush()) expected.set(id, vector)
  return expected
}

export async function eventually(
  holds: () => boolean | Promise<boolean>,
  what: string,
  shown: () => unknown,
  withinMs = 60_000,
): Promise<void> {
  for (const began = Date.now(); !(await holds()); await sleep(20)) {
    if (Date.now() - began > withinMs) throw new Error(`waited in vain for ${what}: ${String(shown())}`)
  }
}
