/**
 * Order between processes: events come one after the other, each in Kafka before the next is sent, while several workers with nothing but
 * each other's words to go by fold them. Whatever their transactions take, no event is late, and none waits for a timer.
 */
import { describe, expect, test } from 'vitest'
import {
  createPipelineRunner,
  predictedVectors,
  type RunnerOptions,
  replayed,
  replayedVectors,
  type StreamEvent,
} from '../../testing/index.ts'
import { createRandom, type Random } from '../../testing/random.ts'
import { click, clicksPipeline, clicksStartMs, refund } from '../support/clicks.ts'

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
  { workers: 3, partitions: 2, rekey: [], what: 'more workers than partitions, so that some only listen' },
  { workers: 2, partitions: 3, rekey: ['refunds'] as const, what: 'a stage with raw and repartitioned inputs' },
])('$what', ({ workers, partitions, rekey }) => {
  test.each([1, 2, 3, 4, 5])('events that follow each other are never late: seed %i', async (seed) => {
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
