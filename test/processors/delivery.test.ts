/** At least once: without transactions; a crash may double predictions, but loses none, and features count every event once. */
import { describe, expect, test } from 'vitest'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import {
  createPipelineRunner,
  predictedVectors,
  replayed,
  replayedVectors,
  type StreamEvent,
} from '../../testing/index.ts'
import { createRandom } from '../../testing/random.ts'
import { click, clicksPipeline, clicksStartMs, refund } from '../support/clicks.ts'
import { someOf } from '../support/nightly.ts'

const startMs = clicksStartMs + 6 * 3_600_000
const partitions = 2
const small = { batchEventsMax: 7, partitionBytesMax: 800, outageMaxMs: Number.POSITIVE_INFINITY }

function someEvents(seed: number): StreamEvent[] {
  const random = createRandom(seed)
  return Array.from({ length: 150 }, (_, i) => {
    const [user, page] = [`user${random.below(5)}`, `page${random.below(3)}`]
    return random.below(5) === 0 ? refund(`e${i}`, user, i, { page }) : click(`e${i}`, user, i, { page, amount: 100 })
  })
}

const clicksIn = (events: readonly StreamEvent[]) => events.filter(({ stream }) => stream === 'clicks').length

async function run(
  delivery: 'exactly-once' | 'at-least-once',
  seed: number,
  failing: (call: number) => 'no' | 'lost' | 'died',
) {
  const events = someEvents(seed)
  let calls = 0
  let transactions = 0
  const runner = await createPipelineRunner({
    pipeline: clicksPipeline({ delivery }),
    partitions,
    startMs,
    onTransact: async () => void transactions++,
    onPublish: async (name: string) => {
      const failure = failing(++calls)
      if (failure === 'no') return
      if (failure === 'died') runner.broker.crash(name)
      throw new PipelineError('kafka_unreachable', 'drawn')
    },
  })
  await runner.sendAll(events)
  const worker = runner.start({ limits: small })
  const ids = async () => new Set((await runner.predictions()).map(({ id }) => id))
  for (let tries = 0; tries < 600 && (await ids()).size < clicksIn(events); tries++) await runner.clock.sleep(100)
  await runner.clock.sleep(2_000)
  await worker.stop()
  return {
    runner,
    events,
    worker,
    calls,
    transactions,
    predictions: await runner.predictions(),
    facts: await runner.facts(),
  }
}

describe('at least once', () => {
  test('undisturbed gives every prediction once, with the same vectors and facts, and no transaction', async () => {
    const { runner, events, calls, transactions, predictions, facts } = await run('at-least-once', 1, () => 'no')
    expect(predictedVectors(predictions)).toEqual(replayedVectors(replayed(runner.plan, partitions, events)))
    expect(facts).toEqual((await run('exactly-once', 1, () => 'no')).facts)
    expect(calls).toBeGreaterThan(10)
    expect(transactions).toBe(0)
    const { topic } = runner.plan.scored
    const committed = await runner.broker.groups.committedOffsets(
      'workers',
      [0, 1].map((partition) => ({ topic, partition })),
    )
    expect(committed.map(({ offset }) => offset! > 0)).toEqual([true, true])
  })

  test.each(someOf([2, 3, 4, 5], 2))(
    'after what fails between publishing and applying: none lost, doubled ones alike, seed %i',
    async (seed) => {
      const random = createRandom(seed)
      const failures = (call: number) => (call % 3 === 0 ? random.pick(['lost', 'died', 'no'] as const) : 'no')
      const { runner, events, predictions, facts } = await run('at-least-once', seed, failures)
      const expected = replayedVectors(replayed(runner.plan, partitions, events))
      const found = new Map(predictedVectors(predictions))
      expect([...found].sort()).toEqual([...expected].sort())
      expect(predictions.length).toBeGreaterThan(expected.length)
      // Doubled ones have the same vector.
      const pairs = new Set(predictedVectors(predictions).map((pair) => pair.join(' ')))
      expect(pairs.size).toBe(expected.length)
      expect(facts).toEqual((await run('exactly-once', seed, () => 'no')).facts)
    },
  )

  test('a store that was emptied is folded again to the committed offsets', async () => {
    const { runner, events, facts } = await run('at-least-once', 6, () => 'no')
    runner.store.empty()
    const again = runner.start({ limits: small })
    await again.until('all is folded again', () => again.state().isReady)
    await runner.clock.sleep(1_000)
    await again.stop()
    expect(again.metrics.totals.restored).toBeGreaterThan(events.length)
    expect(await runner.facts()).toEqual(facts)
    expect((await runner.predictions()).length).toBe(clicksIn(events))
  })
})
