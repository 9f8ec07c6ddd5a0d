/**
 * Crashes, lost stores, restarts and rebalances between any two steps of a batch: every event is predicted once, with the vector of a
 * replay, and the store ends with the same facts.
 */
import { describe, expect, test } from 'vitest'
import { stageInputs } from '../../processors/stage-inputs.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { compile } from '../../schemas/plan/compile.ts'
import {
  createPipelineRunner,
  defaultGroup,
  type PipelineRunner,
  predictedVectors,
  type RunnerOptions,
  replayed,
  replayedVectors,
  type Started,
  type StreamEvent,
} from '../../testing/index.ts'
import { createRandom } from '../../testing/random.ts'
import { click, clicksPipeline, clicksStartMs, refund } from '../support/clicks.ts'

const startMs = clicksStartMs + 6 * 3_600_000
const partitions = 2
const users = Array.from({ length: 7 }, (_, i) => `user${i}`)
const pages = ['home', 'list', 'item']

/** In event-time order; several share an instant. */
function someEvents(count: number, seed = 1): StreamEvent[] {
  const random = createRandom(seed)
  let seconds = 0
  return Array.from({ length: count }, (_, i) => {
    seconds += random.below(4)
    const [user, page] = [random.pick(users), random.pick(pages)]
    return random.below(5) === 0
      ? refund(`e${i - 1}`, user, seconds, { page, clickedAt: seconds - random.below(30) })
      : click(`e${i}`, user, seconds, { page, amount: random.below(1_000) / 100 })
  })
}

const events = someEvents(300)
/** Small enough for many batches in a run. */
const small = { batchEventsMax: 10, partitionBytesMax: 500 }

async function runnerWith(list: readonly StreamEvent[], options: Partial<RunnerOptions> = {}): Promise<PipelineRunner> {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions, startMs, ...options })
  await runner.sendAll(list)
  return runner
}

/** Waits until Kafka has this many predictions, those of earlier workers included. */
async function untilPredicted(runner: PipelineRunner, worker: Started, count: number): Promise<void> {
  const base = (await runner.predictions()).length
  await worker.until(`${count} are predicted`, () => base + worker.metrics.totals.predictions >= count)
}

async function expectAll(runner: PipelineRunner, list: readonly StreamEvent[]): Promise<void> {
  const expected = replayed(runner.plan, partitions, list)
  expect(predictedVectors(await runner.predictions())).toEqual(replayedVectors(expected))
  expect(await runner.rejections()).toEqual([])
}

async function finish(runner: PipelineRunner, list: readonly StreamEvent[]): Promise<Started> {
  const worker = runner.start({ limits: small })
  const clicks = list.filter(({ stream }) => stream === 'clicks').length
  await untilPredicted(runner, worker, clicks)
  // Time for what must not happen: a second prediction or a rejection.
  await runner.clock.sleep(2_500)
  await worker.stop()
  await expectAll(runner, list)
  expect(worker.metrics.totals).toMatchObject({ late: 0, releasedEarly: 0, duplicates: 0 })
  return worker
}

async function undisturbedFacts(list: readonly StreamEvent[]): Promise<Record<string, string>> {
  const runner = await runnerWith(list)
  await finish(runner, list)
  return runner.facts()
}

const undisturbed = undisturbedFacts(events)

describe('a crash', () => {
  test.each([1, 2, 7, 20, 30])(
    'between commit %i and its apply: the difference is restored without publishing',
    async (at) => {
      let transactions = 0
      const onTransact = async (stage: string) => {
        if (stage === 'committed' && ++transactions === at) throw new Error('the process died')
      }
      const runner = await runnerWith(events, { onTransact })
      const died = runner.start({ limits: small })
      await expect(died.done).rejects.toThrow('the process died')
      const successor = await finish(runner, events)
      expect(successor.metrics.totals.restored).toBeGreaterThan(0)
      expect(await runner.facts()).toEqual(await undisturbed)
    },
  )

  test.each([1, 5, 30])('in the middle of transaction %i: nothing of it is visible', async (at) => {
    let transactions = 0
    const onTransact = async (stage: string, name: string) => {
      if (stage !== 'begin' || ++transactions !== at) return
      runner.broker.crash(name)
      throw new Error('the process died')
    }
    const runner = await runnerWith(events, { onTransact })
    await expect(runner.start({ limits: small }).done).rejects.toThrow('the process died')
    const successor = await finish(runner, events)
    expect(successor.metrics.totals.restored).toBe(0)
    expect(await runner.facts()).toEqual(await undisturbed)
  })

  test('of every third transaction before it is committed: the worker retries by itself', async () => {
    let transactions = 0
    const onTransact = async (stage: string) => {
      if (stage === 'begin' && ++transactions % 3 === 0) {
        throw new PipelineError('transaction_aborted', 'the broker aborted it')
      }
    }
    const runner = await runnerWith(events, { onTransact })
    const worker = await finish(runner, events)
    expect(worker.messages).toContain('the broker aborted it')
    expect(await runner.facts()).toEqual(await undisturbed)
  })

  test('of every third transaction after it was committed, so that the response is lost: the worker retries by itself', async () => {
    let transactions = 0
    const onTransact = async (stage: string) => {
      if (stage === 'committed' && ++transactions % 3 === 0) {
        throw new PipelineError('kafka_unreachable', 'the response was lost')
      }
    }
    const runner = await runnerWith(events, { onTransact })
    const worker = runner.start({ limits: small })
    // Metrics do not count what was committed without a response, so the topic itself is read.
    const clicks = events.filter(({ stream }) => stream === 'clicks').length
    for (let tries = 0; tries < 600 && (await runner.predictions()).length < clicks; tries++)
      await runner.clock.sleep(100)
    await runner.clock.sleep(2_500)
    await worker.stop()
    await expectAll(runner, events)
    expect(await runner.facts()).toEqual(await undisturbed)
  })
})

describe('a store', () => {
  async function runHalf(runner: PipelineRunner): Promise<void> {
    const worker = runner.start({ limits: small })
    await untilPredicted(runner, worker, 100)
    await worker.stop()
  }

  test('that was emptied between two runs is restored from Kafka', async () => {
    const runner = await runnerWith(events)
    await runHalf(runner)
    runner.store.empty()
    const worker = await finish(runner, events)
    expect(worker.metrics.totals.restored).toBeGreaterThan(100)
    expect(await runner.facts()).toEqual(await undisturbed)
  })

  test('that is emptied under a running worker: the worker notices before it publishes a wrong prediction', async () => {
    const runner = await runnerWith(events)
    const worker = runner.start({ limits: small })
    await worker.until('some are predicted', () => worker.metrics.totals.predictions >= 60)
    runner.store.empty()
    await worker.until('more are predicted', () => worker.metrics.totals.predictions >= 120)
    runner.store.empty()
    await worker.until('most are predicted', () => worker.metrics.totals.predictions >= 180)
    await worker.stop()
    await finish(runner, events)
    expect(worker.messages.filter((message) => message.includes('holds no owner token any more')).length).toBe(2)
    expect(await runner.facts()).toEqual(await undisturbed)
  })

  test('that lost its latest steps is restored up to the committed position', async () => {
    const runner = await runnerWith(events)
    await runHalf(runner)
    runner.store.loseTail('user', 0, 3)
    runner.store.loseTail('page', 1, 2)
    const worker = await finish(runner, events)
    expect(worker.metrics.totals.restored).toBeGreaterThan(0)
    expect(await runner.facts()).toEqual(await undisturbed)
  })

  test('that is cleared by a rebuild ends with the same facts, and nothing is published again', async () => {
    const runner = await runnerWith(events)
    await runHalf(runner)
    const worker = runner.start({ limits: small, isRebuild: true })
    await worker.until('the state is restored', () => worker.state().isReady)
    await worker.stop()
    expect(worker.metrics.totals.restored).toBeGreaterThan(100)
    await finish(runner, events)
    expect(await runner.facts()).toEqual(await undisturbed)
  })

  test('with a position but no committed offsets is ahead: the worker stops with an error', async () => {
    const runner = await runnerWith(events)
    await finish(runner, events)
    const before = await runner.facts()
    const worker = runner.start({ group: 'another' })
    await expect(worker.done).rejects.toMatchObject({
      code: 'state_ahead',
      message: expect.stringMatching(
        /^The stored state of (user|page) [01] is at offsets [\d, ]+, but Kafka has no committed offsets: .* --rebuild to restore/,
      ),
    })
    expect(await runner.facts()).toEqual(before)
  })

  test.each([
    ['for a moment: they are requested again', 3, null],
    ['for good: the worker stops with an error', Number.POSITIVE_INFINITY, 'state_foreign'],
  ])('beside committed offsets that do not belong together %s', async (_, moments, code) => {
    const runner = await runnerWith(events)
    await runHalf(runner)
    let left = moments
    const broker: typeof runner.broker = {
      ...runner.broker,
      groups: {
        ...runner.broker.groups,
        async worker(options) {
          const worker = await runner.broker.groups.worker(options)
          return {
            ...worker,
            async committed(partitions) {
              const [first, ...others] = await worker.committed(partitions)
              const isTorn = others.length > 0 && left-- > 0
              return [isTorn ? { ...first!, offset: first!.offset! - 1 } : first!, ...others]
            },
          }
        },
      },
    }
    const worker = runner.start({ process: { broker, store: runner.store, clock: runner.clock } })
    if (code !== null) return expect(worker.done).rejects.toMatchObject({ code })
    await worker.until('it predicts', () => left < 0 && worker.metrics.totals.predictions > 0)
    await worker.stop()
  })

  test('with a position beyond the committed offsets is ahead, too', async () => {
    const runner = await runnerWith(events)
    await runHalf(runner)
    const inputs = runner.plan.stages.flatMap((stage) =>
      [
        ...stage.rawStreams.map((stream) => runner.plan.streams[stream]!.topic),
        ...(stage.repartitionIn ? [stage.repartitionIn.topic] : []),
      ].flatMap((topic) => [0, 1].map((partition) => ({ topic, partition }))),
    )
    const stages = runner.plan.stages.map((stage) => ({ stage: stage.entity.name, topics: [], partitions }))
    const options = { group: defaultGroup, worker: 'w', stages, sessionTimeoutMs: 100, transactionTimeoutMs: 100 }
    const early = await (await runner.broker.groups.worker(options)).committed(inputs)
    await finish(runner, events)
    const meddler = await runner.broker.groups.worker(options)
    const membership = await meddler.join()
    await meddler.transact(
      [],
      early.map(({ topic, partition, offset, metadata }) => ({ topic, partition, offset: offset!, metadata })),
      membership,
    )
    await expect(runner.start().done).rejects.toMatchObject({ code: 'state_ahead' })
  })

  test('of another definition is rejected and left unchanged', async () => {
    const runner = await runnerWith(events)
    await finish(runner, events)
    const before = await runner.facts()
    const worker = runner.start({ plan: compile(clicksPipeline({ over: '20m' })) })
    await expect(worker.done).rejects.toMatchObject({
      code: 'state_foreign',
      message: expect.stringMatching(
        /: entity user: retention was \w+, is \w+(?:; [^.]+)?\. Start with .* with --rebuild\.$/,
      ),
    })
    expect(await runner.facts()).toEqual(before)
  })

  test('of another definition is restored by a rebuild, and nothing is published again', async () => {
    const runner = await runnerWith(events)
    await finish(runner, events)
    // Facts are kept for longer; the records of the repartition topic are the same.
    const plan = compile(clicksPipeline({ lateness: '2h' }))
    await expect(runner.start({ plan }).done).rejects.toMatchObject({ code: 'state_foreign' })
    const worker = runner.start({ plan, isRebuild: true })
    await worker.until('everything is restored', () => worker.state().isReady)
    await worker.stop()
    // Every event in both stages.
    expect(worker.metrics.totals).toMatchObject({ restored: 2 * events.length, predictions: 0 })
    await expectAll(runner, events)
  })
})

describe('a definition with a window that the earlier one did not have, in the first of two stages', () => {
  const wider = compile(clicksPipeline({ over: '20m' }))
  const half = events.slice(0, 150)

  test('is rebuilt from what the earlier one had sent between the stages, and predicts what comes with its own windows', async () => {
    const runner = await runnerWith(half)
    await finish(runner, half)
    const worker = runner.start({ plan: wider, isRebuild: true, limits: small })
    await worker.until('the state is restored', () => worker.state().isReady)
    expect(worker.metrics.totals).toMatchObject({ restored: 2 * half.length, predictions: 0 })
    await runner.sendAll(events.slice(150))
    const clicks = events.slice(150).filter(({ stream }) => stream === 'clicks').length
    await worker.until('all is predicted', () => worker.metrics.totals.predictions >= clicks)
    await worker.stop()
    const fresh = (await runner.predictions()).filter(({ fingerprint }) => fingerprint === wider.fingerprint)
    expect(fresh.length).toBe(clicks)
    const ids = new Set(fresh.map(({ id }) => id))
    const expected = replayed(wider, partitions, events).filter(({ id }) => ids.has(id))
    expect(predictedVectors(fresh)).toEqual(replayedVectors(expected))
  })

  test('does not predict what the earlier one had not finished: it says what is missing, and what to do', async () => {
    const runner = await runnerWith(half)
    const earlier = runner.start({ limits: small })
    await untilPredicted(runner, earlier, 20)
    await earlier.stop()
    await expect(runner.start({ plan: wider, isRebuild: true }).done).rejects.toMatchObject({
      code: 'record_unreadable',
      message: expect.stringMatching(
        / was sent on by an earlier definition, without user_\w+_20m\b.* Start the earlier definition again/,
      ),
    })
  })
})

describe('a stop', () => {
  test('finishes the batch; the next run resumes where this one stopped', async () => {
    const runner = await runnerWith(events)
    const counts: number[] = []
    for (let run = 1; run <= 8; run++) {
      const worker = runner.start({ limits: small })
      await untilPredicted(runner, worker, run * 25)
      await worker.stop()
      counts.push(worker.metrics.totals.restored)
    }
    expect(counts).toEqual(new Array(8).fill(0))
    await finish(runner, events)
    expect(await runner.facts()).toEqual(await undisturbed)
  })

  test('while there are more late events than a batch takes loses none of them', async () => {
    const early = Array.from({ length: 60 }, (_, i) =>
      click(`late${i}`, users[i % 7]!, 100 + i, { page: pages[i % 3]! }),
    )
    const late = early.reverse()
    const present = [click('now1', 'user1', 1_000), click('now2', 'user2', 1_001)]
    const runner = await runnerWith(present)
    const first = runner.start({ limits: small })
    await first.until('the present is predicted', () => first.metrics.totals.predictions === 2)
    await first.stop()
    await runner.sendAll(late)
    for (let run = 0, predicted = 0; run < 100 && predicted < 62; run++) {
      const worker = runner.start({ limits: { ...small, partitionBytesMax: 100_000 } })
      await worker.until('something happened', () => worker.metrics.totals.events > 0)
      await worker.stop()
      predicted = (await runner.predictions()).length
    }
    const ids = (await runner.predictions()).map(({ id }) => id)
    expect(ids.sort()).toEqual([...late, ...present].map(({ values }) => values.clickId).sort())
    const facts = await runner.facts()
    runner.store.empty()
    const again = runner.start()
    await again.until('everything is restored', () => again.state().isReady)
    await again.stop()
    expect(await runner.facts()).toEqual(facts)
    expect((await runner.predictions()).length).toBe(62)
  })
})

describe('several workers', () => {
  test('share the tasks; when one dies, the other takes over its tasks', async () => {
    const list = someEvents(600, 2)
    const runner = await runnerWith(list)
    const clicks = list.filter(({ stream }) => stream === 'clicks').length
    const a = runner.start({ name: 'a', limits: small })
    await untilPredicted(runner, a, 50)
    const b = runner.start({ name: 'b', limits: small })
    await b.until('both have tasks', () => a.state().tasks.length === 2 && b.state().tasks.length === 2)
    await a.until('both have worked', () => b.metrics.totals.events > 30)
    runner.broker.crash('a')
    await expect(a.stop()).resolves.toBeUndefined()
    await b.until('b has all tasks', () => b.state().tasks.length === 4)
    for (let tries = 0; tries < 100 && (await runner.predictions()).length < clicks; tries++)
      await runner.clock.sleep(100)
    await runner.clock.sleep(2_500)
    await b.stop()
    await expectAll(runner, list)
    expect(await runner.facts()).toEqual(await undisturbedFacts(list))
  })

  test('more than there are tasks: workers without a task wait and take over later', async () => {
    const runner = await runnerWith(events, { pipeline: clicksPipeline({ stages: 1 }), partitions: 1 })
    const a = runner.start({ name: 'a', limits: small })
    await a.until('a works', () => a.metrics.totals.predictions > 20)
    const b = runner.start({ name: 'b', limits: small })
    await b.until('b has joined', () => b.messages.includes('tasks opened'))
    await b.until('the task is open again', () => a.state().tasks.length + b.state().tasks.length === 1)
    const [busy, spare] = a.state().tasks.length === 1 ? [a, b] : [b, a]
    await busy.stop()
    await spare.until('the spare has the task', () => spare.state().tasks.length === 1)
    const clicks = events.filter(({ stream }) => stream === 'clicks').length
    for (let tries = 0; tries < 100 && (await runner.predictions()).length < clicks; tries++)
      await runner.clock.sleep(100)
    await spare.stop()
    const expected = replayed(runner.plan, 1, events)
    expect(predictedVectors(await runner.predictions())).toEqual(replayedVectors(expected))
  })
})

describe('a worker whose name was taken', () => {
  const limits = { ...small, sessionTimeoutMs: 500 }

  /** Joins the group under the name of the worker; processes nothing. */
  async function join(runner: PipelineRunner) {
    const stages = runner.plan.stages.map((stage) => {
      return { stage: stage.entity.name, topics: stageInputs(runner.plan, stage).map(({ topic }) => topic), partitions }
    })
    const options = { group: defaultGroup, worker: 'worker-1', stages, transactionTimeoutMs: 500 }
    const worker = await runner.broker.groups.worker({ ...options, sessionTimeoutMs: limits.sessionTimeoutMs })
    await worker.join()
    return worker
  }

  test('by a member without heartbeats continues once that member is removed, and predicts everything', async () => {
    const runner = await runnerWith(events)
    const worker = runner.start({ name: 'worker-1', limits })
    await untilPredicted(runner, worker, 20)
    const stale = await join(runner)
    stale.pause()
    const clicks = events.filter(({ stream }) => stream === 'clicks').length
    for (let tries = 0; tries < 600 && (await runner.predictions()).length < clicks; tries++)
      await runner.clock.sleep(100)
    await runner.clock.sleep(2_500)
    await worker.stop()
    expect(worker.messages.some((message) => message.includes('works under the name'))).toBe(true)
    await expectAll(runner, events)
  })

  test('by a living process stops with an error', async () => {
    const runner = await runnerWith(events)
    const worker = runner.start({ name: 'worker-1', limits })
    await untilPredicted(runner, worker, 20)
    const other = await join(runner)
    await expect(worker.done).rejects.toMatchObject({ code: 'superseded' })
    await other.close()
  })
})
