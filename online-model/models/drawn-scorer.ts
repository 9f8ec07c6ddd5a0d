/**
 * A model of the kind that the definition declares, with weights that are drawn: what it says means nothing, and costs the same. Called by
 * the warm-up of `run` and by what measures scoring without a registry. Null for a model of the user's own: only its `fit` makes weights.
 */
import type { ModelName, ModelPlan, ModelWeights } from '../../schemas/models/models.ts'
import type { Random } from './random.ts'
import { createScorer, type Scorer, type ScoringPlan } from './scorer.ts'

/** `reasonsMax` as for `createScorer`. */
export function drawnScorer(plan: ScoringPlan, random: Pick<Random, 'next'>, reasonsMax: number): Scorer | null {
  const model = drawnWeights(plan, random)
  return model && createScorer({ version: 'drawn', model }, plan, reasonsMax)
}

type DrawWeights<P> = (plan: P, features: readonly string[], draw: (count: number) => number[]) => ModelWeights | null

const drawers = {
  prior: (_, features) => ({ kind: 'prior', features, probability: 0.5 }),
  logistic: (_, features, draw) => ({
    kind: 'logistic',
    features,
    means: features.map(() => 0.5),
    scales: features.map(() => 1),
    weights: draw(features.length),
    intercept: 0,
  }),
  mlp({ hidden }, features, draw) {
    const sizes = [features.length, ...hidden, 1]
    return {
      kind: 'mlp',
      features,
      units: features.map(() => 1),
      means: features.map(() => 0.5),
      scales: features.map(() => 1),
      layers: sizes.slice(1).map((units, i) => ({ weights: draw(sizes[i]! * units), biases: draw(units) })),
    }
  },
  own: () => null,
} satisfies { readonly [K in ModelName]: DrawWeights<Extract<ModelPlan, { readonly kind: K }>> }

function drawnWeights({ features, model }: ScoringPlan, random: Pick<Random, 'next'>): ModelWeights | null {
  const draw = (count: number) => Array.from({ length: count }, () => Math.fround((random.next() - 0.5) / 4))
  const drawer = drawers[model.kind] as DrawWeights<ModelPlan>
  return drawer(
    model,
    features.map(({ name }) => name),
    draw,
  )
}
