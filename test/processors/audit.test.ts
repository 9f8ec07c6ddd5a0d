/** The audit of whole runs in memory: a correct run has no difference, in spite of faults, and a single wrong bit is found. */
import { describe, expect, test } from 'vitest'
import { auditLogs, createAudit, type LogsAudit } from '../../processors/audit/audit.ts'
import type { AuditOptions } from '../../processors/audit/audit-state.ts'
import { runReplayAudit } from '../../processors/audit/run-replay-audit.ts'
import { requeue } from '../../processors/recovery/requeue.ts'
import type { LogRecord } from '../../runtime/broker.ts'
import { recordsOf } from '../../runtime/records.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'
import {
  createPipelineRunner,
  type PipelineRunner,
  type RunnerOptions,
  type StartOptions,
  type StreamEvent,
} from '../../testing/index.ts'
import { oneByOne } from '../../testing/one-by-one.ts'
import { createRandom, type Random } from '../../testing/random.ts'
import { type ClicksOptions, click, clicksPipeline, clicksStartMs, refund } from '../support/clicks.ts'

const startMs = clicksStartMs + 6 * 3_600_000
const small = { batchEventsMax: 10, partitionBytesMax: 700 }

/** Some at the same instant, some repeated, some with an amount for which a feature throws. */
function someEvents(random: Random, count = 200): StreamEvent[] {
  let seconds = 0
  const events = Array.from({ length: count }, (_, i) => {
    seconds += random.below(4)
    const [user, page] = [`user${random.below(7)}`, `page${random.below(3)}`]
    if (random.below(5) === 0)
      return refund(`e${i - 1}`, user, seconds, { page, clickedAt: seconds - random.below(30) })
    const amount = random.below(15) === 0 ? 13 : random.below(1_000) / 100
    return click(`e${i}`, user, seconds, { page, amount: random.below(9) === 0 ? null : amount })
  })
  return events.flatMap((event) => (random.below(12) === 0 ? [event, event] : [event]))
}

/** Each sent up to so many seconds after its event time. */
function delayed(random: Random, events: readonly StreamEvent[], seconds: number): StreamEvent[] {
  const sent = events.map((event) => ({ event, at: (event.values.at as number) + random.below(seconds * 1_000) }))
  return sent.sort((a, b) => a.at - b.at).map(({ event }) => event)
}

interface Run extends Partial<RunnerOptions> {
  readonly seed?: number
  readonly clicks?: ClicksOptions
  readonly delaySeconds?: number
  readonly start?: StartOptions
}

async function run({ seed = 1, clicks = {}, delaySeconds = 0, start = {}, ...options }: Run): Promise<PipelineRunner> {
  const random = createRandom(seed)
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(clicks), partitions: 2, startMs, ...options })
  const events = delayed(random, someEvents(random), delaySeconds)
  const half = events.length >> 1
  const anywhere = (event: StreamEvent) => (clicks.rekey ? { ...event, partition: random.below(2) } : event)
  const worker = runner.start({ ...start, limits: { ...small, holdMaxMs: 50, ...start.limits } })
  const sendSlowly = async (list: readonly StreamEvent[]) => {
    for (let i = 0; i < list.length; i += 20) {
      await runner.sendAll(list.slice(i, i + 20).map(anywhere))
      await runner.clock.sleep(random.below(40))
    }
    await runner.clock.sleep(2_000)
  }
  await sendSlowly(events.slice(0, half))
  await requeueAll(runner)
  await sendSlowly(events.slice(half))
  await requeueAll(runner)
  await runner.clock.sleep(4_000)
  await worker.stop()
  return runner
}

/** Every second dead letter repaired, the others unchanged: those are rejected again. */
async function requeueAll(runner: PipelineRunner): Promise<void> {
  const { plan, broker, clock } = runner
  const producer = await broker.data.producer()
  const partitionsOf = () => 2
  const deadLetters = (await runner.rejections()).filter(({ problems }) => problems[0]!.code === 'function_threw')
  // One of each event: of two that arrive together, late, the second counts as a duplicate before the first is folded.
  const byBytes = new Map(
    deadLetters.map((deadLetter) => [deadLetter.key + deadLetter.value!.toString('hex'), deadLetter]),
  )
  const records = [...byBytes.values()].flatMap((deadLetter, i) => {
    const decoded = plan.scored.codec.decode(deadLetter.value)
    if (!decoded.ok) throw new Error('a dead letter of the fold can be read')
    const value = i % 2 === 0 ? plan.scored.codec.encode({ ...decoded.event, amount: 14 }) : deadLetter.value
    const back = requeue(deadLetter, value, { plan, partitionsOf, nowMs: clock.nowMs() })
    return back.ok ? [back.record] : []
  })
  expect(records.length).toBeGreaterThan(0)
  await producer.send(records)
  await clock.sleep(500)
}

async function audit(runner: PipelineRunner, options: Partial<AuditOptions> = {}): Promise<LogsAudit> {
  const logs = new Map<string, LogRecord[][]>()
  const { plan } = runner
  for (const { topic } of plan.topics) logs.set(topic, await runner.records(topic))
  const partitionsOf = (topic: string) => logs.get(topic)!.length
  return auditLogs({ plan, partitionsOf, sample: 1, scoreOf: () => null, ...options }, (topic) => logs.get(topic)!)
}

/** Against the replay, without the excuse of early releases. */
function replayCounts(runner: PipelineRunner) {
  const silent = { info: () => undefined, warn: () => undefined, error: () => undefined }
  return runReplayAudit({
    plan: runner.plan,
    broker: runner.broker.data,
    partitionsOf: () => 2,
    clock: runner.clock,
    log: silent,
    random: () => 1,
    sample: 1,
    hasEarly: async () => false,
    isOnce: true,
    signal: new AbortController().signal,
    onCompared: () => undefined,
  })
}

/** The plan with changed stages, under the same fingerprint. */
function broken(plan: Plan, change: (stage: StagePlan) => StagePlan): Plan {
  return { ...plan, stages: plan.stages.map(change) }
}

describe('a correct run', () => {
  test.each<[string, Run]>([
    ['of two stages', {}],
    ['of one stage', { clicks: { stages: 1 } }],
    ['with declared disorder', { clicks: { disorder: '5s' }, delaySeconds: 5 }],
    ['with late events', { delaySeconds: 60 }],
    ['with events too late', { clicks: { lateness: '20s' }, delaySeconds: 60 }],
    ['with events in any partition', { clicks: { rekey: ['clicks', 'refunds'], disorder: '5s' }, delaySeconds: 5 }],
    ['with late events in any partition', { clicks: { rekey: ['clicks'] }, delaySeconds: 60 }],
    ['with one stage and late events in any partition', { clicks: { rekey: ['clicks'], stages: 1 }, delaySeconds: 60 }],
  ])('%s has no difference', async (_, options) => {
    const runner = await run(options)
    const { counts, differences, pending } = await audit(runner)
    const predictions = await runner.predictions()
    expect(differences.slice(0, 3)).toEqual([])
    expect(pending).toBe(0)
    expect(counts.predictions).toBe(predictions.length)
    expect(counts.predictions).toBeGreaterThan(80)
    expect(counts.skipped).toEqual({})
    const replay = await replayCounts(runner)
    expect(replay.compared + (replay.skipped.requeued ?? 0)).toBe(predictions.length)
    expect(Object.keys(replay.skipped).filter((reason) => reason !== 'requeued')).toEqual([])
    expect(replay.differing.unexplained, JSON.stringify(replay)).toBe(0)
  })
})

test('transactions that are aborted, and answers that are lost, leave no difference', async () => {
  let transactions = 0
  const onTransact = async (stage: string) => {
    transactions++
    if (stage === 'begin' && transactions % 5 === 0) throw new PipelineError('transaction_aborted', 'aborted')
    if (stage === 'committed' && transactions % 7 === 0)
      throw new PipelineError('kafka_unreachable', 'the answer was lost')
  }
  const runner = await run({
    onTransact,
    delaySeconds: 20,
    start: { limits: { outageMaxMs: Number.POSITIVE_INFINITY } },
  })
  const { counts, differences } = await audit(runner)
  expect(differences.slice(0, 3)).toEqual([])
  expect(counts.predictions).toBe((await runner.predictions()).length)
  expect(counts.skipped).toEqual({})
})

describe('is found:', () => {
  test('a window that is a minute short, in the stage that reads it and nowhere else', async () => {
    const pipeline = clicksPipeline()
    const whole = await createPipelineRunner({ pipeline, partitions: 2, startMs })
    const plan = broken(whole.plan, (stage) => ({
      ...stage,
      entity: { ...stage.entity, slots: stage.entity.slots.map((slot) => ({ ...slot, overMs: slot.overMs - 30_000 })) },
    }))
    const user = broken(whole.plan, (stage) => (stage.index === 0 ? plan.stages[0]! : stage))
    const runner = await run({ start: { plan: user } })
    const { counts, differences } = await audit(runner)
    expect(counts.differing).toBeGreaterThan(10)
    expect(new Set(differences.map(({ stage }) => stage))).toEqual(new Set(['user']))
    expect(new Set(differences.map(({ name }) => name))).toContain('user_count_clicks_1m')
  })

  test('facts that are never inserted', async () => {
    const { plan } = await createPipelineRunner({ pipeline: clicksPipeline(), partitions: 2, startMs })
    const withoutFacts = broken(plan, (stage) => ({
      ...stage,
      entity: { ...stage.entity, layout: { ...stage.entity.layout, sources: stage.entity.layout.sources.slice(0, 1) } },
    }))
    const { differences } = await audit(await run({ start: { plan: withoutFacts } }))
    expect(new Set(differences.map(({ stage, name }) => `${stage} ${name}`))).toEqual(new Set(['page refunds']))
  })

  const model = { version: 'v1', score: (vector: ArrayLike<number>) => (vector[2]! % 7) / 7 }

  test('a score that the version does not compute, and nothing else', async () => {
    const runner = await run({ start: { currentModel: () => oneByOne(model) } })
    const right = await audit(runner, { scoreOf: (version) => (version === 'v1' ? model.score : null) })
    expect(right).toMatchObject({ differences: [], counts: { differing: 0, skipped: {} } })
    expect(right.counts.checked).toBeGreaterThan(100)
    const wrong = await audit(runner, { scoreOf: () => (vector) => model.score(vector) + Number.EPSILON })
    expect(new Set(wrong.differences.map(({ name }) => name))).toEqual(new Set(['score']))
    expect(wrong.counts.differing).toBe(right.counts.predictions)
    const unknown = await audit(runner)
    expect(unknown.counts.skipped).toEqual({ model_unknown: right.counts.predictions })
  })

  test('a shadow score that its challenger does not compute', async () => {
    const shadow = { version: 'v2', score: (vector: ArrayLike<number>) => (vector[2]! % 5) / 5 }
    const runner = await run({ start: { currentModel: () => ({ ...oneByOne(model), shadows: [oneByOne(shadow)] }) } })
    const scorers = new Map([
      ['v1', model.score],
      ['v2', shadow.score],
    ])
    const right = await audit(runner, { scoreOf: (version) => scorers.get(version) ?? null })
    expect(right).toMatchObject({ differences: [], counts: { differing: 0, skipped: {} } })
    scorers.set('v2', (vector) => shadow.score(vector) + Number.EPSILON)
    const wrong = await audit(runner, { scoreOf: (version) => scorers.get(version) ?? null })
    expect(new Set(wrong.differences.map(({ name }) => name))).toEqual(new Set(['shadow v2']))
    expect(wrong.counts.differing).toBe(right.counts.predictions)
  })

  test('one changed bit of one prediction', async () => {
    const runner = await run({})
    const [first] = await runner.predictions()
    const features = first!.features.map((value, i) => (i === 3 ? value + value * Number.EPSILON : value))
    const value = runner.plan.predictions.codec.encode({ ...first!, features })
    const producer = await runner.broker.data.producer()
    await producer.send([{ topic: runner.plan.predictions.topic, partition: 0, key: null, value }])
    const { differences } = await audit(runner)
    const { id, origin } = first!
    expect(differences).toMatchObject([
      { id, origin, name: 'userSum', logged: features[3], expected: first!.features[3] },
    ])
  })

  test('a prediction of an event that was never sent', async () => {
    const runner = await run({})
    const [first] = await runner.predictions()
    const origin = { partition: first!.origin.partition, offset: 1_000_000 }
    const value = runner.plan.predictions.codec.encode({ ...first!, origin })
    const producer = await runner.broker.data.producer()
    await producer.send([{ topic: runner.plan.predictions.topic, partition: 0, key: null, value }])
    expect((await audit(runner)).differences).toMatchObject([{ id: first!.id, origin, name: 'event' }])
  })
})

describe('what was not read', () => {
  test('is counted as skipped, not as equal', async () => {
    const runner = await run({})
    const [raw] = await runner.records('clicks')
    const from = raw![40]!.offset
    const startOf = ({ topic, partition }: { topic: string; partition: number }) =>
      topic === 'clicks' && partition === 0 ? from : 0
    const whole = await audit(runner)
    const logs = new Map<string, LogRecord[][]>()
    for (const { topic } of runner.plan.topics) logs.set(topic, await runner.records(topic))
    logs.set('clicks', [raw!.filter(({ offset }) => offset >= from), logs.get('clicks')![1]!])
    const options = { plan: runner.plan, partitionsOf: () => 2, sample: 1, scoreOf: () => null, startOf }
    const { counts, differences } = auditLogs(options, (topic) => logs.get(topic)!)
    expect(differences).toEqual([])
    expect(counts.skipped.before_read).toBeGreaterThan(40)
    expect(counts.checked + counts.skipped.before_read!).toBe(whole.counts.checked)
  })

  test('of entities outside the sample is not compared; the sample is the same for all streams', async () => {
    const runner = await run({})
    const whole = await audit(runner)
    const half = await audit(runner, { sample: 0.6 })
    expect(half.differences).toEqual([])
    expect(half.counts.checked).toBeGreaterThan(0)
    expect(half.counts.checked).toBeLessThan(whole.counts.checked)
    expect(half.pending).toBe(0)
  })
})

test('outputs are compared in turns, of every task about as many, with the verdicts of a comparison at once', async () => {
  const runner = await run({ seed: 5 })
  const { plan } = runner
  const whole = await audit(runner)
  const turns = createAudit({ plan, partitionsOf: () => 2, sample: 1, scoreOf: () => null })
  for (const { topic, role } of plan.topics) {
    if (role === 'models' || role === 'schemas' || role === 'raw schemas') continue
    const next = Number.POSITIVE_INFINITY
    for (const [partition, records] of (await runner.records(topic)).entries()) {
      turns.accept(
        { topic, partition, from: 0, records: recordsOf(records), next, stableEnd: next, end: next, age: 0 },
        0,
      )
    }
  }
  const pending = [turns.pending]
  while (turns.pending > 0 && pending.length < 1_000) {
    expect(turns.compareOutputs(Number.POSITIVE_INFINITY, 12)).toEqual([])
    pending.push(turns.pending)
  }
  const sizes = pending.slice(1).map((left, i) => pending[i]! - left)
  expect(Math.max(...sizes)).toBeLessThanOrEqual(12)
  expect(turns.counts).toEqual(whole.counts)
})
