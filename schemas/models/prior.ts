/** The prior in a definition: its builder, and the weights that a version holds. */
import { listOf, type ModelKind } from './model-kind.ts'

/** The share of positives, whatever the vector: the baseline that any other model must beat. */
export interface PriorPlan {
  readonly kind: 'prior'
}

export interface PriorWeights {
  readonly kind: 'prior'
  readonly features: readonly string[]
  readonly probability: number
}

/** The share of positives for every event: the baseline. */
export function prior(): PriorPlan {
  return Object.freeze({ kind: 'prior' })
}

export const priorKind: ModelKind = {
  builder: 'prior()',
  check: () => undefined,
  weightsFields: () => ({ features: listOf('string'), probability: 'double' }),
}
