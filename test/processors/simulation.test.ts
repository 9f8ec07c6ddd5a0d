/**
 * Seeded trouble: up to three workers that come, stop and die at any point, aborted transactions, lost answers, a store that is emptied.
 * In the end every event is predicted once, with the vector of the pure core. A failure names its seed.
 */
import { expect, test } from 'vitest'
import { PipelineError } from '../../schemas/errors.ts'
import {
  createPipelineRunner,
  type PipelineRunner,
  predictedVectors,
  replayed,
  replayedVectors,
  type Started,
  type StreamEvent,
} from '../../testing/index.ts'
import { createRandom, type Random } from '../../testing/random.ts'
import { click, clicksPipeline, clicksStartMs, refund } from '../support/clicks.ts'

/** In event-time order; several share an instant. */
function someEvents(random: Random): StreamEvent[] {
  let seconds = 0
  return Array.from({ length: 200 }, (_, i) => {
    seconds += random.below(4)
    const [user, page] = [`user${random.below(9)}`, `page${random.below(4)}`]
    return random.below(5) === 0
      ? refund(`e${i - 1}`, user, seconds, { page, clickedAt: seconds - random.below(30) })
      : click(`e${i}`, user, seconds, { page, amount: (10_000 + random.below(1_000)) / 100 })
  })
}

/** What may happen to any transaction. */
function troubleOf(random: Random, runner: () => PipelineRunner) {
  return async (stage: 'begin' | 'committed', name: string): Promise<void> => {
    const dice = random.below(60)
    if (stage === 'begin' && dice === 0) throw new PipelineError('transaction_aborted', 'aborted')
    if (stage === 'begin' && dice === 1) {
      runner().broker.crash(name)
      throw new PipelineError('kafka_unreachable', 'died in the middle')
    }
    if (stage === 'committed' && dice < 3) throw new PipelineError('kafka_unreachable', 'the answer was lost')
    if (dice === 5) await runner().clock.sleep(random.below(30))
  }
}

test.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])('whatever happens, the predictions are the same: seed %i', async (seed) => {
  const random = createRandom(seed)
  const partitions = 1 + random.below(4)
  const pipeline = clicksPipeline({ stages: random.below(3) === 0 ? 1 : 2 })
  const events = someEvents(random)
  const clicks = events.filter(({ stream }) => stream === 'clicks').length
  const startMs = clicksStartMs + 6 * 3_600_000
  const onTransact = troubleOf(random, () => runner)
  const runner: PipelineRunner = await createPipelineRunner({ pipeline, partitions, startMs, onTransact })
  await runner.sendAll(events)
  const limits = {
    batchEventsMax: 1 + random.below(20),
    partitionBytesMax: 200 + random.below(1_500),
    commitEveryMs: random.below(10),
    cacheRowsMax: random.below(2) === 0 ? 10 : 1_000_000,
    sessionTimeoutMs: 1_000,
    transactionTimeoutMs: 500,
    outageMaxMs: Number.POSITIVE_INFINITY,
  }

  const workers = new Map<string, Started>()
  const isDone = async () => (await runner.predictions()).length >= clicks
  for (let step = 0; step < 400 && !(await isDone()); step++) {
    const name = `w${random.below(3)}`
    const worker = workers.get(name)
    const dice = random.below(20)
    if (!worker && (dice < 8 || workers.size === 0)) workers.set(name, runner.start({ name, limits }))
    else if (worker && dice === 8) {
      await worker.stop()
      workers.delete(name)
    } else if (worker && dice === 9) runner.broker.crash(name)
    else if (dice === 10 && random.below(3) === 0) runner.store.empty()
    await runner.clock.sleep(random.below(60))
  }
  if (workers.size === 0) workers.set('w0', runner.start({ name: 'w0', limits }))
  for (let tries = 0; tries < 600 && !(await isDone()); tries++) await runner.clock.sleep(200)
  // Time for what must not come: an event predicted twice.
  await runner.clock.sleep(2_000)
  for (const worker of workers.values()) await worker.stop()

  const expected = replayed(runner.plan, partitions, events)
  expect(predictedVectors(await runner.predictions())).toEqual(replayedVectors(expected))
  expect(await runner.rejections()).toEqual([])
})
