/**
 * Mature rows of the training store and the registry's state in, reports of how good the served and the shadow scores were out. Called by
 * step 5 of the trainer; reads the store, changes nothing.
 */
import type { Plan } from '../../schemas/plan/plan.ts'
import { columnOf, dayMs, evaluate, quantileBounds, type Slice } from '../evaluation/evaluate.ts'
import type { EvaluationReport } from '../evaluation/report.ts'
import { championAlias, type RegistryState } from '../registry/registry.ts'
import type { MatureRows, TrainingStore } from '../training-store/store.ts'
import { type Served, servedRows, shadowRows } from './served-rows.ts'

export interface ServedEvaluation {
  /** Of the scores that were served. */
  readonly served: EvaluationReport
  /** Of each challenger's shadow scores of the same events, by version. */
  readonly shadows: ReadonlyMap<string, EvaluationReport>
  /** The rows that were evaluated. */
  readonly rows: MatureRows
}

export const evaluationSettings = {
  /** Event time that an evaluation covers, up to the newest mature row, ms. */
  spanMs: 30 * dayMs,
  rollingMs: 7 * dayMs,
  threshold: 0.5,
  k: 100,
  delayBounds: [1, 2, 3, 5, 7].map((days) => days * dayMs),
} as const

/** How many features get slices, from the first feature of the vector on. */
const slicedFeatures = 1
const sliceBuckets = 4

export async function evaluateServed(
  store: Pick<TrainingStore, 'rows' | 'features'>,
  plan: Pick<Plan, 'features'>,
  state: RegistryState,
  maturedUntilMs: number,
): Promise<ServedEvaluation> {
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
    rows: mature,
  }
}

/** The champion and the event time of the first row that it scored; the registry only knows the processing time of its promotion. */
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
