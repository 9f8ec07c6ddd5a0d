/**
 * Events of dead letters that are requeued into their raw topics: each is scored once, with the vector of its original position, however
 * often and with any headers it is requeued.
 */
import { describe, expect, test } from 'vitest'
import { requeue } from '../../processors/recovery/requeue.ts'
import { partitionOf } from '../../runtime/partition.ts'
import {
  count,
  definePipeline,
  derive,
  entity,
  logisticRegression,
  number,
  stream,
  text,
  timestamp,
} from '../../schemas/definition/definition.ts'
import type { EventValues } from '../../schemas/kernel/event.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { attemptHeader, rejectedByHeader } from '../../schemas/wire/dead-letter.ts'
import type { DeadLetter } from '../../schemas/wire/records.ts'
import {
  createPipelineRunner,
  type PipelineRunner,
  predictedVectors,
  replayed,
  replayedVectors,
  type Started,
  type StreamEvent,
} from '../../testing/index.ts'
import { createRandom } from '../../testing/random.ts'
import { click, clicksPipeline, clicksStartMs, refund } from '../support/clicks.ts'
import { someOf } from '../support/nightly.ts'

const partitions = 2
const startMs = clicksStartMs + 6 * 3_600_000

/** The two entities of the clicks; the second counts clicks or only refunds, and the function throws for 13 while it is broken. */
function pipelineOf({
  isBroken,
  rekey = false,
  countsClicks = true,
}: {
  isBroken: boolean
  rekey?: boolean
  countsClicks?: boolean
}) {
  const fields = {
    clickId: text(),
    user: text(),
    page: text(),
    amount: number({ decimals: 2, optional: true }),
    at: timestamp(),
  }
  const clicks = stream('clicks', { id: 'clickId', key: 'user', time: 'at', lateness: '1h', rekey, fields })
  const refunds = stream('refunds', {
    id: 'clickId',
    key: 'user',
    time: 'at',
    fields: { clickId: text(), user: text(), page: text(), clickedAt: timestamp(), at: timestamp() },
  })
  const user = entity('user', [clicks.fields.user, refunds.fields.user])
  const page = entity('page', [clicks.fields.page, refunds.fields.page])
  return definePipeline({
    name: 'clicks',
    version: 1,
    scores: clicks,
    features: {
      guarded: derive([clicks.fields.amount], (value) => {
        if (isBroken && value === 13) throw new Error('unlucky')
        return value
      }),
      userCount: count(clicks, { by: user, over: '10m' }),
      refunds: count(refunds, { by: page, over: '10m' }),
      ...(countsClicks ? { pageCount: count(clicks, { by: page, over: '10m' }) } : {}),
    },
    label: { from: refunds, value: 1, otherwise: { value: 0, after: '1h' } },
    model: logisticRegression(),
  })
}

/** In event-time order and several an instant; every seventh click fails while the function is broken. */
function someEvents(seed: number, length = 150): StreamEvent[] {
  const random = createRandom(seed)
  let seconds = 0
  return Array.from({ length }, (_, i) => {
    seconds += random.below(3)
    const [user, page] = [`user${random.below(5)}`, `page${random.below(3)}`]
    if (random.below(5) === 0) return refund(`e${i - 1}`, user, seconds, { page })
    return click(`e${i}`, user, seconds, { page, amount: i % 7 === 0 ? 13 : 5 })
  })
}

async function requeueAll(
  runner: PipelineRunner,
  deadLetters: readonly DeadLetter[],
  headers: Record<string, Buffer> = {},
) {
  const producer = await runner.broker.data.producer()
  for (const deadLetter of deadLetters) {
    const outcome = requeue(deadLetter, deadLetter.value, {
      plan: runner.plan,
      partitionsOf: () => partitions,
      nowMs: runner.clock.nowMs(),
    })
    if (!outcome.ok) throw new Error(`${outcome.code}: ${outcome.reason}`)
    await producer.send([{ ...outcome.record, headers: { ...outcome.record.headers, ...headers } }])
  }
  await producer.close()
}

async function quiet(runner: PipelineRunner, worker: Started): Promise<void> {
  await runner.clock.sleep(3_000)
  await worker.stop()
}

async function expectReplay(runner: PipelineRunner, events: readonly StreamEvent[]) {
  const expected = replayed(runner.plan, partitions, events)
  expect(predictedVectors(await runner.predictions())).toEqual(replayedVectors(expected))
}

describe.each([
  ['', {}],
  [', rekeyed', { rekey: true }],
  [', where the last entity does not count them', { countsClicks: false }],
])('events that a later stage had rejected%s', (_, options) => {
  test.each(someOf([1, 2, 3], 1))(
    'get the vector of their original position when they are requeued after a fix, and none when requeued again: seed %i',
    async (seed) => {
      const broken = pipelineOf({ isBroken: true, ...options })
      const fixed = compile(pipelineOf({ isBroken: false, ...options }))
      const runner = await createPipelineRunner({ pipeline: broken, partitions, startMs })
      const events = someEvents(seed)
      await runner.sendAll(events)
      await quiet(runner, runner.start())
      const deadLetters = await runner.rejections()
      const failed = events.filter(({ stream, values }) => stream === 'clicks' && values.amount === 13)
      expect(deadLetters.map(({ stage }) => stage)).toEqual(failed.map(() => 'page'))
      expect(deadLetters.length).toBeGreaterThan(10)

      // Still broken: rejected again, with the next attempt number and the original location.
      await requeueAll(runner, deadLetters.slice(0, 3))
      await quiet(runner, runner.start())
      const again = (await runner.rejections()).filter(({ attempt }) => attempt === 1)
      const origins = (list: readonly DeadLetter[]) =>
        list.map(({ partition, offset }) => `${partition}@${offset}`).sort()
      expect(origins(again)).toEqual(origins(deadLetters.slice(0, 3)))

      await requeueAll(runner, [...deadLetters, ...again])
      const worker = runner.start({ plan: fixed })
      await quiet(runner, worker)
      expect(worker.metrics.totals).toMatchObject({ predictions: failed.length, duplicates: 3, rejected: 0 })
      const expected = replayed(fixed, partitions, events)
      const predictions = await runner.predictions()
      const originOf = (id: string) => predictions.find((one) => one.id === id)!.origin
      expect(new Set(predictions.map(({ id }) => id)).size).toBe(predictions.length)
      for (const { id, vector } of expected.filter(({ id }) => failed.some(({ values }) => values.clickId === id))) {
        expect(predictedVectors(predictions.filter((one) => one.id === id))).toEqual(
          replayedVectors([{ id, vector } as never]),
        )
        expect(
          deadLetters.some(
            ({ partition, offset }) => partition === originOf(id).partition && offset === originOf(id).offset,
          ),
        ).toBe(true)
      }

      // Requeued again, with a header that names any stage: duplicates, found in the last stage at the latest.
      const facts = await runner.facts()
      for (const stage of ['user', 'page', 'rekey', 'nobody'])
        await requeueAll(runner, deadLetters, { [rejectedByHeader]: Buffer.from(stage) })
      const withHeaders = runner.start({ plan: fixed })
      await quiet(runner, withHeaders)
      expect(withHeaders.metrics.totals).toMatchObject({
        predictions: 0,
        duplicates: 4 * deadLetters.length,
        rejected: 0,
      })
      expect(await runner.facts()).toEqual(facts)

      // Everything is restored: the same facts, and nothing is published.
      runner.store.empty()
      const restoring = runner.start({ plan: fixed })
      await restoring.until('everything is restored', () => restoring.state().isReady)
      await quiet(runner, restoring)
      expect(restoring.metrics.totals.predictions).toBe(0)
      expect(Object.keys(await runner.facts())).toEqual(Object.keys(facts))
      expect(await runner.facts()).toEqual(facts)
    },
  )
})

test('events that the first stage had rejected leave no trace until they are requeued, fixed and in the right partition', async () => {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions, startMs })
  const home = partitionOf(Buffer.from('anna'), partitions)
  const events = [click('a', 'anna', 1), click('b', 'anna', 2), click('c', 'anna', 3), click('d', 'anna', 4)]
  await runner.sendAll([events[0]!, { ...events[1]!, partition: 1 - home }])
  const { amount, ...incomplete } = events[2]!.values
  await runner.sendRaw('clicks', home, JSON.stringify({ ...incomplete, amount: 'much' }))
  await quiet(runner, runner.start())
  const deadLetters = await runner.rejections()
  expect(deadLetters.map(({ problems }) => problems[0]!.code).sort()).toEqual(['partition_mismatch', 'type'])
  const mismatch = deadLetters.find(({ problems }) => problems[0]!.code === 'partition_mismatch')!
  const options = { plan: runner.plan, partitionsOf: () => partitions, nowMs: startMs }
  const bad = deadLetters.find((deadLetter) => deadLetter !== mismatch)!
  expect(requeue(bad, bad.value, options)).toEqual({
    ok: false,
    code: 'type',
    reason: '/amount expected a finite number with at most 2 decimals, received "much"',
  })
  const fixed = { ...bad, value: Buffer.from(JSON.stringify(events[2]!.values)) }
  await requeueAll(runner, [mismatch, fixed])
  await requeueAll(runner, [mismatch, fixed])
  await runner.sendAll(events.slice(3))
  const worker = runner.start()
  await quiet(runner, worker)
  expect(worker.metrics.totals).toMatchObject({ predictions: 3, duplicates: 2 })
  await expectReplay(runner, events)
  expect(amount).toBe(1)
})

test('an event that came over HTTP and was never in Kafka is requeued like any other', async () => {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions, startMs })
  const event = click('a', 'anna', 1)
  const value = Buffer.from(JSON.stringify(event.values))
  const location = { topic: 'clicks', partition: -1, offset: -1, appendedAtMs: startMs, key: null, keyBytes: null }
  const problems = [{ path: '', code: 'late', expected: 'e', received: 'r' }] as const
  await requeueAll(runner, [
    { stage: 'http', ...location, value, valueBytes: value.length, headers: {}, attempt: 0, problems },
  ])
  await quiet(runner, runner.start())
  await expectReplay(runner, [event])
})

test('an event beyond the declared lateness is rejected as late, with the next attempt number', async () => {
  const runner = await createPipelineRunner({ pipeline: pipelineOf({ isBroken: true }), partitions, startMs })
  await runner.sendAll([click('a', 'anna', 1, { amount: 13 }), click('b', 'anna', 3_700)])
  await quiet(runner, runner.start())
  await requeueAll(runner, await runner.rejections())
  await quiet(runner, runner.start({ plan: compile(pipelineOf({ isBroken: false })) }))
  const rejected = (await runner.rejections()).map(
    ({ stage, attempt, problems }) => `${stage} ${attempt} ${problems[0]!.code}`,
  )
  expect(rejected).toEqual(['page 0 function_threw', 'user 1 late'])
})

test('an event whose facts have expired in the last stage is rejected, since it may have been predicted', async () => {
  const pipeline = pipelineOf({ isBroken: false, rekey: true })
  const runner = await createPipelineRunner({ pipeline, partitions, startMs })
  const old: EventValues = click('old', 'anna', 1).values
  await runner.sendAll([
    { stream: 'clicks', values: old, partition: 0 },
    // Two and a half hours later, in the other partition: the task of an entity takes its event time from both.
    ...[0, 1, 2, 3, 4, 5].map((i) => ({ ...click(`n${i}`, `user${i}`, 9_000, { page: `page${i}` }), partition: 1 })),
    { ...click('now', 'anna', 9_000), partition: 1 },
  ])
  await quiet(runner, runner.start())
  const before = (await runner.predictions()).length
  const producer = await runner.broker.data.producer()
  const headers = { [rejectedByHeader]: Buffer.from('page'), [attemptHeader]: Buffer.from('1') }
  await producer.send([
    { topic: 'clicks', partition: 0, key: null, value: runner.plan.scored.codec.encode(old), headers },
  ])
  await quiet(runner, runner.start())
  expect((await runner.predictions()).length).toBe(before)
  const [deadLetter] = await runner.rejections()
  expect(deadLetter).toMatchObject({
    stage: 'user',
    attempt: 1,
    problems: [{ path: '/at', code: 'late', received: '2024-01-01T00:00:01.000Z' }],
  })
})
