/** What a folded batch sends: repartition records, watermark records, predictions, dead letters. */
import { describe, expect, test } from 'vitest'
import { deadLetterRecords, rejectionOf, sendOn, sendPredictions } from '../../processors/batch/outputs.ts'
import { changedEvent, recordOf, type StageEvent, stageEventOf } from '../../processors/batch/stage-event.ts'
import { fetchedEvents } from '../../processors/batch/task-input.ts'
import { watermarkRecords } from '../../processors/watermarks/watermark-records.ts'
import type { OutRecord } from '../../runtime/broker.ts'
import { unframed } from '../../runtime/framed-records.ts'
import { createOutbox, type Outbox, takeOut } from '../../runtime/outbox.ts'
import { partitionOf } from '../../runtime/partition.ts'
import { recordsOf } from '../../runtime/records.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { createRows, putEvent } from '../../schemas/wire/event-rows.ts'
import type { StreamEvent } from '../../testing/index.ts'
import { foldedOf } from '../support/batch-steps.ts'
import { click, clicksPipeline, clicksStartMs, refund } from '../support/clicks.ts'

const plan = compile(clicksPipeline())
const [userStage, pageStage] = plan.stages
const repartition = userStage!.repartitionOut!
const partitions = 3
const options = { plan, stage: userStage!, partition: 1, partitionsOf: () => partitions }
const stagePosition = { stage: 'user', partition: 1, next: [7, 2] }
/** Pages in partitions 0 and 1. */
const [pageOf0, pageOf1] = [0, 1].map(
  (wanted) => ['p', 'q', 'r', 's', 't', 'u'].find((page) => partitionOf(Buffer.from(page), partitions) === wanted)!,
)

function stageEvent({ stream, values }: StreamEvent, offset = 4): StageEvent {
  const found = plan.streams.find(({ name }) => name === stream)!
  const record = { offset, appendedAtMs: 99, key: Buffer.from('anna'), value: found.codec.encode(values), headers: {} }
  const fetched = fetchedEvents(recordsOf([record]), { input: 0, partition: 1, round: 1, readAtMs: 0 })
  fetched.rows[found.index] = createRows(found.codec.layout, 1, fetched.records.bytes)
  putEvent(fetched.rows[found.index]!, 0, values)
  return stageEventOf(found, fetched, 0, 0, 'anna')
}

/** Of all partitions, one partition after the other. */
function sentBy(send: (outbox: Outbox) => void): OutRecord[] {
  const outbox = createOutbox()
  send(outbox)
  return takeOut(outbox).flatMap(unframed)
}

const at = (seconds: number) => clicksStartMs + seconds * 1_000

describe('repartition records', () => {
  const folded = foldedOf([
    [stageEvent(click('a', 'anna', 1, { page: pageOf0! })), [1, 2]],
    [stageEvent(click('b', 'anna', 2, { page: pageOf0! })), [3, Number.NaN]],
    [stageEvent(refund('c', 'anna', 3, { page: pageOf1! })), null],
  ])
  const sent = sentBy((outbox) => sendOn({ ...options, outbox }, repartition, folded, stagePosition))
  const records = sent.map(({ value }) => repartition.codec.decode(value!))

  test('go to the partition of the next key, in the order of the fold', () => {
    expect(sent.map(({ topic, partition, key }) => [topic, partition, key?.toString()])).toEqual([
      ['clicks.page', 0, pageOf0],
      ['clicks.page', 0, pageOf0],
      ['clicks.page', 1, pageOf1],
    ])
  })

  test('carry event, origin, slots of the earlier stages and their positions', () => {
    expect(repartition.slots.length).toBe(2)
    expect(records[1]).toEqual({
      kind: 'event',
      source: 1,
      stream: 0,
      origin: { partition: 1, offset: 4 },
      event: click('b', 'anna', 2, { page: pageOf0! }).values,
      slots: [3, Number.NaN],
      unsent: [],
      positions: [stagePosition],
    })
    expect(records[2]).toMatchObject({ kind: 'event', stream: 1, slots: [], positions: [] })
  })
})

const beforeAll = Date.parse('0001-01-01T00:00:00Z') - 1

test('watermark records tell every partition the progress of the tasks; before its first event a task is dated before all instants', () => {
  const sources = [
    {
      source: 0,
      watermark: at(9),
      order: 7,
      retentionWatermark: at(8),
      idle: false,
      idleUpTo: null,
      caughtUp: true,
      advancing: false,
    },
    {
      source: 2,
      watermark: Number.NEGATIVE_INFINITY,
      order: -1,
      retentionWatermark: Number.NEGATIVE_INFINITY,
      idle: true,
      idleUpTo: { time: Number.NEGATIVE_INFINITY, order: -1 },
      caughtUp: false,
      advancing: true,
    },
  ]
  const observed = [
    { time: at(9), order: 7 },
    { time: Number.NEGATIVE_INFINITY, order: -1 },
  ]
  const sent = watermarkRecords(
    repartition,
    { kind: 'watermark', sources, observed, requestsProgress: true },
    partitions,
  )
  expect(sent.map(({ topic, partition, key }) => [topic, partition, key])).toEqual([
    ['clicks.page', 0, null],
    ['clicks.page', 1, null],
    ['clicks.page', 2, null],
  ])
  for (const { value } of sent) {
    expect(repartition.codec.decode(value!)).toEqual({
      kind: 'watermark',
      sources: [
        sources[0],
        { ...sources[1], watermark: beforeAll, retentionWatermark: null, idleUpTo: { time: beforeAll, order: -1 } },
      ],
      observed: [observed[0], { time: beforeAll, order: -1 }],
      requestsProgress: true,
    })
  }
})

test('predictions have the key of the event and name every stage that they passed', () => {
  const earlier = { stage: 'user', partition: 0, next: [1, 1] }
  const event = changedEvent(stageEvent(click('a', 'anna', 1)), { positions: [earlier] })
  const folded = foldedOf([
    [event, [1, 2, Number.NaN, 4, 5, 6]],
    [stageEvent(refund('x', 'anna', 2)), null],
  ])
  folded.modelVersion = 'v1'
  folded.scores[0] = 0.5
  Object.assign(folded.reasons, { names: ['amount'], count: 1 })
  folded.reasons.ends[0] = 1
  folded.reasons.contributions[0] = 1
  folded.shadows.push([{ version: 'v2', score: 0.25 }])
  const position = { stage: 'page', partition: 1, next: [5] }
  const records = sentBy((outbox) => sendPredictions({ ...options, outbox, stage: pageStage! }, folded, position))
  expect(records.map(({ topic, partition, key }) => [topic, partition, key?.toString()])).toEqual([
    ['clicks.predictions', partitionOf(Buffer.from('anna'), partitions), 'anna'],
  ])
  expect(plan.predictions.codec.decode(records[0]!.value!)).toEqual({
    id: 'a',
    time: at(1),
    score: 0.5,
    modelVersion: 'v1',
    features: [1, 2, Number.NaN, 4, 5, 6],
    fingerprint: plan.fingerprint,
    origin: { partition: 1, offset: 4 },
    positions: [earlier, { stage: 'page', partition: 1, next: [5] }],
    reasons: [{ feature: 'amount', contribution: 1 }],
    shadow: [{ version: 'v2', score: 0.25 }],
  })
})

describe('dead letters', () => {
  const problems = [{ path: '/features/guarded', code: 'function_threw' as const, expected: 'e', received: 'r' }]
  const event = stageEvent(click('a', 'anna', 1))

  test('of the stage that reads the raw topic have the bytes as they came', () => {
    const rejection = rejectionOf(plan, userStage!, event, problems)
    expect(rejection).toEqual({
      topic: 'clicks',
      partition: 1,
      offset: 4,
      appendedAtMs: 99,
      key: recordOf(event).key,
      value: recordOf(event).value,
      headers: {},
      problems,
    })
  })

  test('of later stages have the event as its raw topic takes it', () => {
    const records = recordsOf([{ ...recordOf(event), value: Buffer.from('hop') }])
    const sentOn = changedEvent(event, { fetched: { ...event.fetched, records } })
    const rejection = rejectionOf(plan, pageStage!, sentOn, problems)
    expect(rejection.key).toEqual(Buffer.from('anna'))
    expect(plan.scored.codec.decode(rejection.value)).toEqual({ ok: true, event: click('a', 'anna', 1).values })
  })

  test('go to the partition number of the original record, if there is one', () => {
    const rejection = { ...rejectionOf(plan, userStage!, event, problems), partition: 5 }
    const [record] = deadLetterRecords(options, [rejection])
    expect(record).toMatchObject({ topic: 'clicks.rejected', partition: 2, key: Buffer.from('anna') })
    expect(plan.rejected.codec.decode(record!.value!)).toEqual({
      stage: 'user',
      ...rejection,
      keyBytes: 4,
      valueBytes: rejection.value!.length,
      attempt: 0,
    })
  })
})
