/**
 * Streams whose events may be in any partition: the `rekey` stage repartitions them by key before all other stages, and every vector is
 * that of a replay, with and without faults.
 */
import { describe, expect, test } from 'vitest'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { compile } from '../../schemas/plan/compile.ts'
import {
  createPipelineRunner,
  type PipelineRunner,
  predictedVectors,
  type RunnerOptions,
  replayed,
  replayedVectors,
  type StreamEvent,
} from '../../testing/index.ts'
import { createRandom, type Random } from '../../testing/random.ts'
import { type ClicksOptions, click, clicksPipeline, clicksStartMs, refund } from '../support/clicks.ts'
import { someOf } from '../support/nightly.ts'

const startMs = clicksStartMs + 6 * 3_600_000
const disorderMs = 5_000

/** In event-time order, several with the same time; events of the rekeyed streams are in random partitions. */
function someEvents(random: Random, partitions: number, anywhere: readonly string[]): StreamEvent[] {
  let seconds = 0
  return Array.from({ length: 240 }, (_, i) => {
    seconds += random.below(4)
    const [user, page] = [`user${random.below(9)}`, `page${random.below(4)}`]
    const event =
      random.below(5) === 0
        ? refund(`e${i - 1}`, user, seconds, { page, clickedAt: seconds - random.below(30) })
        : click(`e${i}`, user, seconds, { page, amount: random.below(1_000) / 100 })
    return anywhere.includes(event.stream) ? { ...event, partition: random.below(partitions) } : event
  })
}

/** In the order of a producer with disorder: each stream is at most the declared disorder behind its own newest event. */
function disordered(random: Random, events: readonly StreamEvent[]): StreamEvent[] {
  return events
    .map((event) => {
      const delayMs = event.stream === 'clicks' ? random.below(disorderMs) : 0
      return { event, sentMs: (event.values.at as number) + delayMs }
    })
    .sort((a, b) => a.sentMs - b.sentMs)
    .map(({ event }) => event)
}

async function untilDone(runner: PipelineRunner, clicks: number): Promise<void> {
  for (let tries = 0; tries < 900 && (await runner.predictions()).length < clicks; tries++)
    await runner.clock.sleep(100)
  // Time for what must not happen: an event predicted twice.
  await runner.clock.sleep(2_500)
}

/** `rejected`: codes of the dead letters. */
async function expectReplay(
  runner: PipelineRunner,
  partitions: number,
  events: readonly StreamEvent[],
  rejected: readonly string[] = [],
) {
  const expected = replayed(runner.plan, partitions, events)
  expect(predictedVectors(await runner.predictions())).toEqual(replayedVectors(expected))
  expect((await runner.rejections()).flatMap(({ problems }) => problems.map(({ code }) => code))).toEqual(rejected)
}

const choices: ReadonlyArray<NonNullable<ClicksOptions['rekey']>> = [['clicks'], ['refunds'], ['clicks', 'refunds']]

describe.each([1, 2] as const)('%i entities', (stages) => {
  describe.each(choices.map((rekey) => ({ rekey })))('rekeyed: $rekey', ({ rekey }) => {
    test.each(someOf([1, 2, 3], 2))(
      'in any partition the vectors are those of the replay, in disorder too: seed %i',
      async (seed) => {
        const random = createRandom(seed)
        const partitions = 1 + random.below(4)
        const isInOrder = seed === 1
        const pipeline = clicksPipeline({ stages, rekey, ...(isInOrder ? {} : { disorder: '5s' }) })
        const runner = await createPipelineRunner({ pipeline, partitions, startMs })
        const events = someEvents(random, partitions, rekey)
        // Events with the same time and partition are ordered by offset, so they must be sent in the order of the replay.
        await runner.sendAll(isInOrder ? events : disordered(random, distinctTimes(events)))
        const worker = runner.start({ limits: { batchEventsMax: 10, partitionBytesMax: 700, readAheadMax: 20 } })
        await untilDone(runner, events.filter(({ stream }) => stream === 'clicks').length)
        await worker.stop()
        await expectReplay(runner, partitions, isInOrder ? events : distinctTimes(events))
        expect(worker.metrics.totals).toMatchObject({ late: 0, releasedEarly: 0, duplicates: 0 })
      },
    )
  })
})

/** Events with the same time are moved one millisecond apart. */
function distinctTimes(events: readonly StreamEvent[]): StreamEvent[] {
  return events.map((event, i) => ({ ...event, values: { ...event.values, at: (event.values.at as number) + i } }))
}

describe('with faults', () => {
  test.each(someOf([1, 2, 3, 4, 5, 6], 3))('the predictions are the same under faults: seed %i', async (seed) => {
    const random = createRandom(100 + seed)
    const partitions = 1 + random.below(3)
    const rekey = choices[seed % 3]!
    const pipeline = clicksPipeline({ stages: seed % 2 === 0 ? 1 : 2, rekey })
    const onTransact: RunnerOptions['onTransact'] = async (stage, name) => {
      const dice = random.below(60)
      if (stage === 'begin' && dice === 0) throw new PipelineError('transaction_aborted', 'aborted')
      if (stage === 'begin' && dice === 1) {
        runner.broker.crash(name)
        throw new PipelineError('kafka_unreachable', 'died in the middle')
      }
      if (stage === 'committed' && dice < 3) throw new PipelineError('kafka_unreachable', 'the answer was lost')
    }
    const runner: PipelineRunner = await createPipelineRunner({ pipeline, partitions, startMs, onTransact })
    const events = someEvents(random, partitions, rekey)
    await runner.sendAll(events)
    const limits = {
      batchEventsMax: 1 + random.below(20),
      partitionBytesMax: 200 + random.below(1_500),
      sessionTimeoutMs: 1_000,
      transactionTimeoutMs: 500,
      outageMaxMs: Number.POSITIVE_INFINITY,
    }
    const workers = ['a', 'b'].map((name) => runner.start({ name, limits }))
    const clicks = events.filter(({ stream }) => stream === 'clicks').length
    for (let step = 0; step < 20 && (await runner.predictions()).length < clicks; step++) {
      if (random.below(4) === 0) runner.broker.crash(random.pick(['a', 'b']))
      if (random.below(6) === 0) runner.store.empty()
      await runner.clock.sleep(random.below(100))
    }
    await untilDone(runner, clicks)
    for (const worker of workers) await worker.stop()
    await expectReplay(runner, partitions, events)
  })

  test('an emptied store is restored with the same facts', async () => {
    const random = createRandom(7)
    const rekey = choices[2]!
    const runner = await createPipelineRunner({ pipeline: clicksPipeline({ rekey }), partitions: 2, startMs })
    const events = someEvents(random, 2, rekey)
    await runner.sendAll(events)
    const first = runner.start()
    await untilDone(runner, events.filter(({ stream }) => stream === 'clicks').length)
    await first.stop()
    const facts = await runner.facts()
    expect(Object.keys(facts).length).toBeGreaterThan(9)
    runner.store.empty()
    const again = runner.start()
    await again.until('everything is restored', () => again.state().isReady)
    await again.stop()
    // Every event in the rekey stage and in both entity stages.
    expect(again.metrics.totals).toMatchObject({ restored: 3 * events.length, predictions: 0 })
    expect(await runner.facts()).toEqual(facts)
  })
})

test('the same id in two partitions is a duplicate, found in the stage of its entity; the earlier event time wins', async () => {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline({ rekey: ['clicks'] }), partitions: 3, startMs })
  const events: StreamEvent[] = [
    { ...click('a', 'anna', 1), partition: 0 },
    { ...click('b', 'anna', 2), partition: 1 },
    { ...click('a', 'anna', 1), partition: 2 },
    { ...click('b', 'anna', 3, { amount: 7 }), partition: 2 },
    { ...click('c', 'anna', 4), partition: 0 },
  ]
  await runner.sendAll(events)
  const worker = runner.start()
  await worker.until('all are processed', () => {
    const { predictions, duplicates, rejected } = worker.metrics.totals
    return predictions === 3 && duplicates === 1 && rejected === 1
  })
  await worker.stop()
  await expectReplay(runner, 3, [events[0]!, events[1]!, events[4]!], ['duplicate_conflict'])
})

test('bad and late events are rejected in the rekey stage and do not advance event time', async () => {
  const pipeline = clicksPipeline({ rekey: ['clicks'] })
  const runner = await createPipelineRunner({ pipeline, partitions: 2, startMs })
  await runner.sendAll([
    { ...click('old', 'anna', 10), partition: 1 },
    { ...click('new', 'anna', 7_200), partition: 0 },
  ])
  await runner.sendRaw('clicks', 1, 'nonsense')
  await runner.sendAll([
    // An hour late for partition 0, in time for partition 1.
    { ...click('late', 'bert', 20), partition: 0 },
    { ...click('in-time', 'bert', 20), partition: 1 },
    { ...click('ahead', 'bert', 6 * 3_600 + 301), partition: 1 },
  ])
  const worker = runner.start()
  await worker.until('all are processed', () => {
    const { predictions, rejected } = worker.metrics.totals
    return predictions === 3 && rejected === 3
  })
  await worker.stop()
  const rejected = (await runner.rejections()).map(
    ({ stage, partition, offset, problems }) => `${stage} ${partition}@${offset} ${problems[0]!.code}`,
  )
  expect(rejected.sort()).toEqual(['rekey 0@1 late', 'rekey 1@1 not_json', 'rekey 1@3 ahead'])
  expect((await runner.predictions()).map(({ id }) => id).sort()).toEqual(['in-time', 'new', 'old'])
})

test('on a backlog no input and no task is far ahead: few events are held, and none is released early', async () => {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline({ rekey: ['clicks'] }), partitions: 2, startMs })
  const random = createRandom(11)
  // Most clicks are of one user and refunds are not rekeyed, so the load differs between partitions and tasks.
  const events = Array.from({ length: 2_400 }, (_, i): StreamEvent => {
    const user = random.below(2) === 0 ? `user${random.below(20)}` : 'user0'
    return i % 8 === 0
      ? refund(`r${i}`, user, i, { page: `page${random.below(4)}` })
      : { ...click(`e${i}`, user, i, { page: `page${random.below(4)}` }), partition: random.below(2) }
  })
  await runner.sendAll(events)
  const limits = { batchEventsMax: 10, partitionBytesMax: 1_000, readAheadMax: 10, heldMax: 80 }
  const worker = runner.start({ limits })
  await untilDone(runner, 2_100)
  await worker.stop()
  await expectReplay(runner, 2, events)
  expect(worker.metrics.totals).toMatchObject({ late: 0, releasedEarly: 0 })
})

test('raw topics of rekeyed streams may have another partition count than the rest', async () => {
  const rekey = choices[2]!
  const plan = compile(clicksPipeline({ rekey }))
  const rawTopics = plan.streams.map(({ topic }) => topic)
  const runner = await createPipelineRunner({
    pipeline: clicksPipeline({ rekey }),
    partitions: 2,
    startMs,
    partitionsOf: (topic) => (rawTopics.includes(topic) ? 5 : 2),
  })
  const events = distinctTimes(someEvents(createRandom(5), 5, rekey))
  await runner.sendAll(events)
  const worker = runner.start()
  await untilDone(runner, events.filter(({ stream }) => stream === 'clicks').length)
  await worker.stop()
  expect(worker.metrics.totals).toMatchObject({ late: 0, releasedEarly: 0, duplicates: 0 })
  // No two events have the same time, so their order does not depend on their partition.
  const expected = replayed(
    plan,
    2,
    events.map(({ stream, values }) => ({ stream, values })),
  )
  expect(predictedVectors(await runner.predictions())).toEqual(replayedVectors(expected))
})
