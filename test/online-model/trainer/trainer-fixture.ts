/** A trainer's state around a registry in memory and a store that a test fills in, and rows; only for the tests of the trainer's steps. */
import { Registry } from 'prom-client'
import { onTestFinished } from 'vitest'
import { createRegistryWriter } from '../../../online-model/registry/writer.ts'
import { createTrainerMetrics } from '../../../online-model/trainer/metrics.ts'
import {
  createTrainerState,
  defaultTrainerLimits,
  type TrainerOptions,
  type TrainerState,
} from '../../../online-model/trainer/state.ts'
import type { MatureRows, TrainingStore } from '../../../online-model/training-store/store.ts'
import { createLog } from '../../../runtime/log.ts'
import type { ModelWeights } from '../../../schemas/models/models.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import { clicksPipeline } from '../../support/clicks.ts'
import { createLogFake } from '../log-fake.ts'

export const hourMs = 3_600_000
/** Publishes every two hours of events, retrains every 1,000 rows. */
export const learningPlan = compile({
  ...clicksPipeline(),
  learn: { continuously: { publishEvery: '2h' }, retrain: { rows: 1_000 } },
})
const width = learningPlan.features.length

/** Row `n` (from 1 on) is of hour `n`; every fourth is a positive, and the served scores do not show that. */
export function rowsOf(count: number, more: Partial<MatureRows> = {}): MatureRows {
  const all = Array.from({ length: count }, (_, row) => row)
  const column = (of: (row: number) => number) => Float64Array.from(all, of)
  return {
    rowCount: count,
    ids: all.map((row) => `e${row}`),
    times: column((row) => (row + 1) * hourMs),
    rows: new Float64Array(count * width).map((_, at) => (Math.floor(at / width) % 4 === 0 ? 1 : 0)),
    labels: Uint8Array.from(all, (row) => Number(row % 4 === 0)),
    weights: column(() => 1),
    scores: column(() => 0.25),
    versions: all.map(() => 'v1'),
    keys: all.map((row) => `user${row}`),
    labelTimes: column(() => Number.NaN),
    shadows: all.map(() => []),
    seqs: column((row) => row + 1),
    ...more,
  }
}

/** A logistic model that ranks by the first feature: 0 separates the classes of `rowsOf` with `slope` > 0. */
export function weightsOf(slope: number): ModelWeights {
  const features = learningPlan.features.map(({ name }) => name)
  return {
    kind: 'logistic',
    features,
    means: features.map(() => 0),
    scales: features.map(() => 1),
    weights: features.map((_, i) => (i === 0 ? slope : 0)),
    intercept: -slope / 2,
  }
}

export interface TrainerFixture {
  readonly state: TrainerState
  /** Set by the test: what `store.status()` returns. */
  readonly progress: { maturedSeq: number; maturedUntilMs: number }
  /** States saved in the store, by name. */
  readonly saved: Map<string, string>
  readonly clock: { ms: number }
  /** A series of the metrics as Prometheus would read it; null where there is none. */
  metric(series: string): Promise<number | null>
}

export function trainerFixture(
  store: Partial<TrainingStore> = {},
  options: Partial<TrainerOptions> = {},
): TrainerFixture {
  const progress = { maturedSeq: 0, maturedUntilMs: Number.NEGATIVE_INFINITY }
  const saved = new Map<string, string>()
  const clock = { ms: 0 }
  const { codec, topic } = learningPlan.models
  const registry = createRegistryWriter({
    broker: createLogFake({ [topic]: 1 }).broker,
    codec,
    topic,
    clock: () => clock.ms,
  })
  onTestFinished(() => registry.close())
  const prometheus = new Registry()
  const unexpected = () => Promise.reject(new Error('not expected in this test'))
  const state = createTrainerState({
    plan: learningPlan,
    broker: createLogFake({}).broker,
    store: {
      features: learningPlan.features.map(({ name }) => name),
      columns: [],
      earlierDefinition: null,
      status: () => ({
        ...progress,
        partitions: [{ input: 'predictions', partition: 0, next: 7, passedMs: 0 }],
        watermarkMs: progress.maturedUntilMs,
        rows: { waiting: 0, matured: progress.maturedSeq, labels: 0 },
        counts: {} as ReturnType<TrainingStore['status']>['counts'],
      }),
      async saveState(name, { bytes }) {
        saved.set(name, bytes.toString())
      },
      state: unexpected,
      apply: unexpected,
      matured: unexpected,
      rows: unexpected,
      find: unexpected,
      saveQuality: unexpected,
      snapshot: unexpected,
      exportParquet: unexpected,
      importParquet: unexpected,
      query: unexpected,
      close: unexpected,
      ...store,
    },
    registry,
    fit: unexpected,
    seed: 7,
    clock: { nowMs: () => clock.ms, elapsedMs: () => clock.ms, sleep: unexpected, turn: unexpected },
    random: () => 0.5,
    log: createLog('silent'),
    metrics: createTrainerMetrics(prometheus),
    snapshotFile: null,
    limits: defaultTrainerLimits,
    signal: new AbortController().signal,
    ...options,
  })
  async function metric(series: string): Promise<number | null> {
    const line = (await prometheus.metrics()).split('\n').find((one) => one.startsWith(`${series} `))
    return line === undefined ? null : Number(line.slice(series.length + 1))
  }
  return { state, progress, saved, clock, metric }
}
