/**
 * The comparison with the replay, over whole runs in memory: it finds exactly the predictions that differ from what `replay` gives for the
 * same events in event time, and says why.
 */
import { describe, expect, test } from 'vitest'
import type { ReplayDifference } from '../../processors/audit/compare-replay.ts'
import type { ReplayCounts } from '../../processors/audit/replay-counts.ts'
import type { ReplayLimits } from '../../processors/audit/replay-rounds.ts'
import { runReplayAudit } from '../../processors/audit/run-replay-audit.ts'
import type { BrokerData } from '../../runtime/broker.ts'
import type { Log } from '../../runtime/log.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'
import {
  bitsOf,
  createPipelineRunner,
  type PipelineRunner,
  predictedVectors,
  replayed,
  replayedVectors,
  type StartOptions,
  type StreamEvent,
} from '../../testing/index.ts'
import { createRandom, type Random } from '../../testing/random.ts'
import { type ClicksOptions, click, clicksPipeline, clicksStartMs, refund } from '../support/clicks.ts'

const startMs = clicksStartMs + 6 * 3_600_000
const silent: Log = { info: () => undefined, warn: () => undefined, error: () => undefined }

interface AuditedOptions {
  readonly sample?: number
  readonly hasEarly?: boolean
  readonly limits?: Partial<ReplayLimits>
  /** Called before each fetch with how many there were before; throws where it fails. */
  readonly beforeFetch?: (number: number) => void
}

function fetching(data: BrokerData, beforeFetch: (number: number) => void): BrokerData {
  let number = 0
  return {
    ...data,
    async fetcher() {
      const fetcher = await data.fetcher()
      return {
        ...fetcher,
        async fetch(from, limits) {
          beforeFetch(number++)
          return fetcher.fetch(from, limits)
        },
      }
    },
  }
}

async function audited(runner: PipelineRunner, options: AuditedOptions = {}) {
  const { sample = 1, hasEarly = false, limits, beforeFetch = () => undefined } = options
  const differences: ReplayDifference[] = []
  const counts: ReplayCounts = await runReplayAudit({
    plan: runner.plan,
    broker: fetching(runner.broker.data, beforeFetch),
    partitionsOf: () => 2,
    clock: runner.clock,
    log: silent,
    random: () => 1,
    sample,
    hasEarly: async () => hasEarly,
    limits: { clockSlackMs: 0, ...limits },
    isOnce: true,
    signal: new AbortController().signal,
    onCompared: (_, found) => void differences.push(...found),
  })
  return { counts, differences }
}

function someEvents(random: Random, count = 240): StreamEvent[] {
  let seconds = 0
  return Array.from({ length: count }, (_, i) => {
    seconds += random.below(4)
    const [user, page] = [`user${random.below(7)}`, `page${random.below(3)}`]
    if (random.below(4) === 0) return refund(`e${i}`, user, seconds, { page, clickedAt: seconds - random.below(30) })
    return click(`e${i}`, user, seconds, { page, amount: random.below(9) === 0 ? null : random.below(1_000) / 100 })
  })
}

const ofStream = (events: readonly StreamEvent[], name: string) => events.filter(({ stream }) => stream === name)

/** Sends the parts one after the other, each when what was sent before is predicted. */
async function sent(
  parts: ReadonlyArray<readonly StreamEvent[]>,
  clicks: ClicksOptions = {},
  { pauseMs = 3_000, ...start }: StartOptions & { readonly pauseMs?: number } = {},
) {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(clicks), partitions: 2, startMs })
  const worker = runner.start(start)
  for (const part of parts) {
    await runner.sendAll(part)
    await runner.clock.sleep(pauseMs)
  }
  await runner.clock.sleep(3_000)
  await worker.stop()
  return runner
}

/** Ids of the predictions that are not what the pure core gives for the events, here as they were sent, in event time. */
async function differingIds(runner: PipelineRunner, events: readonly StreamEvent[]): Promise<string[]> {
  const rank = (name: string) => runner.plan.streams.findIndex((stream) => stream.name === name)
  const inOrder = events
    .map((event, i) => ({ event, at: event.values.at as number, i }))
    .sort((a, b) => a.at - b.at || rank(a.event.stream) - rank(b.event.stream) || a.i - b.i)
    .map(({ event }) => event)
  const expected = new Map(replayedVectors(replayed(runner.plan, 2, inOrder)))
  const predicted = predictedVectors(await runner.predictions())
  expect(predicted.map(([id]) => id)).toEqual([...expected.keys()])
  return predicted.filter(([id, bits]) => expected.get(id) !== bits).map(([id]) => id)
}

const idsOf = (differences: readonly ReplayDifference[]) => [...new Set(differences.map(({ id }) => id))].sort()
const none = { late: 0, overtaken: 0, early: 0, unexplained: 0 }

describe('a run', () => {
  test.each<[string, ClicksOptions]>([
    ['of two stages', {}],
    ['of one stage', { stages: 1 }],
    ['with events in any partition', { rekey: ['clicks', 'refunds'] }],
  ])('%s, its events in order, has no difference', async (_, clicks) => {
    const events = someEvents(createRandom(1))
    const runner = await sent([events.slice(0, 120), events.slice(120)], clicks)
    const { counts, differences } = await audited(runner)
    expect(await differingIds(runner, events)).toEqual([])
    expect(differences).toEqual([])
    expect(counts).toMatchObject({ compared: ofStream(events, 'clicks').length, differing: none, skipped: {} })
    // All of it is within the hour of lateness that the streams declare.
    expect(counts.provisional).toBe(counts.compared)
  })

  test.each<[string, ClicksOptions]>([
    ['of two stages', {}],
    ['of one stage', { stages: 1 }],
  ])('%s, sent stream by stream: every prediction without its facts is found, as overtaken', async (_, clicks) => {
    const events = someEvents(createRandom(2))
    const parts = [ofStream(events, 'clicks'), ofStream(events, 'refunds')]
    const runner = await sent(parts, clicks)
    const { counts, differences } = await audited(runner)
    const wrong = await differingIds(runner, parts.flat())
    expect(wrong.length).toBeGreaterThan(100)
    expect(idsOf(differences)).toEqual(wrong)
    expect(counts).toMatchObject({ compared: parts[0]!.length, differing: { ...none, overtaken: wrong.length } })
    expect(counts.largest.overtaken).toMatchObject({ feature: 'refunds', live: 0, relative: 1 })
    expect(new Set(differences.map(({ feature }) => feature))).toEqual(new Set(['refunds']))
  })

  test('with events that are late within what the stream declares: found, as late', async () => {
    const events = someEvents(createRandom(3))
    const parts = [events.filter((_, i) => i % 10 !== 5), events.filter((_, i) => i % 10 === 5)]
    const runner = await sent(parts)
    const { counts, differences } = await audited(runner)
    const wrong = await differingIds(runner, parts.flat())
    expect(idsOf(differences)).toEqual(wrong)
    expect(wrong.length).toBeGreaterThan(20)
    expect(counts.differing).toEqual({ ...none, late: wrong.length })
  })

  test('that does what it must not is unexplained, or early where tasks have released events early', async () => {
    const { plan } = await createPipelineRunner({ pipeline: clicksPipeline(), partitions: 2, startMs })
    const short = (stage: StagePlan): StagePlan => ({
      ...stage,
      entity: { ...stage.entity, slots: stage.entity.slots.map((slot) => ({ ...slot, overMs: slot.overMs - 30_000 })) },
    })
    const wrongPlan: Plan = { ...plan, stages: plan.stages.map(short) }
    const events = someEvents(createRandom(4))
    const each = events.map((event) => [event])
    const runner = await sent(each, {}, { plan: wrongPlan, pauseMs: 20 })
    const wrong = await differingIds(runner, events)
    expect(wrong.length).toBeGreaterThan(50)
    expect((await audited(runner)).counts.differing).toEqual({ ...none, unexplained: wrong.length })
    expect((await audited(runner, { hasEarly: true })).counts.differing).toEqual({ ...none, early: wrong.length })
  })

  test('whose windows hold an id that was sent again is no difference where the first one is before the window', async () => {
    const seconds = [0, 200, 400, 700]
    const events = ['first', 'other', 'first', 'last'].map((id, i) => click(id, 'user', seconds[i]!))
    const runner = await sent(events.map((event) => [event]))
    expect(await differingIds(runner, events)).toEqual([])
    const { counts, differences } = await audited(runner, { limits: { predictionsMax: 1 } })
    expect(differences).toEqual([])
    expect(counts).toMatchObject({ compared: 3, differing: none, skipped: {} })
  })
})

describe('bounds', () => {
  test('of facts halve a round, and what needs more alone is skipped with its reason', async () => {
    const events = someEvents(createRandom(2))
    const runner = await sent([ofStream(events, 'clicks'), ofStream(events, 'refunds')])
    const whole = await audited(runner)
    const halved = await audited(runner, { limits: { factsMax: 200, predictionsMax: 50, chunkOffsets: 7 } })
    expect(halved.counts.differing).toEqual(whole.counts.differing)
    expect(halved.counts.compared).toBe(whole.counts.compared)
    const skipped = await audited(runner, { limits: { factsMax: 10 } })
    expect(skipped.counts.skipped.too_many_facts).toBeGreaterThan(100)
    expect(skipped.counts.compared + skipped.counts.skipped.too_many_facts!).toBe(whole.counts.compared)
  })

  test('of the sample: each prediction of a sampled entity, and no other', async () => {
    const events = someEvents(createRandom(2))
    const runner = await sent([ofStream(events, 'clicks'), ofStream(events, 'refunds')])
    const whole = await audited(runner)
    const part = await audited(runner, { sample: 0.6 })
    expect(part.counts.compared).toBeGreaterThan(0)
    expect(part.counts.compared).toBeLessThan(whole.counts.compared)
    const keys = new Set(idsOf(part.differences))
    expect(part.differences).toEqual(whole.differences.filter(({ id }) => keys.has(id)))
  })
})

/** As many fetches as one audit makes. */
async function fetchesOf(runner: PipelineRunner): Promise<number> {
  let fetches = 0
  await audited(runner, { beforeFetch: () => void fetches++ })
  return fetches
}

describe('meanwhile', () => {
  test('an outage, at any fetch, changes no count', async () => {
    const runner = await sent([someEvents(createRandom(6), 60)])
    const [first] = await runner.predictions()
    const { predictions } = runner.plan
    const value = predictions.codec.encode({ ...first!, fingerprint: '0'.repeat(first!.fingerprint.length) })
    const producer = await runner.broker.data.producer()
    await producer.send([{ topic: predictions.topic, partition: 0, key: null, value }])
    const { counts } = await audited(runner)
    expect(counts.skipped).toEqual({ other_definition: 1 })
    const fetches = await fetchesOf(runner)
    expect(fetches).toBeGreaterThanOrEqual(4)
    for (let failing = 0; failing < fetches; failing++) {
      const disturbed = await audited(runner, {
        beforeFetch(number) {
          if (number === failing) throw new PipelineError('kafka_unreachable', 'no broker answers')
        },
      })
      expect(disturbed.counts).toEqual(counts)
    }
  })

  test.each([0.5, 1])(
    'retention that removes %d of the clicks, at any fetch, leaves nothing unexplained',
    async (share) => {
      const events = someEvents(createRandom(6), 120)
      const fetches = await fetchesOf(await sent([events]))
      const { topic } = (await sent([])).plan.scored
      for (let removing = 0; removing < fetches; removing++) {
        const runner = await sent([events])
        const ends = await runner.broker.data.bounds([0, 1].map((partition) => ({ topic, partition })))
        const { counts } = await audited(runner, {
          beforeFetch(number) {
            if (number !== removing) return
            for (const { partition, end } of ends) runner.broker.truncate(topic, partition, Math.floor(end * share))
          },
        })
        const { before_read = 0, event_unread = 0 } = counts.skipped
        expect(counts.differing).toEqual(none)
        expect(counts.compared + before_read + event_unread).toBe(ofStream(events, 'clicks').length)
      }
    },
  )

  test('of predictions whose events were removed the others of their partition are looked at', async () => {
    const events = someEvents(createRandom(6), 120)
    const runner = await sent([events])
    const { topic } = runner.plan.scored
    const ends = await runner.broker.data.bounds([0, 1].map((partition) => ({ topic, partition })))
    for (const { partition } of ends) runner.broker.truncate(topic, partition, 5)
    const { counts } = await audited(runner)
    expect(counts.skipped.event_unread).toBe(10)
  })
})

test('a value that differs in one bit differs', async () => {
  const events = someEvents(createRandom(5))
  const runner = await sent([events])
  const [first] = await runner.predictions()
  const features = first!.features.map((value, i) => (i === 3 ? value + value * Number.EPSILON : value))
  expect(bitsOf(features)).not.toBe(bitsOf(first!.features))
  const value = runner.plan.predictions.codec.encode({ ...first!, features })
  const producer = await runner.broker.data.producer()
  await producer.send([{ topic: runner.plan.predictions.topic, partition: 0, key: null, value }])
  const { counts, differences } = await audited(runner)
  expect(counts.differing).toEqual({ ...none, unexplained: 1 })
  expect(differences).toMatchObject([
    { id: first!.id, feature: 'userSum', live: features[3], replay: first!.features[3] },
  ])
})
