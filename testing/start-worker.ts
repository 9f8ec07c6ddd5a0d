/** One worker of the pipeline runner: the real batch loop on the broker and the store in memory. Called by `pipeline-runner.ts`. */
import { Registry } from 'prom-client'
import type { FeatureStore } from '../feature-store/store.ts'
import type { CurrentModel } from '../processors/batch/scoring.ts'
import { createProcessingMetrics, type ProcessingMetrics } from '../processors/metrics.ts'
import { type RunningWorker, runWorker } from '../processors/run-worker.ts'
import { defaultWorkerLimits, type WorkerLimits } from '../processors/worker-limits.ts'
import type { Broker } from '../runtime/broker.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { needsRegistry } from '../runtime/memory/schema-registry.ts'
import { createSchemaAwareBroker } from '../runtime/schema-aware-broker.ts'
import type { SchemaRegistry } from '../runtime/schema-registry.ts'
import { fixedHashKey } from '../schemas/kernel/keyed-hash.ts'
import type { Plan } from '../schemas/plan/plan.ts'

/** Small waits, and no guess about order: what must be waited for is waited for. */
export const testLimits: WorkerLimits = {
  ...defaultWorkerLimits,
  pollMaxMs: 5,
  commitEveryMs: 0,
  holdMaxMs: Number.POSITIVE_INFINITY,
}

export const defaultGroup = 'workers'

export interface StartOptions {
  readonly name?: string
  readonly group?: string
  readonly limits?: Partial<WorkerLimits>
  readonly currentModel?: CurrentModel
  readonly isRebuild?: boolean
  /** Of another definition than the runner's. */
  readonly plan?: Plan
  readonly registry?: SchemaRegistry
  /** The servers and the clock as its process sees them; those of the runner unless given. */
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

/** What a worker runs on, unless its options differ. */
export interface WorkerEnvironment {
  readonly plan: Plan
  readonly clock: Clock
  readonly broker: Broker
  readonly store: FeatureStore
  /** For definitions that publish with ids of one. */
  readonly registry: SchemaRegistry
}

const untilMaxMs = 60_000

export function startWorker(environment: WorkerEnvironment, options: StartOptions): Started {
  const { clock } = environment
  const { name = 'w', group = defaultGroup, limits = {}, currentModel = () => null, isRebuild = false } = options
  const { plan = environment.plan, process = environment, random = () => 0.5 } = options
  const metrics = createProcessingMetrics(
    new Registry(),
    environment.plan.streams.map(({ name }) => name),
    clock,
  )
  const stopping = new AbortController()
  const messages: string[] = []
  const collect = (_details: object, message: string) => void messages.push(message)
  const log: Log = { info: collect, warn: collect, error: collect }
  const { state, done } = runWorker({
    plan,
    broker: createSchemaAwareBroker(process.broker, {
      schemas: plan.schemas,
      registry: options.registry ?? (needsRegistry(plan.schemas.writers) ? environment.registry : null),
    }),
    store: process.store,
    clock: process.clock,
    log,
    metrics,
    currentModel,
    group,
    name,
    limits: { ...testLimits, ...limits },
    hashKey: fixedHashKey,
    isRebuild,
    signal: stopping.signal,
    random,
  })
  let isOver = false
  const over = done.finally(() => {
    isOver = true
  })
  // A failure is thrown where `done`, `until` or `stop` is awaited; until then it must not count as unhandled.
  over.catch(() => undefined)

  async function until(what: string, holds: () => boolean): Promise<void> {
    const endMs = clock.elapsedMs() + untilMaxMs
    while (!holds()) {
      if (isOver) await over
      if (isOver || clock.elapsedMs() > endMs) {
        const totals = JSON.stringify(metrics.totals)
        throw new Error(`waited in vain until ${what}; totals ${totals}; ${messages.join(' | ')}`)
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
