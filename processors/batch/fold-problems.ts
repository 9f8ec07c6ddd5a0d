/** Why the fold rejects an event that is valid by itself: the event and what it met come in, the problem of its dead letter goes out. */
import { rowsOfBytes } from '../../feature-store/entity-log.ts'
import { type CanonicalPosition, originOfOrder } from '../../schemas/kernel/canonical-order.ts'
import type { EventValues, Problem } from '../../schemas/kernel/event.ts'
import { quoteValue } from '../../schemas/kernel/show-value.ts'
import type { FeatureFailed } from '../../schemas/plan/feature-plan.ts'
import type { EntityPlan, StreamPlan } from '../../schemas/plan/plan.ts'
import { problem } from '../../schemas/wire/event-codec.ts'

interface RejectedEvent {
  readonly stream: number
  readonly id: string
  readonly event: EventValues
}

/** `taken`: where the event of its id lies that the entity has. */
export function conflictProblem(
  { name, idField }: StreamPlan,
  { id }: RejectedEvent,
  taken: CanonicalPosition,
): Problem {
  const { partition, offset } = originOfOrder(taken.order)
  const time = new Date(taken.time).toISOString()
  const expected = `the values of the event ${quoteValue(id)} that was taken, of ${time} (${name} ${partition}:${offset}), or another id`
  const received = 'the same id with other values; of those taken only a hash is kept, so which differ is not known'
  return problem(`/${idField}`, 'duplicate_conflict', expected, received)
}

/** `bytesMax`: of an entity's facts. */
export function fullProblem(
  { name, keyFields, layout }: EntityPlan,
  { stream, event }: RejectedEvent,
  bytesMax: number,
): Problem {
  const keyField = keyFields.get(stream)!
  const expected = `at most ${rowsOfBytes(layout.width, bytesMax)} facts of one ${name} within retention`
  return problem(`/${keyField}`, 'entity_full', expected, quoteValue(event[keyField]))
}

/** `countsAt`: when its fact would count. */
export function expiredProblem(
  { timeField }: StreamPlan,
  { name }: EntityPlan,
  countsAt: number,
  floorTime: number,
): Problem {
  const expected = `a fact at or after ${new Date(floorTime).toISOString()}, before which ${name} keeps none`
  return problem(`/${timeField}`, 'late', expected, new Date(countsAt).toISOString())
}

export function featureProblem({ feature, code, received }: FeatureFailed): Problem {
  const expected = code === 'not_finite' ? 'a finite number or null' : 'a function that does not throw'
  return problem(`/features/${feature}`, code, expected, received)
}
