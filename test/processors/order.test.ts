/** Order of events: equal times, disorder, lateness, labels that count at another time, repeated ids; against the pure core and by hand. */
import { describe, expect, test } from 'vitest'
import type { WorkerLimits } from '../../processors/worker-limits.ts'
import { partitionOf } from '../../runtime/partition.ts'
import { orderOf } from '../../schemas/kernel/canonical-order.ts'
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
import { click, clicksPipeline, clicksStartMs, refund } from '../support/clicks.ts'

const startMs = clicksStartMs + 6 * 3_600_000
const small = { batchEventsMax: 7, partitionBytesMax: 800 }
const users = Array.from({ length: 5 }, (_, i) => `user${i}`)

function clicksIn(events: readonly StreamEvent[]): number {
  return events.filter(({ stream }) => stream === 'clicks').length
}

async function scoreAll(runner: PipelineRunner, count: number, limits: Partial<WorkerLimits> = small) {
  const worker = runner.start({ limits })
  await worker.until('all are scored', () => worker.metrics.totals.predictions >= count)
  await runner.clock.sleep(2_000)
  await worker.stop()
  return worker
}

async function byId(runner: PipelineRunner): Promise<Map<string, ReadPrediction>> {
  return new Map((await runner.predictions()).map((prediction) => [prediction.id, prediction]))
}

describe('events of the same instant', () => {
  test.each([
    [1, 11],
    [2, 12],
    [3, 13],
  ])('are put in order by stream, partition and offset: %i partitions, seed %i', async (partitions, seed) => {
    const random = createRandom(seed)
    let seconds = 0
    const events = Array.from({ length: 250 }, (_, i) => {
      if (random.below(6) === 0) seconds += random.below(8)
      const [user, page] = [random.pick(users), random.pick(['home', 'list'])]
      return random.below(4) === 0
        ? refund(`e${i}`, user, seconds, { page })
        : click(`e${i}`, user, seconds, { page, amount: i })
    }).filter(({ values }) => values.amount !== 13 && values.amount !== 17)
    const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions, startMs })
    await runner.sendAll(events)
    const { metrics } = await scoreAll(runner, clicksIn(events))
    expect(predictedVectors(await runner.predictions())).toEqual(
      replayedVectors(replayed(runner.plan, partitions, events)),
    )
    expect(metrics.totals).toMatchObject({ late: 0, releasedEarly: 0, rejected: 0 })
  })
})

describe('events out of order', () => {
  /** Times are unique, so that order does not depend on partitions and offsets. */
  function shuffled(random: Random, count: number, withinSeconds: number) {
    const events = Array.from({ length: count }, (_, i) =>
      click(`e${i}`, random.pick(users), i, { amount: i / 4 }),
    ).filter(({ values }) => values.amount !== 13 && values.amount !== 17)
    const arrival = new Map(events.map((event, i) => [event, i + random.next() * withinSeconds]))
    return { events, sent: [...events].sort((a, b) => arrival.get(a)! - arrival.get(b)!) }
  }

  test.each([
    [1, 21],
    [2, 22],
  ])(
    'within the declared disorder are put in order before they count: %i partitions, seed %i',
    async (partitions, seed) => {
      const { events, sent } = shuffled(createRandom(seed), 200, 10)
      const pipeline = clicksPipeline({ disorder: '10s' })
      const runner = await createPipelineRunner({ pipeline, partitions, startMs })
      await runner.sendAll(sent)
      const { metrics } = await scoreAll(runner, events.length, { ...small, pollMaxMs: 100 })
      expect(predictedVectors(await runner.predictions())).toEqual(
        replayedVectors(replayed(runner.plan, partitions, events)),
      )
      expect(metrics.totals).toMatchObject({ late: 0, releasedEarly: 0, rejected: 0 })
    },
  )

  test('more of them within the disorder than are read ahead: reading continues until they can be released', async () => {
    const { events, sent } = shuffled(createRandom(23), 200, 100)
    const runner = await createPipelineRunner({
      pipeline: clicksPipeline({ disorder: '100s' }),
      partitions: 1,
      startMs,
    })
    await runner.sendAll(sent)
    const worker = runner.start({ limits: { ...small, readAheadMax: 10, pollMaxMs: 500 } })
    await worker.until('those that can go have gone', () => worker.metrics.totals.predictions >= 90)
    // The end of the partition moves no clock: there the disorder is waited out in time of day.
    await runner.clock.sleep(110_000)
    await worker.stop()
    expect(predictedVectors(await runner.predictions())).toEqual(replayedVectors(replayed(runner.plan, 1, events)))
  })

  test('within the lateness are scored at their own time, and what was scored before stays', async () => {
    const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions: 1, startMs })
    await runner.sendAll([click('a', 'anna', 100), click('b', 'anna', 120), click('c', 'anna', 140)])
    const first = await scoreAll(runner, 3)
    expect(first.metrics.totals).toMatchObject({ late: 0 })
    await runner.sendAll([click('late', 'anna', 130, { amount: 5 }), click('d', 'anna', 150)])
    const second = await scoreAll(runner, 2)
    // Late in both stages.
    expect(second.metrics.totals).toMatchObject({ late: 2, releasedEarly: 0, rejected: 0, predictions: 2 })
    const found = await byId(runner)
    // amount, guarded, userCount1m, userSum, lastCount1m (5 s ago), refunds
    expect([...found.values()].map(({ id, features }) => [id, ...features])).toEqual([
      ['a', 1, 1, 1, 1, 0, 0],
      ['b', 1, 1, 2, 2, 1, 0],
      ['c', 1, 1, 3, 3, 2, 0],
      ['late', 5, 5, 3, 7, 2, 0],
      ['d', 1, 1, 5, 9, 4, 0],
    ])
  })

  test('wait out the declared disorder, however short the bound on waiting beyond it', async () => {
    const pipeline = clicksPipeline({ disorder: '30s', stages: 1 })
    const runner = await createPipelineRunner({ pipeline, partitions: 1, startMs })
    await runner.sendAll([click('a', 'anna', 1), click('b', 'anna', 2)])
    const worker = runner.start({ limits: { holdMaxMs: 100 } })
    const began = runner.clock.elapsedMs()
    await worker.until('both are scored', () => worker.metrics.totals.predictions === 2)
    expect(runner.clock.elapsedMs() - began).toBeGreaterThanOrEqual(30_000)
    await worker.stop()
    expect(worker.metrics.totals).toMatchObject({ releasedEarly: 0, late: 0 })
  })
})

test('on a backlog no partition runs ahead of another in event time, so that the next stage holds little', async () => {
  const partitions = 2
  const [slow, fast] = [0, 1].map(
    (wanted) => users.find((user) => partitionOf(Buffer.from(user), partitions) === wanted)!,
  )
  // The records of one partition are so large that a fetch brings a seventh as many of them.
  const page = 'p'.repeat(250)
  const events = Array.from({ length: 400 }, (_, i) =>
    click(`e${i}`, i % 2 === 0 ? slow! : fast!, i, i % 2 === 0 ? { amount: 100, page } : { amount: 100 }),
  )
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions, startMs })
  await runner.sendAll(events)
  const worker = runner.start({ limits: { ...small, batchEventsMax: 100 } })
  let heldMax = 0
  await worker.until('all are scored', () => {
    for (const task of worker.state().tasks) if (task.stage.repartitionIn) heldMax = Math.max(heldMax, task.held)
    return worker.metrics.totals.predictions === events.length
  })
  await worker.stop()
  expect(heldMax).toBeLessThan(40)
  expect(predictedVectors(await runner.predictions())).toEqual(
    replayedVectors(replayed(runner.plan, partitions, events)),
  )
})

test('a label counts at the time of what it is about, from the time on at which it became known', async () => {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions: 2, startMs })
  const events = [
    click('a', 'anna', 5),
    click('b', 'bert', 20),
    refund('a', 'anna', 30, { clickedAt: 5 }),
    click('c', 'bert', 30),
    click('d', 'cleo', 31),
    click('e', 'anna', 605),
    click('f', 'anna', 606),
  ]
  await runner.sendAll(events)
  await scoreAll(runner, 6)
  const found = await byId(runner)
  const refunds = (id: string) => found.get(id)!.features[5]
  // At 30 the click comes first: it is of the first stream.
  expect(['a', 'b', 'c', 'd', 'e', 'f'].map(refunds)).toEqual([0, 0, 0, 1, 0, 0])
})

describe('a repeated id that is dated before the first one', () => {
  const first = click('same', 'anna', 200, { amount: 2 })
  const again = click('same', 'anna', 190, { amount: 9 })
  const rest = [click('x', 'anna', 210), click('y', 'anna', 260)]

  async function outcome(sends: ReadonlyArray<readonly StreamEvent[]>) {
    const runner = await createPipelineRunner({ pipeline: clicksPipeline({ disorder: '20s' }), partitions: 1, startMs })
    for (const events of sends) {
      await runner.sendAll(events)
      const worker = runner.start({ limits: { pollMaxMs: 200 } })
      await runner.clock.sleep(25_000)
      await worker.stop()
    }
    return { facts: await runner.facts(), vectors: predictedVectors(await runner.predictions()) }
  }

  test('loses, whether both are read together or one after the other', async () => {
    const apart = await outcome([[first], [again], rest])
    expect(await outcome([[first, again, ...rest]])).toEqual(apart)
    expect(apart.vectors.map(([id]) => id)).toEqual(['same', 'x', 'y'])
    expect(apart.vectors[0]![1]).toBe(bitsOf([2, 2, 1, 2, 0, 0]))
  })
})

/**
 * Events come with any delay while the worker runs, so that many are late. What was scored must be what the facts before the recorded
 * positions give, counted naively.
 */
test.each([31, 32, 33])(
  'late events at random: every vector follows from its recorded position, seed %i',
  async (seed) => {
    const random = createRandom(seed)
    const partitions = 2
    const runner = await createPipelineRunner({
      pipeline: clicksPipeline({ stages: 1, disorder: '5s', lateness: '3m' }),
      partitions,
      startMs,
    })
    const worker = runner.start({ limits: small })
    let seconds = 300
    for (let i = 0; i < 300; i++) {
      seconds += random.below(4)
      const delayed = seconds - (random.below(3) === 0 ? random.below(200) : random.below(5))
      const user = random.pick(users)
      await runner.sendAll([
        random.below(5) === 0
          ? refund(`e${i}`, user, seconds, { clickedAt: delayed })
          : click(`e${i}`, user, delayed, { amount: random.below(1_200) / 100 }),
      ])
      if (random.below(4) === 0) await runner.clock.sleep(random.below(20))
    }
    await runner.clock.sleep(10_000)
    await worker.stop()

    const accepted = await acceptedEvents(runner, 180_000)
    const predictions = await runner.predictions()
    const clicks = accepted.filter(({ stream }) => stream === 0)
    expect(predictions.map(({ id }) => id).sort()).toEqual(clicks.map(({ id }) => id).sort())
    expect(worker.metrics.totals.late).toBeGreaterThan(10)
    expect((await runner.rejections()).length).toBe(300 - accepted.length)
    for (const prediction of predictions) {
      expect([prediction.id, ...prediction.features]).toEqual([prediction.id, ...naiveVector(prediction, accepted)])
    }

    const facts = await runner.facts()
    runner.store.empty()
    const again = runner.start({ limits: small })
    await again.until('all is folded again', () => again.state().isReady)
    expect(await runner.facts()).toEqual(facts)
    expect(again.metrics.totals.predictions).toBe(0)
    await runner.sendAll(users.map((user) => click(`last ${user}`, user, seconds + 1_000)))
    await again.until('the last are scored', () => again.metrics.totals.predictions === users.length)
    await again.stop()
    expect(again.metrics.totals).toMatchObject({ late: 0, releasedEarly: 0 })
  },
)

interface Accepted {
  readonly stream: number
  readonly partition: number
  readonly offset: number
  readonly id: string
  readonly user: string
  readonly time: number
  /** Time at which it counts. */
  readonly countedAt: number
  readonly amount: number
}

interface Sent {
  readonly clickId: string
  readonly user: string
  readonly at: number
  readonly clickedAt?: number
  readonly amount?: number
}

/** By the rule as it is written: not later than the lateness behind any earlier valid event of the partition. */
async function acceptedEvents(runner: PipelineRunner, latenessMs: number): Promise<Accepted[]> {
  const accepted: Accepted[] = []
  for (const { topic, index, codec } of runner.plan.streams) {
    for (const [partition, records] of (await runner.records(topic)).entries()) {
      let clock = Number.NEGATIVE_INFINITY
      for (const { offset, value } of records) {
        const decoded = codec.decode(value)
        if (!decoded.ok) throw new Error('only valid events were sent')
        const event = decoded.event as unknown as Sent
        const { clickId: id, user, at: time, clickedAt: countedAt = time, amount = 0 } = event
        if (index === 0 && time < clock - latenessMs) continue
        clock = Math.max(clock, time)
        accepted.push({ stream: index, partition, offset, id, user, time, countedAt, amount })
      }
    }
  }
  return accepted
}

function naiveVector(prediction: ReadPrediction, accepted: readonly Accepted[]): number[] {
  const self = accepted.find(({ id }) => id === prediction.id)!
  const { next } = prediction.positions[0]!
  const order = (event: Accepted) => orderOf(event.stream, event.partition, event.offset)
  const isBefore = (time: number, event: Accepted) =>
    time < self.time || (time === self.time && order(event) <= order(self))
  const seen = accepted.filter(
    (event) => event.partition === self.partition && event.user === self.user && event.offset < next[event.stream]!,
  )
  const within = (stream: number, overMs: number, lagMs = 0) =>
    seen.filter((event) => {
      const until = self.time - lagMs
      if (event.stream !== stream || event.countedAt <= until - overMs || event.countedAt > until) return false
      return isBefore(event.time, event) && (lagMs > 0 || isBefore(event.countedAt, event))
    })
  const cents = within(0, 600_000).reduce((sum, { amount }) => sum + Math.round(amount * 100), 0)
  return [
    self.amount,
    self.amount,
    within(0, 60_000).length,
    cents / 100,
    within(0, 60_000, 5_000).length,
    within(1, 600_000).length,
  ]
}
