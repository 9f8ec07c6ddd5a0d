/** The loop over broker and store in memory: one task of one stage, from a raw record to prediction, offset and stored position. */
import { Registry } from 'prom-client'
import { describe, expect, test } from 'vitest'
import { createMemoryStore, type MemoryStore } from '../../../feature-store/memory-store.ts'
import type { OpenTask } from '../../../processors/batch/active-batch.ts'
import { runBatchLoop } from '../../../processors/batch/batch-loop.ts'
import type { LoopParts } from '../../../processors/batch/loop-state.ts'
import { createShadowScoring } from '../../../processors/batch/shadow-scoring.ts'
import { createTask } from '../../../processors/batch/task.ts'
import { createEarlyReleases } from '../../../processors/early-release.ts'
import { createProcessingMetrics } from '../../../processors/metrics.ts'
import { createOvertakenReport } from '../../../processors/overtaken-report.ts'
import { decodePosition } from '../../../processors/position.ts'
import { stageTopicsOf } from '../../../processors/stage-topics.ts'
import type { LogRecord } from '../../../runtime/broker.ts'
import { createLog } from '../../../runtime/log.ts'
import { createMemoryBroker, type MemoryBrokerOptions } from '../../../runtime/memory/broker.ts'
import { PipelineError } from '../../../schemas/kernel/errors.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import { createVirtualClock, oneByOne, type StreamEvent, testLimits } from '../../../testing/index.ts'
import { at, openTaskOf, rawRecord, taskOptions } from '../../support/batch-steps.ts'
import { type ClicksOptions, click, clicksPipeline } from '../../support/clicks.ts'
import { failureOf } from '../../support/failure-of.ts'

const group = 'workers'
const model = oneByOne({ version: 'v1', score: (vector) => vector[0]! / 10 })
const unreachable = new PipelineError('redis_unreachable', 'no answer')

interface Setup extends Pick<MemoryBrokerOptions, 'onTransact'>, Pick<ClicksOptions, 'delivery'> {
  readonly batchEventsMax?: number
  readonly partitionBytesMax?: number
}

/** These events in Kafka, and the parts of a loop that has read none of them. It stops once all are counted as done. */
async function loopOver(events: readonly StreamEvent[], { onTransact, delivery, ...own }: Setup = {}) {
  const plan = compile(clicksPipeline({ stages: 1, ...(delivery ? { delivery } : {}) }))
  const clock = createVirtualClock(at(3_600))
  const broker = createMemoryBroker({ clock, ...(onTransact ? { onTransact } : {}) })
  await broker.admin.ensureTopics(plan.topics.map(({ topic }) => ({ topic, partitions: 1, config: {} })))
  const producer = await broker.data.producer()
  const sent = events.map((event) => ({
    topic: 'clicks',
    partition: 0,
    key: null,
    value: rawRecord(plan, event).value,
  }))
  await producer.send(sent)

  const stages = stageTopicsOf(plan, () => 1)
  const timeouts = { sessionTimeoutMs: 10_000, transactionTimeoutMs: 10_000 }
  const worker = await broker.groups.worker({ group, worker: 'w', stages, ...timeouts })
  const store = createMemoryStore()
  const metrics = createProcessingMetrics(new Registry(), ['clicks', 'refunds'], clock)
  const open = await openTaskOf(createTask(taskOptions(plan)), plan, store)
  const parts: LoopParts = {
    plan,
    worker,
    membership: await worker.join(),
    fetcher: await broker.data.fetcher(),
    tasks: [open],
    exchanges: [],
    earlyReleases: createEarlyReleases(createLog('silent'), () => 0),
    overtakenReport: createOvertakenReport(plan, createLog('silent'), () => 0),
    partitionsOf: () => 1,
    currentModel: () => model,
    shadowScoring: createShadowScoring(createLog('silent'), metrics),
    clock,
    limits: { ...testLimits, ...own },
    metrics,
    isStopping: () => metrics.totals.events === events.length,
  }

  async function predictions() {
    const fetcher = await broker.data.fetcher()
    const from = { topic: plan.predictions.topic, partition: 0, offset: 0 }
    const [fetched] = await fetcher.fetch([from], { maxWaitMs: 0, partitionBytesMax: 1e6 })
    const decoded = ({ value }: LogRecord) => plan.predictions.codec.decode(value!)
    return Array.from(fetched!.records, decoded).map(({ id, score, features }) => ({
      id,
      score,
      userCount: features[2],
    }))
  }

  return {
    parts,
    open,
    broker,
    store,
    predictions,
    committed: () => committedOf(broker),
    stored: () => storedOf(store),
  }
}

/** Offset and metadata that the group has committed for the clicks. */
async function committedOf({ groups }: ReturnType<typeof createMemoryBroker>) {
  const [committed] = await groups.committedOffsets(group, [{ topic: 'clicks', partition: 0 }])
  return { offset: committed!.offset, metadata: committed!.metadata }
}

async function storedOf(store: MemoryStore) {
  const { position, logs } = await store.read('user', 0, ['anna'])
  return { position, hasLog: logs[0] !== null }
}

/** The task with a store that fails as it applies. */
function withFailingApply(open: OpenTask): OpenTask {
  const { load } = open.store
  return { ...open, store: { position: null, load, apply: () => Promise.reject(unreachable) } }
}

describe('an event', () => {
  test('becomes a prediction, an offset, and a position in the store that equals the one in Kafka', async () => {
    const { parts, predictions, committed, stored } = await loopOver([click('a', 'anna', 0, { amount: 4 })])
    await runBatchLoop(parts)
    expect(await predictions()).toEqual([{ id: 'a', score: 0.4, userCount: 1 }])
    const { offset, metadata } = await committed()
    expect(offset).toBe(1)
    expect(await stored()).toEqual({ position: metadata, hasLog: true })
    expect(decodePosition(metadata, 'test')).toMatchObject({
      frontier: { time: at(0) },
      inputs: [{ nextOffset: 1 }, {}],
    })
    expect(parts.metrics.totals).toMatchObject({ batches: 1, events: 1, predictions: 1, rejected: 0 })
  })

  test('follows the one before it, batch after batch, while a backlog is read', async () => {
    const events = Array.from({ length: 60 }, (_, i) => click(`c${i}`, 'anna', i / 10))
    const { parts, predictions, committed, stored } = await loopOver(events, {
      batchEventsMax: 7,
      partitionBytesMax: 400,
    })
    await runBatchLoop(parts)
    expect(await predictions()).toEqual(events.map((_, i) => ({ id: `c${i}`, score: 0.1, userCount: i + 1 })))
    expect(parts.metrics.totals.batches).toBeGreaterThanOrEqual(9)
    const { offset, metadata } = await committed()
    expect(offset).toBe(60)
    expect((await stored()).position).toBe(metadata)
  })

  test('at least once has its offset committed once the store has it', async () => {
    const { parts, predictions, committed, stored } = await loopOver([click('a', 'anna', 0)], {
      delivery: 'at-least-once',
    })
    await runBatchLoop(parts)
    expect((await predictions()).map(({ id }) => id)).toEqual(['a'])
    expect(await stored()).toEqual({ position: (await committed()).metadata, hasLog: true })
  })
})

test('a stop finishes the batch that is under way', async () => {
  const { parts, predictions, committed, stored } = await loopOver([click('a', 'anna', 0), click('b', 'anna', 1)], {
    batchEventsMax: 1,
  })
  let isStopping = false
  const currentModel = () => {
    isStopping = true
    return model
  }
  await runBatchLoop({ ...parts, currentModel, isStopping: () => isStopping })
  expect((await predictions()).map(({ id }) => id)).toEqual(['a'])
  const { offset, metadata } = await committed()
  expect(offset).toBe(1)
  expect(await stored()).toEqual({ position: metadata, hasLog: true })
})

test('a stop does not hide that the last batch failed', async () => {
  const { parts, open } = await loopOver([click('a', 'anna', 0)])
  let isStopping = false
  const currentModel = () => {
    isStopping = true
    return model
  }
  const tasks = [withFailingApply(open)]
  expect(await failureOf(runBatchLoop({ ...parts, tasks, currentModel, isStopping: () => isStopping }))).toBe(
    unreachable,
  )
})

describe('the loop ends', () => {
  test('at once where it is to stop before it begins', async () => {
    const { parts, predictions, stored } = await loopOver([click('a', 'anna', 0)])
    await runBatchLoop({ ...parts, isStopping: () => true })
    expect(await predictions()).toEqual([])
    expect((await stored()).position).toBeNull()
  })

  test('with `rebalance` where the group assigns its tasks anew', async () => {
    const { parts, broker, predictions } = await loopOver([click('a', 'anna', 0)])
    await broker.groups.removeWorker(group, 'w')
    expect(await failureOf(runBatchLoop(parts))).toMatchObject({ code: 'rebalance' })
    expect(await predictions()).toEqual([])
  })

  test('with the failure of a transaction, which leaves nothing in Kafka and nothing in the store', async () => {
    const aborted = new PipelineError('transaction_aborted', 'the broker said no')
    const onTransact = () => Promise.reject(aborted)
    const { parts, predictions, committed, stored } = await loopOver([click('a', 'anna', 0)], { onTransact })
    expect(await failureOf(runBatchLoop(parts))).toBe(aborted)
    expect(await predictions()).toEqual([])
    expect((await committed()).offset).toBeNull()
    expect(await stored()).toEqual({ position: null, hasLog: false })
  })

  test('with the failure of the store, which is then one batch behind Kafka', async () => {
    const { parts, open, predictions, committed, stored } = await loopOver([click('a', 'anna', 0)])
    expect(await failureOf(runBatchLoop({ ...parts, tasks: [withFailingApply(open)] }))).toBe(unreachable)
    expect((await predictions()).map(({ id }) => id)).toEqual(['a'])
    expect((await committed()).offset).toBe(1)
    expect(await stored()).toEqual({ position: null, hasLog: false })
    expect(parts.metrics.totals.batches).toBe(0)
  })

  test('with the failure of the store, and at least once no offset is committed', async () => {
    const { parts, open, predictions, committed } = await loopOver([click('a', 'anna', 0)], {
      delivery: 'at-least-once',
    })
    expect(await failureOf(runBatchLoop({ ...parts, tasks: [withFailingApply(open)] }))).toBe(unreachable)
    expect((await predictions()).map(({ id }) => id)).toEqual(['a'])
    expect((await committed()).offset).toBeNull()
  })

  test('with the failure of a fetch', async () => {
    const { parts } = await loopOver([])
    const failed = new PipelineError('kafka_unreachable', 'no answer')
    const fetcher = { ...parts.fetcher, fetch: () => Promise.reject(failed) }
    expect(await failureOf(runBatchLoop({ ...parts, fetcher, isStopping: () => false }))).toBe(failed)
  })

  test('with the failure of a step, after the commit that is under way', async () => {
    const events = [click('a', 'anna', 0), click('b', 'anna', 1)]
    const { parts, predictions, stored } = await loopOver(events, { batchEventsMax: 1, partitionBytesMax: 1 })
    let batches = 0
    const currentModel = () => {
      batches++
      if (batches === 2) throw new Error('no such tree')
      return model
    }
    await expect(runBatchLoop({ ...parts, currentModel })).rejects.toThrow('no such tree')
    expect((await predictions()).map(({ id }) => id)).toEqual(['a'])
    expect((await stored()).hasLog).toBe(true)
  })
})
