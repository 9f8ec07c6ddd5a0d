/**
 * The production process, assembled from outside in: broker, store, models, worker, HTTP. `run` calls it with
 * Kafka and Redis, an embedded `start` with memory; nothing else wires these parts together.
 */
import { collectDefaultMetrics, Registry } from 'prom-client'
import { createFeatureReader } from '../../feature-store/reader.ts'
import type { FeatureStore } from '../../feature-store/store.ts'
import { createProcessingMetrics, type ProcessingTotals } from '../../processors/metrics.ts'
import { eventTimeOf } from '../../processors/position.ts'
import { type RunningWorker, runWorker } from '../../processors/run-worker.ts'
import { stageInputs } from '../../processors/stage-inputs.ts'
import { defaultWorkerLimits } from '../../processors/worker-limits.ts'
import type { Broker } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Config } from '../../runtime/config/config.ts'
import type { Log } from '../../runtime/log.ts'
import { partitionOf } from '../../runtime/partition.ts'
import type { SchemaRegistry } from '../../runtime/schema-registry.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { sharedNames } from '../context.ts'
import type { Shutdown } from '../shutdown.ts'
import { ensureTopics, requireTopicSettings, requireTopics, rightsToRun } from '../topics/requirements.ts'
import { type FollowedModels, followModels } from './follow-models.ts'

export interface LiveProcessOptions {
  readonly plan: Plan
  readonly config: Config
  readonly broker: Broker
  /** Called for the worker and again for queries. `namespace` goes before every key. */
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
  /** Resolves after a stop; rejects when the worker or the registry was given up. */
  readonly ended: Promise<void>
}

/** Rejects with what kept a part from opening; what is open by then is in `closing`. */
export async function startLiveProcess(options: LiveProcessOptions): Promise<LiveProcess> {
  const { plan, config, broker, clock, log, shutdown, signal } = options
  if (options.isCreatingTopics) await ensureTopics(broker, plan, config.partitions)
  const partitionsOf = await requireTopics(
    broker,
    plan.topics.map(({ topic }) => topic),
  )
  // Raw topics of rekeyed streams may have another count than the tasks of the entities.
  const entityStage = plan.stages.find(({ kind }) => kind === 'entity')!
  const partitions = partitionsOf(stageInputs(plan, entityStage).at(-1)!.topic)
  const { keyPrefix, group } = sharedNames(config, plan)

  const openStore = async (name: string) => {
    const store = await options.openStore(keyPrefix)
    shutdown.add(name, store.close)
    return store
  }
  const openModels = async () => {
    const models = await followModels({ plan, broker, clock, log })
    shutdown.add('models', models.close)
    return models
  }
  // Whoever restarts is waited for: what does not need the other is opened side by side.
  const [store, readerStore, models] = await Promise.all([
    openStore('store'),
    // Queries have a connection of their own: a large one must not hold up a batch.
    openStore('store for queries'),
    openModels(),
    requireTopicSettings(broker, plan, config.kafkaBrokers),
    broker.requireRights(rightsToRun(plan)),
  ])

  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const metrics = createProcessingMetrics(
    registry,
    plan.streams.map(({ name }) => name),
    clock.elapsedMs,
  )
  const ownStop = new AbortController()
  const worker = runWorker({
    plan,
    broker,
    store,
    clock,
    log,
    metrics,
    currentModel: models.current,
    group,
    name: config.worker,
    limits: {
      ...defaultWorkerLimits,
      holdMaxMs: config.alignment === 'replay' ? Number.POSITIVE_INFINITY : config.holdMaxMs,
      commitEveryMs: config.commitEveryMs,
      sessionTimeoutMs: config.sessionTimeoutMs,
    },
    isRebuild: options.isRebuild,
    signal: AbortSignal.any([signal, ownStop.signal]),
    random: options.random,
  })
  const ended = Promise.race([worker.done, models.failed.then((error) => Promise.reject(error))])
  // Whoever waits for `ended` hears of a failure; until somebody does, it must not count as unheard.
  ended.catch(() => undefined)
  shutdown.add('worker', () => {
    ownStop.abort()
    return worker.done
  })

  const reader = createFeatureReader({
    plan,
    store: readerStore,
    partitions,
    partitionOf: (key) => partitionOf(Buffer.from(key), partitions),
    eventTimeOf,
  })
  await untilAtWork(worker, { totals: metrics.totals, ended, clock, signal })
  const [{ createHttp }, { listen }] = await Promise.all([import('./http.ts'), import('../../runtime/http/server.ts')])
  const producer = await broker.producer()
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
    isStopping: () => signal.aborted,
    checks: [
      { part: 'Kafka', check: () => broker.partitionCounts([plan.scored.topic]) },
      { part: 'Redis', check: () => readerStore.ping() },
      ...(options.registry ? [{ part: 'schema registry', check: options.registry.check }] : []),
    ],
  })
  shutdown.add('HTTP server', () => server.close())
  const url = await listen(server, { host: config.httpHost, port: config.httpPort })
  return { url, worker, models, totals: metrics.totals, ended }
}

/** Longest wait for the tasks to be open, and then for the first batch, which may have no event to wait for. */
const openMaxMs = 1_000
const firstBatchMaxMs = 100
const lookEveryMs = 5

/**
 * The HTTP server takes this thread a tenth of a second to load and build, in which a restarted process would not take its tasks up: it
 * comes after the first batch. Never rejects: what ended the worker is told by `ended`.
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
  let openSinceMs: number | null = null
  while (!isOver && !signal.aborted && totals.batches + totals.restored === 0) {
    const nowMs = clock.elapsedMs()
    if (openSinceMs === null && worker.state().tasks.length > 0) openSinceMs = nowMs
    if (openSinceMs === null ? nowMs - beganMs > openMaxMs : nowMs - openSinceMs > firstBatchMaxMs) return
    await clock.sleep(lookEveryMs)
  }
}
