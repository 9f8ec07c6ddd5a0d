/** Step 6: what a batch sends, with the offsets that it has consumed, and how it is sent. */
import { describe, expect, test } from 'vitest'
import type { ActiveBatch } from '../../../processors/batch/active-batch.ts'
import { dueUpdates, encode, publicationOf, publish } from '../../../processors/batch/publish.ts'
import { encodePosition } from '../../../processors/position.ts'
import { createProgressExchange } from '../../../processors/watermarks/progress-exchange.ts'
import { createSourceFrontiers } from '../../../processors/watermarks/source-frontiers.ts'
import type { Membership, OffsetToCommit, OutRecord, Worker } from '../../../runtime/broker.ts'
import { isFramed, type Outgoing, unframed } from '../../../runtime/framed-records.ts'
import { createOutbox } from '../../../runtime/outbox.ts'
import { PipelineError } from '../../../schemas/kernel/errors.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import { activeBatch, foldedOf, freshPosition, heldEvent, openClicks } from '../../support/batch-steps.ts'
import { click, clicksPipeline } from '../../support/clicks.ts'
import { failureOf } from '../../support/failure-of.ts'

const plan = compile(clicksPipeline({ stages: 2 }))
const [userStage, pageStage] = plan.stages
const partitionsOf = (topic: string) => (topic === plan.rejected.topic ? 2 : 1)
const parts = { plan, partitionsOf, outbox: createOutbox() }
const slots = new Array<number>(userStage!.repartitionOut!.slots.length).fill(0)
const open = await openClicks(plan)
const position = {
  ...freshPosition(2),
  inputs: [
    { resumeOffset: 3, nextOffset: 5, maxEventTime: 70 },
    { resumeOffset: 1, nextOffset: 1, maxEventTime: 60 },
  ],
}
const rejection = {
  topic: 'clicks',
  partition: 3,
  offset: 8,
  appendedAtMs: 0,
  key: null,
  value: Buffer.from('bad'),
  headers: {},
  problems: [],
}

/** One event that was folded, with one record rejected beside it. */
function foldedBatch(rest: Partial<ActiveBatch['batch']> = {}): ActiveBatch {
  const event = heldEvent(plan, click('a', 'anna', 0), 2)
  const batch = activeBatch(open, [event], { position, rejections: [rejection], ...rest })
  return batch
}

function exchangeOf() {
  return createProgressExchange({
    stage: userStage!,
    tasks: [open.task],
    readers: [],
    partitions: 1,
    sourceFrontiers: createSourceFrontiers(1, 0),
    readersHeldMax: 100,
    progressConsumer: null,
  })
}

const single = (records: readonly Outgoing[]) => records.flatMap((one) => (isFramed(one) ? unframed(one) : one))
const topicsOf = (records: readonly OutRecord[]) => records.map(({ topic, partition }) => [topic, partition])

const context = { nowMs: 0, advancingEveryMs: 1_000 }

function sentWith(
  of: typeof parts,
  batches: readonly ActiveBatch[],
  updates: Parameters<typeof publicationOf>[2],
  numbers: readonly number[] = slots,
) {
  for (const batch of batches) {
    const folded = foldedOf(batch.batch.events.map((event) => [event, numbers]))
    encode({ ...of, folded }, batch)
  }
  return publicationOf(of, batches, updates)
}

describe('a publication', () => {
  test('of a stage before the last has repartition records, dead letters, and behind them watermark records', () => {
    const batches = [foldedBatch()]
    const { records } = sentWith(parts, batches, dueUpdates([exchangeOf()], batches, { ...context, answeredRound: 1 }))
    expect(topicsOf(single(records))).toEqual([
      ['clicks.page', 0],
      ['clicks.page', 0],
      // The partition of the record, as far as the topic has it.
      ['clicks.rejected', 1],
    ])
    const [event, watermark] = single(records).map(({ value }) => value!)
    const { codec } = userStage!.repartitionOut!
    expect(codec.decode(event!)).toMatchObject({ kind: 'event', source: 0, origin: { partition: 0, offset: 2 } })
    expect(codec.decode(watermark!)).toMatchObject({ kind: 'watermark', sources: [{ source: 0 }] })
  })

  test('of the last stage has predictions in the partition of their key', async () => {
    const last = { ...open, task: { ...open.task, stage: pageStage! } }
    const batch = { ...foldedBatch(), open: last, rejections: [] }
    const { records } = sentWith(parts, [batch], [], [1, 2, 3, 4, 5, 6])
    expect(batch.predictions).toEqual({ count: 1, model: null })
    expect(topicsOf(single(records))).toEqual([['clicks.predictions', 0]])
    expect(plan.predictions.codec.decode(single(records)[0]!.value!)).toMatchObject({
      id: 'a',
      features: [1, 2, 3, 4, 5, 6],
    })
  })

  test('commits where each input is read again, with the whole position beside it', () => {
    const { offsets } = sentWith(parts, [foldedBatch()], [])
    const metadata = encodePosition(position)
    expect(offsets).toEqual([
      { topic: 'clicks', partition: 0, offset: 3, metadata },
      { topic: 'refunds', partition: 0, offset: 1, metadata },
    ])
  })

  test('has nothing of what was restored', () => {
    const batches = [foldedBatch({ isRestore: true })]
    expect(sentWith(parts, batches, [])).toEqual({ records: [], offsets: [] })
  })
})

describe('updates', () => {
  const contextOf = (batches: readonly ActiveBatch[]) =>
    dueUpdates([exchangeOf()], batches, { ...context, answeredRound: 9 })[0]?.context

  test('know whether tasks of the stage send events in this transaction', () => {
    expect(contextOf([foldedBatch()])).toEqual({ ...context, isSending: true, answeredRound: 9 })
    // Nothing is due where nothing is sent and nothing has moved.
    expect(contextOf([foldedBatch({ isRestore: true })])).toBeUndefined()
    expect(contextOf([foldedBatch({ events: [] })])).toBeUndefined()
  })
})

describe('publishing', () => {
  const membership: Membership = { generation: 1, memberId: 'a', tasks: [] }
  const records: OutRecord[] = [{ topic: 'clicks.predictions', partition: 0, key: null, value: Buffer.from('x') }]
  const offsets: OffsetToCommit[] = [{ topic: 'clicks', partition: 0, offset: 3, metadata: '' }]

  /** How the worker was called for this publication, with this delivery. */
  async function callsOf(delivery: typeof plan.delivery, publication: Parameters<typeof publish>[1]) {
    const calls: unknown[] = []
    const worker: Pick<Worker, 'transact' | 'publish'> = {
      transact: async (...args) => void calls.push(['transact', ...args]),
      publish: async (...args) => void calls.push(['publish', ...args]),
    }
    await publish({ plan: { ...plan, delivery }, worker, membership }, publication)
    return calls
  }

  test('exactly once is one transaction of records and offsets', async () => {
    expect(await callsOf('exactly-once', { records, offsets })).toEqual([['transact', records, offsets, membership]])
    expect(await callsOf('exactly-once', { records: [], offsets })).toEqual([['transact', [], offsets, membership]])
    expect(await callsOf('exactly-once', { records, offsets: [] })).toEqual([['transact', records, [], membership]])
  })

  test('at least once writes the records; offsets wait until the store has the batch', async () => {
    expect(await callsOf('at-least-once', { records, offsets })).toEqual([['publish', records]])
    expect(await callsOf('at-least-once', { records: [], offsets })).toEqual([])
  })

  test('of nothing asks nothing of the broker', async () => {
    expect(await callsOf('exactly-once', { records: [], offsets: [] })).toEqual([])
  })

  test('fails with what the broker refuses', async () => {
    const fenced = new PipelineError('fenced', 'another process')
    const worker = { transact: () => Promise.reject(fenced), publish: () => expect.unreachable() }
    expect(await failureOf(publish({ plan, worker, membership }, { records, offsets }))).toBe(fenced)
  })
})
