/**
 * The production process, assembled from outside in: broker, store, models, worker, HTTP. `run` calls it with
 * Kafka and Redis, an embedded `start` with memory; nothing else wires these parts together.
 */
import { randomBytes } from 'node:crypto'
import { collectDefaultMetrics, Registry } from 'prom-client'
import { createFeatureReader } from '../../feature-store/reader.ts'
import type { FeatureStore } from '../../feature-store/store.ts'
import { createProcessingMetrics, type ProcessingMetrics, type ProcessingTotals } from '../../processors/metrics.ts'
import { frontierOf } from '../../processors/position.ts'
import { type RunningWorker, runWorker } from '../../processors/run-worker.ts'
import { stageInputs } from '../../processors/stage-inputs.ts'
import { defaultWorkerLimits } from '../../processors/worker-limits.ts'
import type { Broker } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Config } from '../../runtime/config/config.ts'
import { agreeOnHashKey } from '../../runtime/hash-key-log.ts'
import type { Log } from '../../runtime/log.ts'
import { partitionOf } from '../../runtime/partition.ts'
import type { SchemaRegistry } from '../../runtime/schema-registry.ts'
import { type HashKey, hashKeyBytes } from '../../schemas/kernel/keyed-hash.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { sharedNames } from '../context.ts'
import type { Shutdown } from '../shutdown.ts'
import { ensureTopics, requireTopicSettings, requireTopics, rightsToRun } from '../topics/requirements.ts'
import { type FollowedModels, followModels } from './follow-models.ts'
import { startWarmUp } from './warm-up.ts'

export interface LiveProcessOptions {
  readonly plan: Plan
  readonly config: Config
  readonly broker: Broker
  /** Called for the worker and again for queries. `namespace` is the prefix of every key. */
  readonly openStore: (namespace: string) => Promise<FeatureStore>
  /** Null: none is configured. */
  readonly registry: SchemaRegistry | null
  readonly isCreatingTopics: boolean
  readonly isRebuild: boolean
  readonly clock: Clock
  readonly log: Log
  readonly random: () => number
  /** Asks the worker to finish its batch and end. */
  readonly signal: AbortSignal
  /** Gets every part as soon as it is open. The broker is the caller's. */
  readonly shutdown: Shutdown
}

export interface LiveProcess {
  /** Of the HTTP server. */
  readonly url: string
  readonly worker: RunningWorker
  readonly models: FollowedModels
  readonly totals: Readonly<ProcessingTotals>
  readonly latencies: ProcessingMetrics['latencies']
  readonly partitionsOf: (topic: string) => number
  /** Resolves after a stop; rejects once the worker or the registry follower gave up. */
  readonly ended: Promise<void>
}

/** Rejects with the failure of the part that did not open; what is open by then is in `shutdown`. */
export async function startLiveProcess(options: LiveProcessOptions): Promise<LiveProcess> {
  const { plan, config, broker, clock, signal } = options
  if (options.isCreatingTopics) await ensureTopics(broker.admin, plan, config.partitions)
  const partitionsOf = await requireTopics(
    broker.data,
    plan.topics.map(({ topic }) => topic),
  )
  const parts = await openParts(options)
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const metrics = createProcessingMetrics(
    registry,
    plan.streams.map(({ name }) => name),
    clock,
  )
  const { totals, latencies } = metrics
  const { worker, ended } = startWorker(options, parts, metrics)
  await untilAtWork(worker, { totals, ended, clock, signal })
  const url = await serveHttp(options, { ...parts, worker, registry, partitionsOf })
  return { url, worker, models: parts.models, totals, latencies, partitionsOf, ended }
}

interface OpenParts {
  readonly store: FeatureStore
  /** Queries have a connection of their own: a large one must not hold up a batch. */
  readonly readerStore: FeatureStore
  readonly models: FollowedModels
  readonly hashKey: HashKey
}

/** In parallel, where no part needs another: a restarted process should take up its tasks as early as possible. */
async function openParts(options: LiveProcessOptions): Promise<OpenParts> {
  const { plan, config, broker, clock, log, random, shutdown } = options
  const { keyPrefix } = sharedNames(config, plan)
  const openStore = async (name: string) => {
    const store = await options.openStore(keyPrefix)
    shutdown.add(name, store.close)
    return store
  }
  const openModels = async () => {
    const models = await followModels({ plan, broker: broker.data, clock, log, random })
    shutdown.add('models', models.close)
    return models
  }
  const [store, readerStore, models, hashKey] = await Promise.all([
    openStore('store'),
    openStore('store for queries'),
    openModels(),
    agreeOnHashKey(broker.data, plan.schemas.topic, randomBytes(hashKeyBytes)),
    requireTopicSettings(broker.admin, plan, config.kafkaBrokers),
    broker.admin.requireRights(rightsToRun(plan)),
  ])
  return { store, readerStore, models, hashKey }
}

/** A restarted process has its tasks back before; a new one waits for others, or for Kafka to begin a group (3 s by default). */
const warmUpAfterMs = 500

function startWorker(
  options: LiveProcessOptions,
  { store, models, hashKey }: OpenParts,
  metrics: ProcessingMetrics,
): Pick<LiveProcess, 'worker' | 'ended'> {
  const { plan, config, broker, clock, log, random, shutdown, signal } = options
  const ownStop = new AbortController()
  const warmUp = startWarmUp({ plan, afterMs: warmUpAfterMs, maxMs: config.warmUpMs, clock, log })
  shutdown.add('warm-up', warmUp.end)
  const worker = runWorker({
    plan,
    broker,
    store,
    clock,
    log,
    metrics,
    currentModel: models.current,
    group: sharedNames(config, plan).group,
    name: config.worker,
    limits: {
      ...defaultWorkerLimits,
      holdMaxMs: config.alignment === 'replay' ? Number.POSITIVE_INFINITY : config.holdMaxMs,
      commitEveryMs: config.commitEveryMs,
      sessionTimeoutMs: config.sessionTimeoutMs,
      entityBytesMax: config.entityMbMax * 2 ** 20,
    },
    hashKey,
    isRebuild: options.isRebuild,
    beforeFirstFetch: warmUp.end,
    signal: AbortSignal.any([signal, ownStop.signal]),
    random,
  })
  const ended = Promise.race([worker.done, models.failed.then((error) => Promise.reject(error))])
  // The caller that awaits `ended` gets a failure; until it does, the rejection must not count as unhandled.
  ended.catch(() => undefined)
  shutdown.add('worker', () => {
    ownStop.abort()
    return worker.done
  })
  return { worker, ended }
}

interface ServedParts extends Pick<OpenParts, 'readerStore' | 'models' | 'hashKey'> {
  readonly worker: RunningWorker
  readonly registry: Registry
  readonly partitionsOf: (topic: string) => number
}

/** Resolves with the URL that the server listens on. */
async function serveHttp(options: LiveProcessOptions, parts: ServedParts): Promise<string> {
  const { plan, config, broker, clock, log, shutdown, signal } = options
  const { readerStore, hashKey, worker, registry, partitionsOf } = parts
  // Raw topics of rekeyed streams may have another count than the tasks of the entities.
  const entityStage = plan.entityStages[0]!
  const partitions = partitionsOf(stageInputs(plan, entityStage).at(-1)!.topic)
  const reader = createFeatureReader({
    plan,
    store: readerStore,
    partitions,
    partitionOf: (key) => partitionOf(Buffer.from(key), partitions),
    hashKey,
    frontierOf,
  })
  const [{ createHttp }, { listen }] = await Promise.all([import('./http.ts'), import('../../runtime/http/server.ts')])
  const producer = await broker.data.producer()
  shutdown.add('producer of the HTTP intake', producer.close)
  const server = createHttp({
    plan,
    reader,
    producer,
    partitionsOf,
    registry,
    log,
    nowMs: clock.nowMs,
    worker,
    misfit: parts.models.misfit,
    isStopping: () => signal.aborted,
    checks: [
      { part: 'Kafka', check: () => broker.data.partitionCounts([plan.scored.topic]) },
      { part: 'Redis', check: () => readerStore.ping() },
      ...(options.registry ? [{ part: 'schema registry', check: options.registry.check }] : []),
    ],
  })
  shutdown.add('HTTP server', () => server.close())
  return listen(server, { host: config.httpHost, port: config.httpPort })
}

/** Longest wait for the tasks to be open, for the first events after that, since there may be none, and for the batch with these. */
const openMaxMs = 1_000
const firstEventsMaxMs = 100
const firstBatchMaxMs = 1_000
const pollEveryMs = 5

/**
 * Loading and building the HTTP server blocks the thread for about 100 ms, which would delay the tasks of a restarted process: it starts
 * after the first batch. Never rejects: a failure of the worker is reported by `ended`.
 */
async function untilAtWork(
  worker: RunningWorker,
  parts: Pick<LiveProcess, 'totals' | 'ended'> & Pick<LiveProcessOptions, 'clock' | 'signal'>,
): Promise<void> {
  const { totals, ended, clock, signal } = parts
  let isOver = false
  const over = () => {
    isOver = true
  }
  ended.then(over, over)
  const beganMs = clock.elapsedMs()
  let open: { readonly sinceMs: number; readonly read: number } | null = null
  while (!isOver && !signal.aborted && totals.batches + totals.restored === 0) {
    const nowMs = clock.elapsedMs()
    const { tasks } = worker.state()
    if (open === null && tasks.length > 0) open = { sinceMs: nowMs, read: readBy(tasks) }
    if (open === null && nowMs - beganMs > openMaxMs) return
    if (open !== null) {
      const waitMaxMs = readBy(tasks) > open.read ? firstBatchMaxMs : firstEventsMaxMs
      if (nowMs - open.sinceMs > waitMaxMs) return
    }
    await clock.sleep(pollEveryMs)
  }
}

function readBy(tasks: ReturnType<RunningWorker['state']>['tasks']): number {
  return tasks.reduce((sum, { inputs }) => inputs.reduce((total, { nextOffset }) => total + nextOffset, sum), 0)
}
