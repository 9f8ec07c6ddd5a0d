/** The warm-up takes any definition, ends when it is told to, and touches nothing of the process that it warms. */
import { Registry } from 'prom-client'
import { describe, expect, onTestFinished, test } from 'vitest'
import { startLiveProcess } from '../../cli/run/live-process.ts'
import { startWarmUp } from '../../cli/run/warm-up.ts'
import { createShutdown } from '../../cli/shutdown.ts'
import { createMemoryStore } from '../../feature-store/memory-store.ts'
import { drawnScorer } from '../../online-model/models/drawn-scorer.ts'
import { createRandom } from '../../online-model/models/random.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import { generatedEvents } from '../../processors/in-process/generated-events.ts'
import { openInProcessRun } from '../../processors/in-process/in-process-run.ts'
import { systemClock } from '../../runtime/clock.ts'
import { parseConfig } from '../../runtime/config/config.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { createSchemaAwareBroker } from '../../runtime/schema-aware-broker.ts'
import {
  count,
  customModel,
  definePipeline,
  derive,
  entity,
  flag,
  integer,
  logisticRegression,
  max,
  mean,
  mlp,
  number,
  type Pipeline,
  prior,
  stream,
  text,
  timestamp,
} from '../../schemas/definition/definition.ts'
import type { ModelPlan } from '../../schemas/models/models.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { createRandom as seeded } from '../../testing/random.ts'
import { someOf } from '../support/nightly.ts'
import { randomPipeline } from '../support/random-pipelines.ts'

interface Chosen {
  readonly model?: ModelPlan
  readonly compute?: (value: number) => number
  readonly rest?: Partial<Pick<Pipeline, 'delivery' | 'predictionFormat'>>
}

/** Two streams with everything that fields declare, at the edges. */
function oddPipeline({ model = prior(), compute = (value) => value, rest = {} }: Chosen = {}) {
  const visits = stream('visits', {
    id: 'id',
    key: 'who',
    time: 'at',
    rekey: true,
    disorder: '2s',
    lateness: '2s',
    instants: { from: '2150-01-01', until: '2150-01-03' },
    fields: {
      id: text({ lengthMax: 3 }),
      who: text({ lengthMax: 1 }),
      where: text({ optional: true }),
      warm: number({ min: -1.5, max: -1.5 }),
      wide: number({ min: -1.7e308, max: 1.7e308 }),
      cents: number({ min: 0.5, max: 0.6, decimals: 1 }),
      pieces: integer({ max: -7 }),
      born: timestamp({ from: '1900-01-01', until: '1900-01-02' }),
      isNew: flag({ optional: true }),
      at: timestamp(),
    },
  })
  const reports = stream('reports', {
    id: 'id',
    key: 'who',
    time: 'at',
    instants: { from: '2150-01-01', until: '2150-01-03' },
    fields: { id: text(), who: text(), at: timestamp() },
  })
  const who = entity('who', [visits.fields.who, reports.fields.who])
  return definePipeline({
    name: 'odd',
    version: 1,
    scores: visits,
    features: {
      visits1d: count(visits, { by: who, over: '1d' }),
      wide1m: max(visits.fields.wide, { by: who, over: '1m' }),
      cents1h: mean(visits.fields.cents, { by: who, over: '1h' }),
      derived: derive([visits.fields.pieces], compute),
    },
    label: { from: reports, value: 1, otherwise: { value: 0, after: '1d' } },
    model,
    ...rest,
  })
}

/** No fields of its own beside id, key and time, and no window. */
function barePipeline() {
  const pings = stream('pings', {
    id: 'id',
    key: 'id',
    time: 'at',
    fields: { id: text(), at: timestamp() },
  })
  const pongs = stream('pongs', { id: 'id', key: 'id', time: 'at', fields: { id: text(), at: timestamp() } })
  const id = entity('id', [pings.fields.id])
  return definePipeline({
    name: 'bare',
    version: 1,
    scores: pings,
    features: { pings: count(pings, { by: id, over: '1s' }) },
    label: { from: pongs, value: 1, otherwise: { value: 0, after: '1d' } },
    model: logisticRegression(),
  })
}

const ownModel = (predictor: () => number) => customModel({ name: 'mine', fit: () => null, predictor: () => predictor })

const definitions: ReadonlyArray<readonly [string, Plan]> = [
  ['card-fraud', compile(cardFraud)],
  ['odd fields', compile(oddPipeline())],
  ['no fields', compile(barePipeline())],
  ['a perceptron', compile(oddPipeline({ model: mlp({ hidden: [3] }) }))],
  ['at least once', compile(oddPipeline({ rest: { delivery: 'at-least-once' } }))],
  ['JSON', compile(oddPipeline({ rest: { predictionFormat: 'json' } }))],
  ...someOf(
    Array.from({ length: 20 }, (_, seed) => seed),
    4,
  ).map((seed) => {
    const { plan } = randomPipeline(seeded(seed))
    return [`random definition ${seed}`, plan] as const
  }),
]

function take(plan: Plan, many: number) {
  const { events } = generatedEvents(plan, createRandom(1))
  return Array.from({ length: many }, () => events.next().value!)
}

describe.each(definitions)('%s', (_, plan) => {
  test('has generated events that are valid, but for the few that are not meant to be, and the same each time', () => {
    const events = take(plan, 2_000)
    const wrong = events.filter(({ stream, values }) => {
      const { codec } = plan.streams.find(({ name }) => name === stream)!
      return !codec.decode(codec.encode(values)).ok
    })
    expect(wrong.length).toBeGreaterThan(0)
    expect(wrong.length).toBeLessThan(40)
    expect(take(plan, 2_000)).toEqual(events)
  })

  test('is worked through to its predictions', async () => {
    const random = createRandom(1)
    const scorer = drawnScorer(plan, random, 3)
    const { events, untilMs } = generatedEvents(plan, random)
    const clock = { ...systemClock, nowMs: () => untilMs }
    const run = openInProcessRun({ plan, events, currentModel: () => scorer, mayHold: true, clock })
    for (let slice = 0; slice < 3; slice++) {
      run.prepare(300)
      await run.letIn()
    }
    await run.stop()
    expect(run.totals.predictions).toBeGreaterThan(100)
  })
})

test('windows of card-fraud slide, and events come late and twice', async () => {
  const plan = compile(cardFraud)
  const { events, untilMs } = generatedEvents(plan, createRandom(1))
  const clock = { ...systemClock, nowMs: () => untilMs }
  const run = openInProcessRun({ plan, events, currentModel: () => null, mayHold: true, clock })
  for (let slice = 0; slice < 30; slice++) {
    run.prepare(100)
    await run.letIn()
  }
  await run.stop()
  const { late, duplicates, rejected, predictions } = run.totals
  expect(predictions).toBeGreaterThan(1_500)
  for (const [name, found] of Object.entries({ late, duplicates, rejected })) expect(found, name).toBeGreaterThan(5)
  expect(rejected).toBeLessThan(100)
  const times = take(plan, 3_000).flatMap(({ values }) => (typeof values.at === 'number' ? values.at : []))
  const longest = Math.max(...plan.stages.map(({ entity }) => entity.retentionMs))
  expect(times.at(-1)! - times[0]!).toBeGreaterThan(longest)
})

function warmUpOf(pipeline: Pipeline, maxMs = 10_000) {
  const warnings: string[] = []
  const log = {
    info: () => undefined,
    warn: (_: object, line: string) => void warnings.push(line),
    error: () => undefined,
  }
  return { warnings, ...startWarmUp({ plan: compile(pipeline), afterMs: 0, maxMs, clock: systemClock, log }) }
}

describe('a warm-up', { timeout: 30_000 }, () => {
  test('that is ended before it begins is none', async () => {
    const { end, warnings } = warmUpOf(cardFraud)
    expect(await end()).toBe(0)
    await systemClock.sleep(20)
    expect(await end()).toBe(0)
    expect(warnings).toEqual([])
  })

  test('of 0 ms is none', async () => {
    expect(await warmUpOf(cardFraud, 0).end()).toBe(0)
  })

  test('goes on where functions throw and ids of a registry are not known', async () => {
    let calls = 0
    const compute = () => {
      calls++
      throw new Error('not today')
    }
    const { end, warnings } = warmUpOf(oddPipeline({ compute, rest: { predictionFormat: 'registry' } }))
    const compiled = calls
    while (calls < compiled + 20) await systemClock.sleep(5)
    expect(await end()).toBeGreaterThan(16)
    expect(warnings).toEqual([])
  })

  test('calls slow functions for a few events only', async () => {
    // Null while the definition is compiled, which calls them as well.
    let calls: number | null = null
    const compute = (value: number) => {
      if (calls === null) return value
      calls++
      for (const until = performance.now() + 20; performance.now() < until; );
      return value
    }
    const plan = compile(oddPipeline({ compute }))
    calls = 0
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined }
    const { end } = startWarmUp({ plan, afterMs: 0, maxMs: 2_000, clock: systemClock, log })
    while (calls === 0) await systemClock.sleep(5)
    await systemClock.sleep(2_000)
    await end()
    // 20 ms each in 2 s, and a slice for each of the two runs.
    expect(calls).toBeLessThanOrEqual(100 + 2 * 16)
  })

  test("does not call a model of the user's own", async () => {
    let calls = 0
    const model = ownModel(() => {
      calls++
      return 0.5
    })
    const { end } = warmUpOf(oddPipeline({ model }), 200)
    await systemClock.sleep(250)
    expect(await end()).toBeGreaterThan(0)
    expect(calls).toBe(0)
  })

  test('says where it failed, and does not fail', async () => {
    const plan = { ...compile(cardFraud), streams: [] }
    const lines: string[] = []
    const log = {
      info: () => undefined,
      warn: (_: object, line: string) => void lines.push(line),
      error: () => undefined,
    }
    const { end } = startWarmUp({ plan, afterMs: 0, maxMs: 1_000, clock: systemClock, log })
    while (lines.length === 0) await systemClock.sleep(5)
    expect(await end()).toBe(0)
    expect(lines).toEqual([expect.stringContaining('The warm-up ended early, and the first events will take longer: ')])
  })
})

test('a process that has warmed up has written, counted and logged nothing', async () => {
  const shutdown = createShutdown()
  onTestFinished(async () => void (await shutdown.close(10_000)))
  const plan = compile(cardFraud)
  const memory = createMemoryBroker({ clock: systemClock })
  // As slow as a group that begins: the warm-up has its time.
  const clusterId = async () => {
    await systemClock.sleep(1_000)
    return memory.admin.clusterId()
  }
  const broker = createSchemaAwareBroker(
    { ...memory, admin: { ...memory.admin, clusterId } },
    { schemas: plan.schemas, registry: null },
  )
  const store = createMemoryStore({ tailStepsMax: 0 })
  const lines: string[] = []
  const note = (_: object, line: string) => void lines.push(line)
  const live = await startLiveProcess({
    plan,
    config: parseConfig({ MILLRACE_HTTP_PORT: '0' }),
    broker,
    openStore: async () => store,
    registry: null,
    isCreatingTopics: true,
    isRebuild: false,
    clock: systemClock,
    log: { info: note, warn: note, error: note },
    random: () => 0.5,
    signal: new AbortController().signal,
    shutdown,
  })
  const metrics = await (await fetch(`${live.url}/metrics`)).text()
  expect(metrics).not.toMatch(/^millrace_(?:events|predictions|rejected|duplicates|restored)_total\{.*\} [1-9]/m)
  expect(Object.values(live.totals).every((total) => total === 0)).toBe(true)
  expect(lines.filter((line) => line !== 'tasks opened')).toEqual([])
  const topics = plan.topics.filter(({ role }) => !role.includes('schemas'))
  const ends = await memory.data.bounds(topics.map(({ topic }) => ({ topic, partition: 0 })))
  expect(
    Math.max(...ends.filter(({ topic }) => topic !== plan.stages[1]!.repartitionIn!.topic).map(({ end }) => end)),
  ).toBe(0)
  expect((await new Registry().getMetricsAsJSON()).length).toBe(0)
})
