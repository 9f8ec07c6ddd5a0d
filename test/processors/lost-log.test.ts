/**
 * Kafka lost records or offsets, or retention removed them: every case ends with the predictions of an undisturbed run, or stops with an
 * error that names what is missing.
 */
import { describe, expect, test } from 'vitest'
import type { TopicPartition } from '../../runtime/broker.ts'
import {
  createPipelineRunner,
  defaultGroup,
  type PipelineRunner,
  predictedVectors,
  replayed,
  replayedVectors,
  type Started,
  type StreamEvent,
} from '../../testing/index.ts'
import { createRandom } from '../../testing/random.ts'
import { click, clicksPipeline, clicksStartMs, refund } from '../support/clicks.ts'

const partitions = 2
const pages = ['home', 'list', 'item']
const minute = 60
/** Longer than a label may be late, so that facts of removed events have expired. */
const startMs = clicksStartMs + 72 * 3_600_000

/** One event every ten minutes: 300 of them span two days. */
function someEvents(count: number): StreamEvent[] {
  const random = createRandom(5)
  return Array.from({ length: count }, (_, i) => {
    const [user, page, seconds] = [`user${random.below(7)}`, random.pick(pages), i * 10 * minute]
    return random.below(5) === 0
      ? refund(`e${i - 1}`, user, seconds, { page, clickedAt: seconds - random.below(30) })
      : click(`e${i}`, user, seconds, { page, amount: random.below(1_000) / 100 })
  })
}

const events = someEvents(300)
/** Sent later. */
const more = [click('new1', 'user1', 300 * 10 * minute), click('new2', 'user2', 300 * 10 * minute + 1)]
const clickIds = (list: readonly StreamEvent[]) =>
  list.filter(({ stream }) => stream === 'clicks').map(({ values }) => String(values.clickId))
const clickCount = (list: readonly StreamEvent[]) => list.filter(({ stream }) => stream === 'clicks').length

async function runnerWith(list: readonly StreamEvent[]): Promise<PipelineRunner> {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions, startMs })
  await runner.sendAll(list)
  return runner
}

/** Runs until `count` predictions are in Kafka, earlier runs included. */
async function predict(runner: PipelineRunner, count: number, isRebuild = false): Promise<Started> {
  const worker = runner.start({ isRebuild })
  const base = (await runner.predictions()).length
  await worker.until(`${count} are predicted`, () => base + worker.metrics.totals.predictions >= count)
  await runner.clock.sleep(1_000)
  await worker.stop()
  return worker
}

async function expectAll(runner: PipelineRunner, list: readonly StreamEvent[]): Promise<void> {
  const expected = replayed(runner.plan, partitions, list)
  expect(predictedVectors(await runner.predictions())).toEqual(replayedVectors(expected))
}

function inputPartitions(runner: PipelineRunner): TopicPartition[] {
  const { plan } = runner
  const topics = [
    ...plan.streams.map(({ topic }) => topic),
    ...plan.stages.flatMap(({ repartitionIn }) => repartitionIn?.topic ?? []),
  ]
  return topics.flatMap((topic) => [0, 1].map((partition) => ({ topic, partition })))
}

/** Recreates the topic with only the first half of each partition and keeps the group's offsets: the tail is lost. */
async function loseTail(runner: PipelineRunner, topic: string): Promise<void> {
  const { broker, plan } = runner
  const before = await broker.groups.committedOffsets(defaultGroup, inputPartitions(runner))
  const kept = (await runner.records(topic)).map((list) => list.slice(0, list.length / 2))
  broker.deleteTopic(topic)
  await broker.admin.ensureTopics([{ topic, partitions, config: {} }])
  const producer = await broker.data.producer()
  await producer.send(kept.flatMap((list, partition) => list.map((record) => ({ ...record, topic, partition }))))
  const stages = plan.stages.map((stage) => ({ stage: stage.entity.name, topics: [], partitions }))
  const options = { group: defaultGroup, worker: 'meddler', stages, sessionTimeoutMs: 100, transactionTimeoutMs: 100 }
  const meddler = await broker.groups.worker(options)
  const membership = await meddler.join()
  const offsets = before.map(({ offset, ...rest }) => ({ ...rest, offset: offset! }))
  await meddler.transact([], offsets, membership)
  await meddler.leave()
}

describe('the tail of a log is lost', () => {
  test.each([
    ['and the store is filled', false],
    ['and the store is empty, too', true],
  ])('%s: the worker stops at once with an error', async (_, isEmptied) => {
    const runner = await runnerWith(events)
    await predict(runner, clickCount(events))
    await loseTail(runner, 'clicks')
    if (isEmptied) runner.store.empty()
    const began = runner.clock.elapsedMs()
    await expect(runner.start().done).rejects.toMatchObject({
      code: 'state_ahead',
      message: expect.stringMatching(
        /^Topic clicks, partition [01], ends at offset \d+, but user [01] has read up to offset \d+: Kafka lost records/,
      ),
    })
    expect(runner.clock.elapsedMs() - began).toBeLessThan(5_000)
  })

  test('of a repartition topic: the stage that reads it stops with an error', async () => {
    const runner = await runnerWith(events)
    await predict(runner, clickCount(events))
    await loseTail(runner, 'clicks.page')
    await expect(runner.start().done).rejects.toMatchObject({
      code: 'state_ahead',
      message: expect.stringMatching(/^Topic clicks\.page, partition [01], ends at offset \d+, but page [01] has read/),
    })
  })

  test('a rebuild continues from the end of the log and publishes nothing again', async () => {
    const runner = await runnerWith(events)
    await predict(runner, clickCount(events))
    await loseTail(runner, 'clicks')
    const worker = runner.start({ isRebuild: true })
    await worker.until('it works', () => worker.state().tasks.length === 4 && worker.state().isReady)
    expect(worker.messages.filter((message) => message.startsWith('The committed offsets of user')).length).toBe(2)
    await runner.sendAll([click('new', 'user1', 300 * 10 * minute)])
    await worker.until('new events are predicted', () => worker.metrics.totals.predictions > 0)
    await runner.clock.sleep(1_000)
    await worker.stop()
    const ids = (await runner.predictions()).map(({ id }) => id)
    expect(ids.sort()).toEqual([...clickIds(events), 'new'].sort())
    // Its committed offsets match the log from then on.
    await predict(runner, ids.length)
  })
})

describe('committed offsets', () => {
  test('that have expired: a filled store is ahead of Kafka, and the error names the cause', async () => {
    const runner = await runnerWith(events)
    await predict(runner, clickCount(events))
    runner.broker.forgetOffsets(defaultGroup)
    await expect(runner.start().done).rejects.toMatchObject({
      code: 'state_ahead',
      message: expect.stringMatching(
        /^The stored state of (user|page) [01] is at offsets [\d, ]+, but Kafka has no committed offsets: they expired,/,
      ),
    })
    await runner.sendAll(more)
    const worker = await predict(runner, clickCount([...events, ...more]), true)
    expect(worker.metrics.totals.restored).toBe(2 * events.length)
    await expectAll(runner, [...events, ...more])
  })

  test('that have expired, with recreated topics: a rebuild publishes everything in the log', async () => {
    const runner = await runnerWith(events)
    await predict(runner, clickCount(events))
    for (const topic of ['clicks', 'refunds', 'clicks.page']) {
      runner.broker.deleteTopic(topic)
      await runner.broker.admin.ensureTopics([{ topic, partitions, config: {} }])
    }
    await runner.sendAll(more)
    await expect(runner.start().done).rejects.toMatchObject({ code: 'state_ahead' })
    const worker = await predict(runner, clickCount([...events, ...more]), true)
    expect(worker.messages.some((message) => message.startsWith("Everything in Kafka's log is published"))).toBe(true)
    const ids = (await runner.predictions()).map(({ id }) => id)
    expect(ids.sort()).toEqual(clickIds([...events, ...more]).sort())
  })

  test('of one recreated topic among others: a rebuild reads it from its start', async () => {
    const runner = await runnerWith(events)
    await predict(runner, clickCount(events))
    runner.broker.deleteTopic('refunds')
    await runner.broker.admin.ensureTopics([{ topic: 'refunds', partitions, config: {} }])
    await expect(runner.start().done).rejects.toMatchObject({
      code: 'state_ahead',
      message: expect.stringMatching(
        /^Kafka no longer has a committed offset for refunds, partition [01], but has one for clicks, which user [01] reads with it/,
      ),
    })
    await runner.sendAll(more)
    await predict(runner, clickCount([...events, ...more]), true)
    const ids = (await runner.predictions()).map(({ id }) => id)
    expect(ids.sort()).toEqual(clickIds([...events, ...more]).sort())
  })
})

describe('retention', () => {
  async function cutAll(runner: PipelineRunner, topic: string, share: number): Promise<void> {
    const bounds = await runner.broker.data.bounds([0, 1].map((partition) => ({ topic, partition })))
    for (const { partition, end } of bounds) runner.broker.truncate(topic, partition, Math.floor(end * share))
  }

  test('has removed records that were not read yet', async () => {
    const runner = await runnerWith(events.slice(0, 150))
    await predict(runner, clickCount(events.slice(0, 150)))
    await runner.sendAll(events.slice(150))
    await cutAll(runner, 'clicks', 1)
    for (const prepare of [() => undefined, () => runner.store.empty()]) {
      prepare()
      await expect(runner.start().done).rejects.toMatchObject({
        code: 'log_truncated',
        message: expect.stringMatching(
          /^user [01] has to resume at offset \d+ of clicks, partition [01], which was removed: the log starts at \d+$/,
        ),
      })
    }
  })

  test('has removed records that a store that is behind would be restored from', async () => {
    const runner = await runnerWith(events.slice(0, 150))
    const worker = runner.start({ limits: { batchEventsMax: 10, partitionBytesMax: 500 } })
    await worker.until(
      'all are predicted',
      () => worker.metrics.totals.predictions === clickCount(events.slice(0, 150)),
    )
    await worker.stop()
    runner.store.loseTail('user', 0, 3)
    await cutAll(runner, 'clicks', 1)
    await expect(runner.start().done).rejects.toMatchObject({
      code: 'log_truncated',
      message: expect.stringContaining('user 0 has to resume at offset'),
    })
  })

  test('has removed only expired facts: an emptied store is restored from the rest, with the same predictions', async () => {
    const runner = await runnerWith(events.slice(0, 250))
    await predict(runner, clickCount(events.slice(0, 250)))
    // A tenth of two days; labels may be a day late, and a window is ten minutes plus an hour of lateness.
    for (const topic of ['clicks', 'refunds', 'clicks.page']) await cutAll(runner, topic, 0.1)
    runner.store.empty()
    await runner.sendAll(events.slice(250))
    const worker = await predict(runner, clickCount(events))
    expect(worker.metrics.totals.restored).toBeGreaterThan(100)
    expect(worker.messages.join()).not.toContain('removed')
    await expectAll(runner, events)
  })

  test('has removed events of live windows: an emptied store is not restored without a rebuild', async () => {
    const runner = await runnerWith(events)
    await predict(runner, clickCount(events))
    await cutAll(runner, 'clicks', 0.99)
    runner.store.empty()
    await expect(runner.start().done).rejects.toMatchObject({
      code: 'log_truncated',
      message: expect.stringMatching(
        /^The store is empty for user [01], and clicks, partition [01], no longer has all .* back to 2024-\S+Z, and events up to 2024-/,
      ),
    })
    const worker = runner.start({ isRebuild: true })
    await worker.until('it works', () => worker.state().tasks.length === 4 && worker.state().isReady)
    await worker.stop()
    expect(worker.messages.some((message) => message.startsWith('The store is empty for user'))).toBe(true)
    // The committed offsets show what was published, so nothing is published again.
    expect((await runner.predictions()).length).toBe(clickCount(events))
  })

  test('has left an empty log: the retention setting bounds the age of what was removed', async () => {
    const runner = await runnerWith(events)
    await predict(runner, clickCount(events))
    await cutAll(runner, 'refunds', 1)
    runner.store.empty()
    // The events are days older than their append times, so the setting does not apply to their event times.
    await expect(runner.start().done).rejects.toMatchObject({ code: 'log_truncated' })
  })
})
