/**
 * Runs a whole pipeline in memory for tests: the real batch loop on the broker and the store in memory, in virtual time. Events are sent,
 * workers started, stopped and started again; predictions, rejections and stored facts are read back.
 */
import { Registry } from 'prom-client'
import { decodeLog, dropBefore, encodeLiveRows } from '../feature-store/entity-log.ts'
import { createMemoryStore, type MemoryStore } from '../feature-store/memory-store.ts'
import type { FeatureStore } from '../feature-store/store.ts'
import type { CurrentModel } from '../processors/batch/scoring.ts'
import { createProcessingMetrics, type ProcessingMetrics } from '../processors/metrics.ts'
import { type RunningWorker, runWorker } from '../processors/run-worker.ts'
import { defaultWorkerLimits, type WorkerLimits } from '../processors/worker-limits.ts'
import type { Broker, LogRecord } from '../runtime/broker.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { createMemoryBroker, type MemoryBroker, type OnPublish, type OnTransact } from '../runtime/memory/broker.ts'
import { partitionOf } from '../runtime/partition.ts'
import { createSchemaAwareBroker } from '../runtime/schema-aware-broker.ts'
import type { SchemaRegistry } from '../runtime/schema-registry.ts'
import type { Pipeline } from '../schemas/definition/definition.ts'
import type { EventValues } from '../schemas/kernel/event.ts'
import { compile } from '../schemas/plan/compile.ts'
import type { Plan, StreamPlan } from '../schemas/plan/plan.ts'
import type { DeadLetter, Prediction } from '../schemas/wire/records.ts'
import { drawFaults, type FaultSchedule, noFaults } from './fault-schedule.ts'
import { type FaultyRunHandle, runWithFaults } from './run-with-faults.ts'
import type { Observer } from './simulated-process.ts'
import { createVirtualClock } from './virtual-clock.ts'

/** Small waits, and no guess about order: what must be waited for is waited for. */
export const testLimits: WorkerLimits = {
  ...defaultWorkerLimits,
  pollMaxMs: 5,
  commitEveryMs: 0,
  holdMaxMs: Number.POSITIVE_INFINITY,
}

export interface RunnerOptions {
  readonly pipeline: Pipeline
  readonly partitions: number
  /** When the run begins, ms since 1970: events lie before it. */
  readonly startMs: number
  readonly onTransact?: OnTransact
  readonly onPublish?: OnPublish
  /** The definition compiled before, for those who run it many times. */
  readonly plan?: Plan
  /** Partitions of a topic, where they are not all the same. */
  readonly partitionsOf?: (topic: string) => number
}

export interface StartOptions {
  readonly name?: string
  readonly group?: string
  readonly limits?: Partial<WorkerLimits>
  readonly currentModel?: CurrentModel
  readonly isRebuild?: boolean
  /** Another definition than the runner's own. */
  readonly plan?: Plan
  readonly registry?: SchemaRegistry
  /** What it sees of the world, where that is not all of it. */
  readonly process?: { readonly broker: Broker; readonly store: FeatureStore; readonly clock: Clock }
  /** From 0 to 1, for the spread of retries. */
  readonly random?: () => number
}

export interface Started {
  readonly metrics: ProcessingMetrics
  readonly messages: readonly string[]
  state: RunningWorker['state']
  /** Resolves when the condition holds; rejects when the worker ends before or after a minute of virtual time. */
  until(what: string, holds: () => boolean): Promise<void>
  /** As a signal to end: finishes its batch. */
  stop(): Promise<void>
  readonly done: Promise<void>
}

export interface ReadPrediction extends Prediction {
  readonly partition: number
}

export interface PipelineRunner {
  readonly plan: Plan
  readonly clock: Clock
  readonly broker: MemoryBroker
  readonly store: MemoryStore
  /** To the partition of its key, unless the event says another, in Avro. */
  send(stream: string, event: EventValues): Promise<void>
  sendAll(events: readonly StreamEvent[]): Promise<void>
  /** Any bytes anywhere. */
  sendRaw(stream: string, partition: number, value: Buffer | string | null, key?: string): Promise<void>
  start(options?: StartOptions): Started
  /**
   * Starts workers and runs until all that was sent is done, whatever happens to them meanwhile, and stops them. Rejects when a worker
   * fails or the work does not end.
   */
  run(options?: RunOptions): Promise<void>
  predictions(): Promise<ReadPrediction[]>
  /** The scored vector of each event by its id: features by name, null where missing. */
  features(): Promise<Record<string, Record<string, number | null>>>
  rejections(): Promise<DeadLetter[]>
  /** Committed records of every partition of a topic. */
  records(topic: string): Promise<LogRecord[][]>
  /** Live facts as the store holds them, in canonical order: hexadecimal rows by stage, partition and key. */
  facts(): Promise<Record<string, string>>
}

export interface RunOptions {
  /** Processes that share the tasks; 1 unless told. */
  readonly workers?: number
  /** Trouble of this seed, or a schedule of your own; none unless told. */
  readonly faults?: { readonly seed: number } | FaultSchedule
  readonly limits?: Partial<WorkerLimits>
  readonly currentModel?: CurrentModel
  /** Goes on beside the run, which does not end before it: events that are sent meanwhile. */
  readonly during?: Promise<unknown>
  readonly observer?: Observer
  /** Longest that the work may take after the last fault, ms of virtual time. */
  readonly calmMaxMs?: number
}

export interface StreamEvent {
  readonly stream: string
  readonly values: EventValues
  /** Where it lies in the raw topic; where its key belongs unless told. */
  readonly partition?: number
}

/** Short enough for the trouble of a few seconds. */
const faultyLimits = {
  pollMaxMs: 50,
  sessionTimeoutMs: 400,
  transactionTimeoutMs: 300,
  outageMaxMs: Number.POSITIVE_INFINITY,
} satisfies Partial<WorkerLimits>

function scheduleOf(faults: RunOptions['faults'], workers: number): FaultSchedule {
  if (faults === undefined) return noFaults(workers)
  if ('rates' in faults) return faults
  return drawFaults(faults.seed, { workers, lengthMs: 1_500, sessionTimeoutMs: faultyLimits.sessionTimeoutMs })
}

const readLimits = { maxWaitMs: 0, partitionBytesMax: 2 ** 30 }
export const defaultGroup = 'workers'

export async function createPipelineRunner(options: RunnerOptions): Promise<PipelineRunner> {
  const { partitions, onTransact, onPublish } = options
  const clock = createVirtualClock(options.startMs, { turnMs: 0.5 })
  let faulty: FaultyRunHandle | null = null
  const plan = options.plan ?? compile(options.pipeline)
  const broker = createMemoryBroker({
    clock,
    ...(onPublish ? { onPublish } : {}),
    onTransact: async (stage, worker, owner) => {
      await onTransact?.(stage, worker, owner)
      await faulty?.onTransact(stage, owner)
    },
  })
  const store = createMemoryStore()
  await broker.ensureTopics(
    plan.topics.map(({ topic, partitions: own }) => {
      return { topic, partitions: own ?? options.partitionsOf?.(topic) ?? partitions, config: {} }
    }),
  )
  const producer = await broker.producer()
  const fetcher = await broker.fetcher()
  /** Everything that was ever a key, so that the facts of all entities can be read. */
  const keys = new Map<string, Set<string>>(plan.stages.map(({ entity }) => [entity.name, new Set()]))

  function streamOf(name: string): StreamPlan {
    const stream = plan.streams.find((candidate) => candidate.name === name)
    if (!stream) throw new Error(`no stream ${name}`)
    return stream
  }

  function recordOf({ stream: name, values, partition }: StreamEvent) {
    const stream = streamOf(name)
    for (const { entity } of plan.stages) {
      const field = entity.keyFields.get(stream.index)
      if (field !== undefined) keys.get(entity.name)!.add(values[field] as string)
    }
    const key = Buffer.from(values[stream.keyField] as string)
    const value = stream.codec.encode(values)
    return { topic: stream.topic, partition: partition ?? partitionOf(key, partitions), key, value }
  }

  function start(startOptions: StartOptions = {}): Started {
    const { name = 'w', group = defaultGroup, limits = {}, currentModel = () => null, isRebuild = false } = startOptions
    const { process = { broker, store, clock }, random = () => 0.5 } = startOptions
    const metrics = createProcessingMetrics(
      new Registry(),
      plan.streams.map(({ name }) => name),
      () => clock.elapsedMs(),
    )
    const stopping = new AbortController()
    const messages: string[] = []
    const say = (_details: object, message: string) => void messages.push(message)
    const log: Log = { info: say, warn: say, error: say }
    const started = startOptions.plan ?? plan
    const { state, done } = runWorker({
      plan: started,
      broker: createSchemaAwareBroker(process.broker, {
        schemas: started.schemas,
        registry: startOptions.registry ?? null,
      }),
      store: process.store,
      clock: process.clock,
      log,
      metrics,
      currentModel,
      group,
      name,
      limits: { ...testLimits, ...limits },
      isRebuild,
      signal: stopping.signal,
      random,
    })
    let isOver = false
    const over = done.finally(() => {
      isOver = true
    })
    // Whoever awaits `done`, `until` or `stop` hears of a failure; before that nobody may be listening yet.
    over.catch(() => undefined)

    async function until(what: string, holds: () => boolean): Promise<void> {
      const endMs = clock.elapsedMs() + 60_000
      while (!holds()) {
        if (isOver) await over
        if (isOver || clock.elapsedMs() > endMs) {
          throw new Error(
            `waited in vain until ${what}; totals ${JSON.stringify(metrics.totals)}; ${messages.join(' | ')}`,
          )
        }
        await clock.sleep(1)
      }
    }

    async function stop(): Promise<void> {
      stopping.abort()
      await over
    }

    return { metrics, messages, state, until, stop, done: over }
  }

  async function run(runOptions: RunOptions = {}): Promise<void> {
    const { workers = 1, limits, currentModel, during = Promise.resolve(), observer = {} } = runOptions
    faulty = runWithFaults({
      schedule: scheduleOf(runOptions.faults, workers),
      clock,
      broker,
      store,
      tasks: plan.stages.flatMap(({ entity }) =>
        Array.from({ length: partitions }, (_, partition) => ({ stage: entity.name, partition })),
      ),
      startWorker: (name, process, random) =>
        start({
          name,
          process,
          random,
          limits: { ...faultyLimits, ...limits },
          ...(currentModel ? { currentModel } : {}),
        }),
      observer,
      during,
      calmMaxMs: runOptions.calmMaxMs ?? 120_000,
    })
    try {
      await faulty.done
    } finally {
      faulty = null
    }
  }

  async function records(topic: string): Promise<LogRecord[][]> {
    const counts = await broker.partitionCounts([topic])
    const bounds = await broker.bounds(
      Array.from({ length: counts.get(topic)! }, (_, partition) => ({ topic, partition })),
    )
    const fetched = await fetcher.fetch(
      bounds.map(({ partition, start: offset }) => ({ topic, partition, offset })),
      readLimits,
    )
    return fetched.map((part) => [...part.records])
  }

  async function predictions(): Promise<ReadPrediction[]> {
    const { topic, codec } = plan.predictions
    const byPartition = await records(topic)
    return byPartition.flatMap((list, partition) => list.map(({ value }) => ({ ...codec.decode(value!), partition })))
  }

  async function features(): Promise<Record<string, Record<string, number | null>>> {
    const shown = (value: number | undefined) => (value === undefined || Number.isNaN(value) ? null : value)
    return Object.fromEntries(
      (await predictions()).map(({ id, features: vector }) => [
        id,
        Object.fromEntries(plan.features.map(({ name }, i) => [name, shown(vector[i])])),
      ]),
    )
  }

  async function rejections(): Promise<DeadLetter[]> {
    const { topic, codec } = plan.rejected
    return (await records(topic)).flat().map(({ value }) => codec.decode(value!))
  }

  async function facts(): Promise<Record<string, string>> {
    const found: Record<string, string> = {}
    for (const { entity } of plan.stages.filter(({ kind }) => kind === 'entity')) {
      for (const key of [...keys.get(entity.name)!].sort()) {
        const partition = partitionOf(Buffer.from(key), partitions)
        const { position, logs } = await store.read(entity.name, partition, [key])
        const log = decodeLog(logs[0]!, entity.layout)
        // Dead rows stay until a log is rewritten: how many there are is no part of the state.
        const [passed] = position === null ? [null] : (JSON.parse(position) as { passed: [number | null] }).passed
        dropBefore(log, (passed ?? Number.NEGATIVE_INFINITY) - entity.retentionMs)
        if (log.end > log.start) found[`${entity.name} ${partition} ${key}`] = encodeLiveRows(log).toString('hex')
      }
    }
    return found
  }

  return {
    plan,
    clock,
    broker,
    store,
    send: (stream, values) => producer.send([recordOf({ stream, values })]),
    sendAll: (events) => producer.send(events.map(recordOf)),
    sendRaw: (stream, partition, value, key = 'raw') =>
      producer.send([
        {
          topic: streamOf(stream).topic,
          partition,
          key: Buffer.from(key),
          value: value === null ? null : Buffer.from(value),
        },
      ]),
    start,
    run,
    predictions,
    features,
    rejections,
    records,
    facts,
  }
}
