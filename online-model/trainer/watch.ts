/**
 * How good what was served turned out to be, and whether it has become worse than the champion before would have been. Called by the
 * trainer every so often; reads the store, changes nothing.
 */
import type { Plan } from '../../schemas/plan/plan.ts'
import { columnOf, dayMs, evaluate, quantileBounds, type Slice } from '../evaluation/evaluate.ts'
import type { EvaluationReport } from '../evaluation/report.ts'
import { championAlias, type RegistryState } from '../registry/registry.ts'
import type { MatureRows, TrainingStore } from '../training-store/store.ts'
import { type Served, servedRows, shadowRows } from './served-rows.ts'

export interface Watched {
  /** What was served. */
  readonly served: EvaluationReport
  /** What each challenger said of the same events, by version. */
  readonly shadows: ReadonlyMap<string, EvaluationReport>
  /** The rows that they are of. */
  readonly mature: MatureRows
}

export const evaluationSettings = {
  /** Event time that an evaluation goes back, ms. */
  spanMs: 30 * dayMs,
  rollingMs: 7 * dayMs,
  threshold: 0.5,
  k: 100,
  delayBounds: [1, 2, 3, 5, 7].map((days) => days * dayMs),
} as const

/** Slices are made of the first features of the vector. */
const slicedFeatures = 1
const sliceBuckets = 4

export async function watch(
  store: Pick<TrainingStore, 'rows' | 'features'>,
  plan: Pick<Plan, 'features'>,
  state: RegistryState,
  maturedUntilMs: number,
): Promise<Watched> {
  const { spanMs } = evaluationSettings
  const span = { fromMs: Math.ceil(maturedUntilMs - spanMs), untilMs: Math.floor(maturedUntilMs) + 1 }
  const mature = await store.rows(span, 'latest')
  const served = servedRows(mature)
  const shadows = new Map<string, EvaluationReport>()
  for (const version of new Set(mature.shadows.flat().map((shadow) => shadow.version))) {
    shadows.set(version, evaluate(shadowRows(mature, version), evaluationSettings))
  }
  const slices = slicesOf(mature, served, plan)
  return {
    served: evaluate(served, { ...evaluationSettings, slices, champion: promotion(mature, state) }),
    shadows,
    mature,
  }
}

/** Event time since which the champion scores: that of its first event, since the registry knows the time of day only. */
function promotion({ versions, times, rowCount }: MatureRows, state: RegistryState) {
  const version = state.aliases.get(championAlias)
  if (version === undefined) return null
  for (let row = 0; row < rowCount; row++) if (versions[row] === version) return { version, sinceMs: times[row]! }
  return { version, sinceMs: Number.POSITIVE_INFINITY }
}

function slicesOf({ rows }: MatureRows, { rowAt }: Served, { features }: Pick<Plan, 'features'>): Slice[] {
  const width = features.length
  return features.slice(0, slicedFeatures).map(({ name }, column) => {
    const values = columnOf(rows, width, column)
    const served = Float64Array.from(rowAt, (row) => values[row]!)
    return { name, values: served, bounds: quantileBounds(served, sliceBuckets) }
  })
}
