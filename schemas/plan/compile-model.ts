/** The checked label and way of learning of a definition in, their part of the plan out. Called by `compile`. */

import type { Label } from '../definition/definition.ts'
import { isField } from '../definition/definition-problem.ts'
import type { LearnDefinition } from '../definition/learn-definition.ts'
import { parseDuration } from '../kernel/duration.ts'
import type { LearnPlan } from './learn-plan.ts'
import type { LabelPlan } from './plan.ts'

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

/** Without a time to wait for, a report is learnt from as it arrives. */
export function planLabel({ value, otherwise, learn }: Label): Omit<LabelPlan, 'stream'> {
  const reported = isField(value) ? { field: value.name } : value
  if (otherwise === 'unknown') return { value: reported, otherwise: { value: null, afterMs: 0 }, learn: 'on-arrival' }
  const { value: unreported, after } = otherwise
  return {
    value: reported,
    otherwise: { value: unreported === 'unknown' ? null : unreported, afterMs: parseDuration(after)! },
    ...(learn === 'on-arrival' ? { learn } : {}),
  }
}
