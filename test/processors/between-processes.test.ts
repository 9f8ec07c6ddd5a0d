/**
 * Order between processes: each event is in Kafka before the next one is sent, and several workers that know of each other only by their
 * progress reports fold them. However long their transactions take, no event is late and none waits for a timer.
 */
import { describe, expect, test } from 'vitest'
import { partitionOf } from '../../runtime/partition.ts'
import {
  createPipelineRunner,
  predictedVectors,
  type RunnerOptions,
  replayed,
  replayedVectors,
  type Started,
  type StreamEvent,
} from '../../testing/index.ts'
import { createRandom, type Random } from '../../testing/random.ts'
import { click, clicksPipeline, clicksStartMs, refund } from '../support/clicks.ts'
import { someOf } from '../support/nightly.ts'

const startMs = clicksStartMs + 6 * 3_600_000

function someEvents(random: Random, count: number, isAnywhere: boolean, partitions: number): StreamEvent[] {
  let seconds = 0
  return Array.from({ length: count }, (_, i) => {
    seconds += 1 + random.below(4)
    const [user, page] = [`user${random.below(9)}`, `page${random.below(4)}`]
    const partition = random.below(partitions)
    if (random.below(4) > 0)
      return click(`e${i}`, user, seconds, { page, amount: (20_000 + random.below(1_000)) / 100 })
    return { ...refund(`e${i}`, user, seconds, { page }), ...(isAnywhere ? { partition } : {}) }
  })
}

describe.each([
  { workers: 2, partitions: 4, rekey: [], what: 'two workers' },
  {
    workers: 3,
    partitions: 2,
    rekey: [],
    what: 'more workers than partitions, so that some only consume progress',
  },
  { workers: 2, partitions: 3, rekey: ['refunds'] as const, what: 'a stage with raw and repartitioned inputs' },
])('$what', ({ workers, partitions, rekey }) => {
  test.each(someOf([1, 2, 3, 4, 5], 2))('events that follow each other are never late: seed %i', async (seed) => {
    const random = createRandom(seed)
    const onTransact: RunnerOptions['onTransact'] = async () => {
      if (random.below(3) === 0) await runner.clock.sleep(random.below(40))
    }
    const pipeline = clicksPipeline({ rekey })
    const runner = await createPipelineRunner({ pipeline, partitions, startMs, onTransact })
    const started = Array.from({ length: workers }, (_, i) => runner.start({ name: `w${i}` }))
    await started[0]!.until('all have joined', () =>
      started.every((worker) => worker.messages.includes('tasks opened')),
    )
    await runner.clock.sleep(1_000)
    const events = someEvents(random, 150, rekey.length > 0, partitions)
    for (const event of events) {
      await runner.sendAll([event])
      if (random.below(3) === 0) await runner.clock.sleep(random.below(30))
    }
    const clicks = events.filter(({ stream }) => stream === 'clicks').length
    const sentMs = runner.clock.elapsedMs()
    while ((await runner.predictions()).length < clicks && runner.clock.elapsedMs() < sentMs + 5_000)
      await runner.clock.sleep(5)
    for (const worker of started) await worker.stop()
    expect(predictedVectors(await runner.predictions())).toEqual(
      replayedVectors(replayed(runner.plan, partitions, events)),
    )
    for (const { metrics } of started) expect(metrics.totals).toMatchObject({ late: 0, releasedEarly: 0, rejected: 0 })
    expect(runner.clock.elapsedMs() - sentMs).toBeLessThan(500)
  })
})

test.each(someOf([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 3))(
  'a backlog is processed with the smallest buffers: seed %i',
  async (seed) => {
    const random = createRandom(100 + seed)
    const partitions = 3
    const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions, startMs })
    const events = someEvents(random, 200, false, partitions)
    await runner.sendAll(events)
    const limits = { batchEventsMax: 1, partitionBytesMax: 1_500, readAheadMax: 1, heldMax: 1 }
    const started = ['a', 'b'].map((name) => runner.start({ name, limits }))
    const clicks = events.filter(({ stream }) => stream === 'clicks').length
    while ((await runner.predictions()).length < clicks && runner.clock.elapsedMs() < 60_000)
      await runner.clock.sleep(20)
    for (const worker of started) await worker.stop()
    expect(predictedVectors(await runner.predictions())).toEqual(
      replayedVectors(replayed(runner.plan, partitions, events)),
    )
    for (const { metrics } of started) expect(metrics.totals).toMatchObject({ late: 0, releasedEarly: 0 })
  },
)

describe('the wait of a live event is bounded, and events that are released early are counted', () => {
  const holdMaxMs = 1_000

  test('when another process is stuck', async () => {
    let isStuck = false
    const onTransact: RunnerOptions['onTransact'] = async (stage, name) => {
      // Not in the middle of a transaction, which would block all readers until it times out.
      while (isStuck && stage === 'committed' && name === 'b') await runner.clock.sleep(100)
    }
    const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions: 2, startMs, onTransact })
    const limits = { holdMaxMs, sessionTimeoutMs: 60_000, transactionTimeoutMs: 60_000 }
    const [a, b] = ['a', 'b'].map((name) => runner.start({ name, limits })) as [Started, Started]
    await a.until('both have tasks', () => [a, b].every((worker) => worker.state().tasks.length === 2))
    const mine = partitionsOf(a)
    const users = Array.from({ length: 40 }, (_, i) => `user${i}`)
    const userOf = (isMine: boolean) =>
      users.find((user) => mine.includes(partitionOf(Buffer.from(user), 2)) === isMine)!
    const page = ['home', 'list', 'help'].find((name) => mine.includes(partitionOf(Buffer.from(name), 2)))!
    await runner.sendAll([click('before', userOf(false), 1, { page })])
    await a.until('it passes both stages', () => a.metrics.totals.predictions + b.metrics.totals.predictions === 1)
    isStuck = true
    await runner.sendAll([click('stuck', userOf(false), 2, { page })])
    await runner.clock.sleep(100)
    const sentMs = runner.clock.elapsedMs()
    await runner.sendAll([click('live', userOf(true), 3, { page })])
    const isPredicted = async () => (await runner.predictions()).some(({ id }) => id === 'live')
    while (!(await isPredicted()) && runner.clock.elapsedMs() < sentMs + 10_000) await runner.clock.sleep(5)
    expect(runner.clock.elapsedMs() - sentMs).toBeLessThan(holdMaxMs + 100)
    expect(a.metrics.totals.releasedEarly).toBe(1)
    isStuck = false
    await runner.clock.sleep(2_000)
    await a.stop()
    await b.stop()
    expect((await runner.predictions()).map(({ id }) => id).sort()).toEqual(['before', 'live', 'stuck'])
  })
})

test('a backlog of another partition is waited for however long it takes', async () => {
  const holdMaxMs = 300
  const [slow, fast] = [0, 1].map(
    (wanted) => ['user0', 'user1', 'user2', 'user3'].find((user) => partitionOf(Buffer.from(user), 2) === wanted)!,
  )
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions: 2, startMs })
  const old = Array.from({ length: 600 }, (_, i) => click(`old${i}`, slow!, i / 10, { amount: 100 }))
  await runner.sendAll(old)
  const limits = { holdMaxMs, batchEventsMax: 1, partitionBytesMax: 1, readAheadMax: 1, commitEveryMs: 20 }
  const worker = runner.start({ limits })
  await worker.until('it is processing', () => worker.metrics.totals.predictions > 10)
  const sentMs = runner.clock.elapsedMs()
  await runner.sendAll([click('live', fast!, 1_000, { amount: 100 })])
  await worker.until('all are predicted', () => worker.metrics.totals.predictions === old.length + 1)
  await worker.stop()
  expect(runner.clock.elapsedMs() - sentMs).toBeGreaterThan(2 * holdMaxMs)
  expect((await runner.predictions()).at(-1)!.id).toBe('live')
  expect(worker.metrics.totals).toMatchObject({ late: 0, releasedEarly: 0 })
})

/** Of the first stage. */
function partitionsOf(worker: Started): number[] {
  return worker
    .state()
    .tasks.filter(({ stage }) => stage.index === 0)
    .map(({ partition }) => partition)
}
