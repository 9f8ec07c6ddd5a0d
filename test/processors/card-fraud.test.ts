/** The reference pipeline over the Handbook's events: live predictions are, bit for bit, what the pure core gives in event-time order. */
import { beforeAll, describe, expect, test } from 'vitest'
import cardFraud from '../../pipelines/card-fraud.ts'
import { handbookEvents, handbookStartMs } from '../../pipelines/handbook.ts'
import {
  createPipelineRunner,
  predictedVectors,
  replayed,
  replayedVectors,
  type StreamEvent,
} from '../../testing/index.ts'
import { handbookTable } from '../support/handbook-table.ts'
import { someOf } from '../support/nightly.ts'

const dayMs = 86_400_000
const days = 45
/** One customer in so many: all windows get full, and a run takes seconds. */
const every = 100

let events: StreamEvent[]

beforeAll(() => {
  events = []
  for (const event of handbookEvents(handbookTable(), { untilSecond: days * 86_400 })) {
    if (Number(event.values.customerId) % every === 0) events.push(event)
  }
})

describe.each(someOf([4, 1, 3], 1))('card fraud on %i partitions', (partitions) => {
  test('scores every transaction once, with the vector of the pure core', async () => {
    const startMs = handbookStartMs + days * dayMs
    const runner = await createPipelineRunner({ pipeline: cardFraud, partitions, startMs })
    const expected = replayed(runner.plan, partitions, events)
    await runner.sendAll(events)
    const worker = runner.start()
    await worker.until('all are scored', () => worker.metrics.totals.predictions >= expected.length)
    await runner.clock.sleep(3_000)
    await worker.stop()

    const predictions = await runner.predictions()
    expect(predictions.length).toBe(expected.length)
    expect(predictedVectors(predictions)).toEqual(replayedVectors(expected))
    expect(await runner.rejections()).toEqual([])
    expect(worker.metrics.totals).toMatchObject({ late: 0, releasedEarly: 0, duplicates: 0, rejected: 0, restored: 0 })
  })
})
