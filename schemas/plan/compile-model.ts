/** The checked model and way of learning of a definition in, their part of the plan out. Called by `compile`. */

import type { LearnDefinition } from '../definition/learn-definition.ts'
import { parseDuration } from '../kernel/duration.ts'
import type { LearnPlan } from './learn-plan.ts'

/**
 * The registry keeps every version forever: a network of 64 and 32 units takes 15 kB, so this is 22 MB a year.
 */
const publishEvery = '6h'

export function planLearn({ continuously = false, retrain, promoteIf }: LearnDefinition = {}): LearnPlan {
  const published = typeof continuously === 'object' ? continuously.publishEvery : publishEvery
  return {
    continuous: continuously === false ? null : { publishEveryMs: parseDuration(published)! },
    retrain: retrain
      ? { everyMs: spanOf(retrain.every), rows: retrain.rows ?? null, overMs: spanOf(retrain.over) }
      : null,
    promoteIf: { metric: promoteIf?.metric ?? 'averagePrecision' },
  }
}

function spanOf(duration: string | undefined): number | null {
  return duration === undefined ? null : parseDuration(duration)
}
