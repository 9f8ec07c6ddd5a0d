/**
 * Predictions that were made before a fact of their windows arrived: as many are counted as differ from a replay, each once, and the count
 * outlives the process.
 */
import { describe, expect, test } from 'vitest'
import { committedPosition } from '../../processors/recovery/committed-position.ts'
import {
  createPipelineRunner,
  createRandom,
  defaultGroup,
  predictedVectors,
  replayed,
  replayedVectors,
  type StreamEvent,
} from '../../testing/index.ts'
import { click, clicksPipeline, clicksStartMs, refund } from '../support/clicks.ts'

/** Events are before the run. */
const startMs = clicksStartMs + 10 * 86_400_000
const users = ['anna', 'bert', 'cleo']

/** Clicks and, of some of them, refunds between 10 s and 5 minutes later; not at the same instants. */
function drawn(seed: number, everySeconds = 7): { clicks: StreamEvent[]; refunds: StreamEvent[] } {
  const random = createRandom(seed)
  const clicks = Array.from({ length: 200 }, (_, i) =>
    click(`c${i}`, users[random.below(users.length)]!, i * everySeconds),
  )
  const refunds = clicks.flatMap((clicked, i) => {
    if (random.below(4) > 0) return []
    const { clickId, user } = clicked.values as { clickId: string; user: string }
    return [refund(clickId, user, i * everySeconds + 10.001 + random.below(290), { clickedAt: i * everySeconds })]
  })
  return { clicks, refunds: refunds.toSorted((a, b) => (a.values.at as number) - (b.values.at as number)) }
}

const byTime = (events: readonly StreamEvent[]) =>
  events.toSorted((a, b) => (a.values.at as number) - (b.values.at as number))

/** Each part is sent once the one before is folded, by a process of its own. */
async function sendOneAfterTheOther(
  pipeline: ReturnType<typeof clicksPipeline>,
  parts: ReadonlyArray<readonly StreamEvent[]>,
) {
  const runner = await createPipelineRunner({ pipeline, partitions: 2, startMs })
  const messages: string[] = []
  let overtaken = 0
  let state: ReturnType<ReturnType<typeof runner.start>['state']>['overtaken'] = null
  for (const part of parts) {
    await runner.sendAll(part)
    const worker = runner.start()
    await worker.until('all are folded', () => worker.metrics.totals.events >= part.length)
    overtaken += worker.metrics.totals.overtaken
    state = worker.state().overtaken
    messages.push(...worker.messages)
    await worker.stop()
  }
  const all = new Map(replayedVectors(replayed(runner.plan, 2, byTime(parts.flat()))))
  const differing = predictedVectors(await runner.predictions()).filter(([id, bits]) => all.get(id) !== bits).length
  return { runner, overtaken, differing, messages, state }
}

describe('a stream that is sent after the one that is scored', () => {
  test.each([1, 2, 3, 4])('overtakes as many predictions as differ from a replay: seed %i', async (seed) => {
    const { clicks, refunds } = drawn(seed)
    const pipeline = clicksPipeline({ stages: 1, over: '1h' })
    const { overtaken, differing, messages, state } = await sendOneAfterTheOther(pipeline, [clicks, refunds])
    expect(differing).toBeGreaterThan(50)
    expect(overtaken).toBe(differing)
    expect(state).toMatchObject({ predictions: differing, isShort: false })
    const told = messages.filter((message) => message.includes('came to user'))
    expect(told).toHaveLength(1)
    expect(told[0]).toMatch(
      /^A fact of refunds of 2024-.* came to user \d after later events had been predicted: with such facts, \d+ /,
    )
    expect(told[0]).toMatch(/millrace recompute/)
  })

  test('counts each once, in whatever order the late facts come', async () => {
    const { clicks, refunds } = drawn(5)
    const pipeline = clicksPipeline({ stages: 1, over: '1h' })
    const [odd, even] = [1, 0].map((rest) => refunds.filter((_, i) => i % 2 === rest))
    const random = createRandom(6)
    const shuffled = even!.map((event) => [random.next(), event] as const).sort(([a], [b]) => a - b)
    const sent = [clicks, [...odd!, ...shuffled.map(([, event]) => event)]]
    const { overtaken, differing } = await sendOneAfterTheOther(pipeline, sent)
    expect(overtaken).toBe(differing)
  })

  test('says that there are more where the facts are kept no longer', async () => {
    // Of a hundred hours, those of twice the window and the lateness are kept.
    const { clicks, refunds } = drawn(7, 1_800)
    const pipeline = clicksPipeline({ stages: 1, over: '8h' })
    const inParts = [0, 50, 100, 150].map((from) => clicks.slice(from, from + 50))
    const { overtaken, differing, messages, state } = await sendOneAfterTheOther(pipeline, [...inParts, refunds])
    expect(overtaken).toBeGreaterThan(0)
    expect(overtaken).toBeLessThan(differing)
    expect(state).toMatchObject({ isShort: true })
    expect(messages.join()).toMatch(/at least \d+ \(facts of the others are kept no longer\)/)
  })
})

test('sent in one order, none is overtaken', async () => {
  const { clicks, refunds } = drawn(8)
  const { overtaken, differing, state } = await sendOneAfterTheOther(clicksPipeline({ stages: 1 }), [
    byTime([...clicks, ...refunds]),
  ])
  expect([overtaken, differing, state]).toEqual([0, 0, null])
})

test('late events of the scored stream overtake those after them, and positions keep the count', async () => {
  const pipeline = clicksPipeline({ stages: 1, over: '1h' })
  const clicks = Array.from({ length: 50 }, (_, i) => click(`c${i}`, 'anna', i * 7))
  const late = clicks.filter((_, i) => i % 10 === 5)
  const inOrder = clicks.filter((event) => !late.includes(event))
  const { runner, overtaken, differing } = await sendOneAfterTheOther(pipeline, [inOrder, late])
  expect(overtaken).toBe(differing)
  const { plan, broker } = runner
  const inputs = plan.streams.map(({ topic }) => ({ topic, partition: 1 }))
  let counted = 0
  for (const partition of [0, 1]) {
    const at = inputs.map((input) => ({ ...input, partition }))
    counted +=
      committedPosition('user', partition, await broker.groups.committedOffsets(defaultGroup, at))?.disorder
        ?.overtaken ?? 0
  }
  expect(counted).toBe(overtaken)
})
