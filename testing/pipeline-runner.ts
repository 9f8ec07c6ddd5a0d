/**
 * Runs a whole pipeline in memory for tests: the real batch loop on the broker and the store in memory, in virtual time. Events are sent,
 * workers started, stopped and started again; predictions, rejections and stored facts are read back.
 */
import { createMemoryStore, type MemoryStore } from '../feature-store/memory-store.ts'
import type { CurrentModel } from '../processors/batch/scoring.ts'
import type { WorkerLimits } from '../processors/worker-limits.ts'
import type { LogRecord } from '../runtime/broker.ts'
import type { Clock } from '../runtime/clock.ts'
import { createMemoryBroker, type MemoryBroker, type OnPublish, type OnTransact } from '../runtime/memory/broker.ts'
import { createMemorySchemaRegistry } from '../runtime/memory/schema-registry.ts'
import { partitionOf } from '../runtime/partition.ts'
import type { Pipeline } from '../schemas/definition/definition.ts'
import type { EventValues } from '../schemas/kernel/event.ts'
import { compile } from '../schemas/plan/compile.ts'
import type { Plan, StreamPlan } from '../schemas/plan/plan.ts'
import type { DeadLetter } from '../schemas/wire/records.ts'
import { drawFaults, type FaultSchedule, noFaults } from './fault-schedule.ts'
import {
  type ReadPrediction,
  readFacts,
  readFeatures,
  readPredictions,
  readRecords,
  readRejections,
} from './read-results.ts'
import { type FaultyRunHandle, runWithFaults } from './run-with-faults.ts'
import type { Observer } from './simulated-calls.ts'
import { type Started, type StartOptions, startWorker } from './start-worker.ts'
import { createVirtualClock } from './virtual-clock.ts'

export interface RunnerOptions {
  readonly pipeline: Pipeline
  readonly partitions: number
  /** When the run begins, ms since 1970: events are before it. */
  readonly startMs: number
  readonly onTransact?: OnTransact
  readonly onPublish?: OnPublish
  /** The definition compiled before, for those who run it many times. */
  readonly plan?: Plan
  /** Partitions of a topic, where they are not all the same. */
  readonly partitionsOf?: (topic: string) => number
}

export interface PipelineRunner {
  readonly plan: Plan
  readonly clock: Clock
  readonly broker: MemoryBroker
  readonly store: MemoryStore
  /** To the partition of its key, unless the event names another, in Avro. */
  send(stream: string, event: EventValues): Promise<void>
  sendAll(events: readonly StreamEvent[]): Promise<void>
  /** Any bytes anywhere. */
  sendRaw(stream: string, partition: number, value: Buffer | string | null, key?: string): Promise<void>
  start(options?: StartOptions): Started
  /**
   * Starts workers and runs until all that was sent is done, in spite of faults meanwhile, and stops them. Rejects when a worker
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
  /** Processes that share the tasks; 1 unless given. */
  readonly workers?: number
  /** Faults of this seed, or a schedule of your own; none unless given. */
  readonly faults?: { readonly seed: number } | FaultSchedule
  readonly limits?: Partial<WorkerLimits>
  readonly currentModel?: CurrentModel
  /** The run does not end before it resolves: for events that are sent meanwhile. */
  readonly during?: Promise<unknown>
  readonly observer?: Observer
  /** Longest that the work may take after the last fault, ms of virtual time. */
  readonly calmMaxMs?: number
}

export interface StreamEvent {
  readonly stream: string
  readonly values: EventValues
  /** Partition of the raw topic; that of its key unless given. */
  readonly partition?: number
}

/** Short, so that sessions and transactions time out within the seconds in which faults happen. */
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
  await broker.admin.ensureTopics(
    plan.topics.map(({ topic, partitions: own }) => {
      return { topic, partitions: own ?? options.partitionsOf?.(topic) ?? partitions, config: {} }
    }),
  )
  const producer = await broker.data.producer()
  const fetcher = await broker.data.fetcher()
  /** Every key that was sent, by stage. */
  const keys = new Map<string, Set<string>>(plan.stages.map(({ entity }) => [entity.name, new Set()]))

  const environment = { plan, clock, broker, store, registry: createMemorySchemaRegistry() }
  const start = (startOptions: StartOptions = {}) => startWorker(environment, startOptions)
  const state = { ...environment, partitions, fetcher, keys }

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

  return {
    plan,
    clock,
    broker,
    store,
    send: (stream, values) => producer.send([recordOf(state, { stream, values })]),
    sendAll: (events) => producer.send(events.map((event) => recordOf(state, event))),
    sendRaw: (stream, partition, value, key = 'raw') =>
      producer.send([
        {
          topic: streamOf(plan, stream).topic,
          partition,
          key: Buffer.from(key),
          value: value === null ? null : Buffer.from(value),
        },
      ]),
    start,
    run,
    predictions: () => readPredictions(state),
    features: () => readFeatures(state),
    rejections: () => readRejections(state),
    records: (topic) => readRecords(state, topic),
    facts: () => readFacts(state),
  }
}

/** Remembers the keys of the event, so that the facts of its entities can be read. */
function recordOf({ plan, partitions, keys }: SendState, { stream: name, values, partition }: StreamEvent) {
  const stream = streamOf(plan, name)
  for (const { entity } of plan.stages) {
    const field = entity.keyFields.get(stream.index)
    if (field !== undefined) keys.get(entity.name)!.add(values[field] as string)
  }
  const key = Buffer.from(values[stream.keyField] as string)
  const value = stream.codec.encode(values)
  return { topic: stream.topic, partition: partition ?? partitionOf(key, partitions), key, value }
}

interface SendState {
  readonly plan: Plan
  readonly partitions: number
  readonly keys: ReadonlyMap<string, Set<string>>
}

function streamOf(plan: Plan, name: string): StreamPlan {
  const stream = plan.streams.find((candidate) => candidate.name === name)
  if (!stream) throw new Error(`no stream ${name}`)
  return stream
}
