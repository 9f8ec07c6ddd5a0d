/** The prior in a definition: its builder, and the weights that a version holds. */
import { type Stray, strayIn } from '../kernel/stray-options.ts'
import { listOf, type ModelKind } from './model-kind.ts'

/** The share of positives, whatever the vector: the baseline that any other model must beat. */
export interface PriorPlan extends Stray {
  readonly kind: 'prior'
}

export interface PriorWeights {
  readonly kind: 'prior'
  readonly features: readonly string[]
  readonly probability: number
}

/** The share of positives for every event: the baseline. */
export function prior(options: Readonly<Record<string, never>> = {}): PriorPlan {
  return Object.freeze({ kind: 'prior', ...strayIn(options, []) })
}

export const priorKind: ModelKind = {
  builder: 'prior()',
  options: [],
  check: () => undefined,
  weightsFields: () => ({ features: listOf('string'), probability: 'double' }),
}
