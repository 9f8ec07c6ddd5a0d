/**
 * A pipeline in this process without servers: the real worker and batch loop, codecs and record batches, on a log of batches and the store
 * in memory. Events are let in slice by slice, so that what each slice costs can be told. Opened by the warm-up of `run`, and by what
 * measures one process.
 */
import { Registry } from 'prom-client'
import { createMemoryStore } from '../../feature-store/memory-store.ts'
import type { Clock } from '../../runtime/clock.ts'
import { frameRecords, type OutRecord } from '../../runtime/framed-records.ts'
import type { Log } from '../../runtime/log.ts'
import { partitionOf } from '../../runtime/partition.ts'
import type { EventValues } from '../../schemas/kernel/event.ts'
import { fixedHashKey } from '../../schemas/kernel/keyed-hash.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { CurrentModel } from '../batch/scoring.ts'
import { createProcessingMetrics } from '../metrics.ts'
import { runWorker } from '../run-worker.ts'
import { defaultWorkerLimits } from '../worker-limits.ts'
import { createBatchLog } from './batch-log.ts'

export interface RawEvent {
  readonly stream: string
  readonly values: EventValues
}

export interface InProcessOptions {
  readonly plan: Plan
  /** Written as they are, right or wrong; those of streams that no stage reads are left out. */
  readonly events: Iterator<RawEvent, void, void>
  readonly currentModel: CurrentModel
  /** Events may still wait for later ones at the end of a slice; without it the slice waits for them. */
  readonly mayHold: boolean
  readonly clock: Clock
  /** Of every topic; 4 by default. */
  readonly partitions?: number
}

export interface InProcessRun {
  readonly totals: ReturnType<typeof createProcessingMetrics>['totals']
  /** Puts so many events into the raw topics; nothing of them is read before `letIn`. Throws where there are not so many left. */
  prepare(events: number): void
  /** Resolves when all that was prepared is done: sent on, predicted, applied to the store. */
  letIn(): Promise<void>
  stop(): Promise<void>
}

const partitionsDefault = 4
/** As a producer would send them that waits a little. */
const batchRecordsMax = 500
const pollMs = 2
/** After so many the commit under way has ended as well. */
const emptyFetchesMin = 5

export function openInProcessRun(options: InProcessOptions): InProcessRun {
  const { plan, events, currentModel, mayHold, clock, partitions = partitionsDefault } = options
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
    currentModel,
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
      return (mayHold || held === 0) && inputs.every(({ topic, nextOffset }) => nextOffset >= log.end(topic, partition))
    })
    return tasks.length > 0 && isRead && log.emptyFetches() >= emptyFetchesMin
  }

  return {
    totals: metrics.totals,
    prepare: (count) => void prepared.push(...batchesOf(plan, events, count, partitions)),
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
function batchesOf(plan: Plan, events: Iterator<RawEvent, void, void>, count: number, partitions: number) {
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
