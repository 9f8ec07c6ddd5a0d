/** An aggregate in, its slot's name or identity out; durations must have been checked. Called by `compile` and the checks. */

import { formatDuration, parseDuration } from '../kernel/duration.ts'
import { avroName } from '../wire/record-codecs.ts'
import type { Aggregate } from './definition.ts'

/** One name for one meaning, however its durations are spelt. */
export function slotName(aggregate: Aggregate): string {
  return avroName(partsOf(aggregate).join('_'))
}

/** Two aggregates of one name and two identities cannot both be slots: `a_b` of `c` and `b_c` of `a` print the same. */
export function slotIdentity(aggregate: Aggregate): string {
  return partsOf(aggregate).join('/')
}

function partsOf({ of, by, stream, field, over, lag }: Aggregate): string[] {
  const lagMs = parseDuration(lag)!
  const lagged = lagMs === 0 ? [] : ['lag', formatDuration(lagMs)]
  return [by.name, of, stream.name, ...(field ? [field.name] : []), formatDuration(parseDuration(over)!), ...lagged]
}
