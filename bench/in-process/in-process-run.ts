/**
 * A pipeline in this process without servers: the real worker and batch loop, codecs and record batches, on a log of batches and the store
 * in memory. Events are let in slice by slice, so that what each slice costs can be told. Opened by the guard and by its test.
 */
import { Registry } from 'prom-client'
import { createMemoryStore } from '../../feature-store/memory-store.ts'
import { createScorer } from '../../online-model/models/scorer.ts'
import type { CurrentModel } from '../../processors/batch/scoring.ts'
import { createProcessingMetrics } from '../../processors/metrics.ts'
import { runWorker } from '../../processors/run-worker.ts'
import { defaultWorkerLimits } from '../../processors/worker-limits.ts'
import { systemClock } from '../../runtime/clock.ts'
import { frameRecords, type OutRecord } from '../../runtime/framed-records.ts'
import type { Log } from '../../runtime/log.ts'
import { partitionOf } from '../../runtime/partition.ts'
import { fixedHashKey } from '../../schemas/kernel/keyed-hash.ts'
import type { MlpWeights } from '../../schemas/models/mlp.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { createRandom } from '../../testing/random.ts'
import { createBatchLog } from './batch-log.ts'
import type { MixedEvent } from './mixed-events.ts'

export interface InProcessRun {
  readonly totals: ReturnType<typeof createProcessingMetrics>['totals']
  /** Puts so many events into the raw topics; nothing of them is read before `letIn`. Throws where there are not so many left. */
  prepare(events: number): void
  /** Resolves when all that was prepared is done: sent on, predicted, applied to the store. */
  letIn(): Promise<void>
  stop(): Promise<void>
}

const partitions = 4
/** As a producer would send them that waits a little. */
const batchRecordsMax = 500
const pollMs = 2
/** After so many the commit under way has ended as well. */
const emptyFetchesMin = 5
const reasonsMax = 3

export function openInProcessRun(plan: Plan, events: Iterator<MixedEvent, void, void>): InProcessRun {
  const clock = systemClock
  const repartition = plan.stages.flatMap(({ repartitionIn }) => repartitionIn?.topic ?? [])
  const log = createBatchLog({
    topics: plan.topics.map(({ topic }) => topic),
    partitions,
    tasks: plan.stages.flatMap(({ entity }) =>
      Array.from({ length: partitions }, (_, partition) => ({ stage: entity.name, partition })),
    ),
    kept: new Set([...plan.streams.map(({ topic }) => topic), ...repartition]),
    clock,
  })
  const names = plan.streams.map(({ name }) => name)
  const metrics = createProcessingMetrics(new Registry(), names, clock)
  const stopping = new AbortController()
  const worker = runWorker({
    plan,
    broker: log.broker,
    store: createMemoryStore({ tailStepsMax: 0 }),
    clock,
    log: silent,
    metrics,
    currentModel: modelOf(plan),
    group: 'in-process',
    name: 'one',
    // What fails has failed: nothing is tried again.
    limits: { ...defaultWorkerLimits, holdMaxMs: Number.POSITIVE_INFINITY, outageMaxMs: 0 },
    isRebuild: false,
    hashKey: fixedHashKey,
    signal: stopping.signal,
    random: () => 0.5,
  })
  /** What ended the worker, for the caller of `letIn`. */
  const ended = worker.done.then(
    () => new Error('The worker has ended by itself.'),
    (failure: unknown) => failure,
  )
  let prepared: ReturnType<typeof frameRecords>[] = []

  const isDone = () => {
    const { tasks } = worker.state()
    const isRead = tasks.every(({ held, partition, inputs }) => {
      return held === 0 && inputs.every(({ topic, nextOffset }) => nextOffset >= log.end(topic, partition))
    })
    return tasks.length > 0 && isRead && log.emptyFetches() >= emptyFetchesMin
  }

  return {
    totals: metrics.totals,
    prepare: (count) => void prepared.push(...batchesOf(plan, events, count)),
    async letIn() {
      for (const batch of prepared) log.append(batch)
      prepared = []
      while (!isDone()) {
        const failure = await Promise.race([clock.sleep(pollMs), ended])
        if (failure !== undefined) throw failure
      }
    },
    async stop() {
      stopping.abort()
      await worker.done
    },
  }
}

const silent: Log = { info: () => undefined, warn: () => undefined, error: () => undefined }

/** By partition, in the order of the events. */
function batchesOf(plan: Plan, events: Iterator<MixedEvent, void, void>, count: number) {
  const open = new Map<string, OutRecord[]>()
  const full: OutRecord[][] = []
  for (let taken = 0; taken < count; ) {
    const { value: event, done } = events.next()
    if (done) throw new Error(`the events end ${count - taken} before the end of the slice`)
    const stream = plan.streams.find(({ name }) => name === event.stream)!
    if (stream.entersAt === null) continue
    taken++
    const key = Buffer.from(event.values[stream.keyField] as string)
    const at = { topic: stream.topic, partition: partitionOf(key, partitions) }
    const place = `${at.topic} ${at.partition}`
    const records = open.get(place) ?? []
    records.push({ ...at, key, value: stream.codec.encode(event.values) })
    open.set(place, records)
    if (records.length < batchRecordsMax) continue
    full.push(records)
    open.delete(place)
  }
  return [...full, ...open.values()].map(frameRecords)
}

/** A perceptron of the plan's size with drawn weights: what it says means nothing, and costs the same. */
function modelOf({ model, features }: Plan): CurrentModel {
  if (model.kind !== 'mlp') return () => null
  const random = createRandom(1)
  const drawn = (count: number) => Array.from({ length: count }, () => Math.fround((random.next() - 0.5) / 4))
  const sizes = [features.length, ...model.hidden, 1]
  const weights: MlpWeights = {
    kind: 'mlp',
    features: features.map(({ name }) => name),
    units: features.map(() => 1),
    means: features.map(() => 0.5),
    scales: features.map(() => 1),
    layers: sizes.slice(1).map((units, i) => ({ weights: drawn(sizes[i]! * units), biases: drawn(units) })),
  }
  const scorer = createScorer({ version: 'v1', model: weights }, { features, model }, reasonsMax)
  return () => scorer
}
