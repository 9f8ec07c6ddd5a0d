/**
 * A trainer assembled from outside in: training store, registry, fits, metrics. Called by `millrace trainer` and an embedded `start`.
 */
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { Registry } from 'prom-client'
import type { RegistryWriter } from '../../online-model/registry/writer.ts'
import { createRegistryWriter } from '../../online-model/registry/writer.ts'
import { learnerName } from '../../online-model/trainer/continuous.ts'
import { createTrainerMetrics } from '../../online-model/trainer/metrics.ts'
import { defaultTrainerLimits, startTrainer, type Trainer } from '../../online-model/trainer/trainer.ts'
import { openTrainingStore, type TrainingStore } from '../../online-model/training-store/store.ts'
import type { Broker } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Config } from '../../runtime/config/config.ts'
import type { Log } from '../../runtime/log.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { Shutdown } from '../shutdown.ts'
import { fitInWorker } from './fit-in-worker.ts'
import { snapshotOf } from './open-training-store.ts'

export interface OpenTrainerOptions {
  readonly definition: string
  readonly plan: Plan
  readonly config: Config
  readonly broker: Broker
  /** The training store's file, or `:memory:`. */
  readonly file: string
  readonly isRebuild: boolean
  readonly seed: number
  readonly clock: Clock
  readonly random: () => number
  readonly log: Log
  readonly signal: AbortSignal
  readonly shutdown: Shutdown
}

export interface OpenedTrainer {
  readonly trainer: Trainer
  readonly store: TrainingStore
  readonly registry: RegistryWriter
  readonly prometheus: Registry
}

const fitTimeMaxMs = 30 * 60_000
const fitHeapBytesMax = 1_024 * 1_048_576

/** The trainer runs when this resolves. `shutdown` closes what it opened; a later failure rejects `trainer.done`. */
export async function openTrainer(options: OpenTrainerOptions): Promise<OpenedTrainer> {
  const { definition, plan, config, broker, file, clock, log, signal, shutdown } = options
  if (file !== ':memory:') await mkdir(dirname(file), { recursive: true })
  const store = await openTrainingStore({
    file,
    plan,
    clusterId: await broker.admin.clusterId(),
    consumers: plan.learn.continuous ? [learnerName] : [],
    rebuild: options.isRebuild,
  })
  shutdown.add('training store', store.close)
  const { codec, topic } = plan.models
  const registry = createRegistryWriter({ broker: broker.data, codec, topic, clock: clock.nowMs })
  shutdown.add('registry', registry.close)
  const prometheus = new Registry()
  const ownStop = new AbortController()
  const trainer = startTrainer({
    plan,
    broker: broker.data,
    store,
    registry,
    fit: fitInWorker({
      definition,
      namespace: config.namespace,
      timeMaxMs: fitTimeMaxMs,
      heapBytesMax: fitHeapBytesMax,
      onProgress: (done, note) => log.info({ done }, `retraining: ${Math.round(done * 100)} %, ${note}`),
    }),
    seed: options.seed,
    clock,
    random: options.random,
    log,
    metrics: createTrainerMetrics(prometheus),
    snapshotFile: file === ':memory:' ? null : snapshotOf(file),
    limits: defaultTrainerLimits,
    signal: AbortSignal.any([signal, ownStop.signal]),
  })
  // The failure reaches the caller that awaits `done`; until then it must not be an unhandled rejection.
  trainer.done.catch(() => undefined)
  shutdown.add('trainer', () => {
    ownStop.abort()
    return trainer.done
  })
  return { trainer, store, registry, prometheus }
}
