/** What a field's values are limited to where its declaration does not say: shared by everything that checks or describes values. */
import type { FieldPlan } from '../kernel/event.ts'
import { instantMax } from '../kernel/instant.ts'

/** For a plan that was made by hand; `text()` declares the same. */
export const lengthMaxDefault = 256

/** Of a plan that was made by hand, which declares no range: from 1970 on. */
export function instantsOf({ min = 0, max = instantMax }: FieldPlan): {
  readonly from: number
  readonly until: number
} {
  return { from: min, until: max }
}
