/**
 * Step 4 of a batch, pure: an event and its entity's log in, the event's slots or its fate out. The fact goes into the log, the windows
 * are read with it, and what fails leaves no trace. Called by `fold.ts` for live and restored events, and by `replay`.
 */

import { compileRead } from '../../feature-store/aggregates/read-slots.ts'
import {
  dropBefore,
  type EntityLog,
  findFact,
  insertFact,
  logRowsMax,
  removeLastInserted,
} from '../../feature-store/entity-log.ts'
import { compileFactRow, idHash } from '../../feature-store/fact-row.ts'
import type { CanonicalPosition } from '../../schemas/kernel/canonical-order.ts'
import type { EventValues, Problem } from '../../schemas/kernel/event.ts'
import { quoteValue } from '../../schemas/kernel/show-value.ts'
import { FeatureFailed } from '../../schemas/plan/feature-plan.ts'
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'
import { problem } from '../../schemas/wire/event-codec.ts'

export type Folded =
  /** Slots of this and all earlier stages; on the last stage the whole vector. Both null for streams that are not scored. */
  | {
      readonly kind: 'folded'
      readonly slots: Float64Array | null
      readonly vector: Float64Array | null
      /** Place in canonical order that it is sent on with: for a requeued event whose fact is in the log already, that of the fact. */
      readonly order: number
    }
  | { readonly kind: 'duplicate' }
  | { readonly kind: 'rejected'; readonly problem: Problem }

export interface FoldedEvent extends CanonicalPosition {
  readonly stream: number
  readonly id: string
  readonly event: EventValues
  /** Slots of earlier stages, for the scored stream. */
  readonly slots: ArrayLike<number>
  /** Stage that had rejected the event, if it was requeued to the raw topic; null for all others. */
  readonly rejectedBy: string | null
}

const duplicate: Folded = { kind: 'duplicate' }

export interface Fold {
  /** Whether an event of this stream needs its entity's log. */
  needsLog(stream: number): boolean
  /** `log`: null where none is needed. `floorTime`: facts before it are dead (see `retentionMs`). */
  fold(event: FoldedEvent, log: EntityLog | null, floorTime: number): Folded
}

export function createFold(plan: Plan, stage: StagePlan): Fold {
  const { entity } = stage
  const writeRow = compileFactRow(entity, plan.streams)
  const readSlots = compileRead(entity)
  const leavesFact = plan.streams.map(({ index }) => entity.layout.sources.some((source) => source.stream === index))
  const row = new Float64Array(entity.layout.width)
  const isLast = stage.repartitionOut === null
  /** A requeued event that one of these had rejected has its fact here already, and is sent on again. */
  const laterStages = new Set(plan.stages.slice(stage.index + 1).map(({ entity: later }) => later.name))

  function fold(event: FoldedEvent, log: EntityLog | null, floorTime: number): Folded {
    const isFact = leavesFact[event.stream]!
    if (log && isFact) {
      dropBefore(log, floorTime)
      // Whatever is kept beyond retention changes nothing.
      const known = findFact(log, event.stream, idHash(event.id), event.time - entity.retentionMs)
      if (known !== -1)
        return laterStages.has(event.rejectedBy ?? '') ? passOn(event, log, log.rows[known + 1]!) : duplicate
      writeRow(event.stream, event.event, event.order, row)
      // Where facts of its time are dead, nobody knows any more whether it was predicted before.
      const time = event.rejectedBy === null ? event.time : row[0]!
      if (event.stream === plan.scored.index && time < floorTime)
        return { kind: 'rejected', problem: expired(event, floorTime) }
      if (!insertFact(log, row)) return { kind: 'rejected', problem: full(event) }
    }
    if (event.stream !== plan.scored.index) return { kind: 'folded', slots: null, vector: null, order: event.order }
    try {
      return scored(event, log, event.order)
    } catch (error) {
      if (!(error instanceof FeatureFailed)) throw error
      if (isFact) removeLastInserted(log!, row)
      const expected = error.code === 'not_finite' ? 'a finite number or null' : 'a function that does not throw'
      return { kind: 'rejected', problem: problem(`/features/${error.feature}`, error.code, expected, error.received) }
    }
  }

  /** As if it came for the first time: the slots are read where its fact lies, and it goes on with that place. */
  function passOn(event: FoldedEvent, log: EntityLog, order: number): Folded {
    if (event.stream !== plan.scored.index) return { kind: 'folded', slots: null, vector: null, order }
    return scored(event, log, order)
  }

  function scored(event: FoldedEvent, log: EntityLog | null, order: number): Folded {
    const slots = new Float64Array(plan.slots.length).fill(Number.NaN)
    for (let i = 0; i < event.slots.length; i++) slots[i] = event.slots[i]!
    if (log) readSlots(log, order === event.order ? event : { time: event.time, order }, slots)
    if (!isLast) return { kind: 'folded', slots, vector: null, order }
    const vector = new Float64Array(plan.features.length)
    for (let i = 0; i < vector.length; i++) vector[i] = plan.features[i]!.compute(event.event, slots)
    return { kind: 'folded', slots, vector, order }
  }

  function full(event: FoldedEvent): Problem {
    const keyField = entity.keyFields.get(event.stream)!
    const expected = `at most ${logRowsMax} facts of one ${entity.name} within retention`
    return problem(`/${keyField}`, 'entity_full', expected, quoteValue(event.event[keyField]))
  }

  function expired(event: FoldedEvent, floorTime: number): Problem {
    const { timeField } = plan.streams[event.stream]!
    const expected = `a fact at or after ${new Date(floorTime).toISOString()}, before which ${entity.name} keeps none`
    return problem(`/${timeField}`, 'late', expected, new Date(row[0]!).toISOString())
  }

  return {
    needsLog: (stream) => leavesFact[stream]! || (stream === plan.scored.index && entity.slots.length > 0),
    fold,
  }
}
