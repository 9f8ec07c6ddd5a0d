/**
 * Step 4 of a batch, pure: an event and its entity's log in, the event's slots or its fate out. The fact goes into the log, the windows
 * are read with it, and what fails leaves no trace. Called by `fold.ts` for live and restored events, and by `replay`.
 */

import { compileSlidingRead } from '../../feature-store/aggregates/read-slots.ts'
import {
  dropBefore,
  type EntityLog,
  findFact,
  insertFact,
  logBytesMax,
  removeLastInserted,
} from '../../feature-store/entity-log.ts'
import { isOtherContent } from '../../feature-store/event-content.ts'
import { compileFactOfRow } from '../../feature-store/fact-of-row.ts'
import { compileFactRow, contentWord, createFactRow, type FactRow, idWord } from '../../feature-store/fact-row.ts'
import type { CanonicalPosition } from '../../schemas/kernel/canonical-order.ts'
import type { EventValues, Problem } from '../../schemas/kernel/event.ts'
import type { HashKey } from '../../schemas/kernel/keyed-hash.ts'
import { FeatureFailed } from '../../schemas/plan/feature-plan.ts'
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'
import type { EventRows } from '../../schemas/wire/event-rows.ts'
import { conflictProblem, expiredProblem, featureProblem, fullProblem } from './fold-problems.ts'

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
  /** Where its values lie; absent where they are only known by name. */
  readonly rows?: EventRows
  readonly row?: number
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
  /** Of one that repeats an event that is folded after it: the first one read is the event. */
  repeat(event: FoldedEvent, of: CanonicalPosition & { readonly isConflict: boolean }): Folded
}

/** `hashKey`: of the ids in facts; that of the log's other facts. `entityBytesMax`: of the facts of one entity. */
export function createFold(plan: Plan, stage: StagePlan, hashKey: HashKey, entityBytesMax = logBytesMax): Fold {
  const { entity } = stage
  const writeFact = compileFact(plan, stage, hashKey)
  const numbers = createNumbers()
  const readSlots = compileSlidingRead(entity)
  const leavesFact = plan.streams.map(({ index }) => entity.layout.sources.some((source) => source.stream === index))
  const row = createFactRow(entity.layout)
  const id = { low: 0, high: 0 }
  /** A requeued event that one of these had rejected has its fact here already, and is sent on again. */
  const laterStages = new Set(plan.stages.slice(stage.index + 1).map(({ entity: later }) => later.name))

  function fold(event: FoldedEvent, log: EntityLog | null, floorTime: number): Folded {
    const isFact = leavesFact[event.stream]!
    if (log && isFact) {
      dropBefore(log, floorTime)
      // Whatever is kept beyond retention changes nothing.
      writeFact(event, row)
      id.low = row.words[idWord]!
      id.high = row.words[idWord + 1]!
      const known = findFact(log, event.stream, id, event.time - entity.retentionMs)
      if (known !== -1) return again(event, log, known)
      // Where facts of its time are dead, nobody knows any more whether it was predicted before.
      const time = event.rejectedBy === null ? event.time : row.cells[0]!
      if (event.stream === plan.scored.index && time < floorTime)
        return {
          kind: 'rejected',
          problem: expiredProblem(plan.streams[event.stream]!, entity, row.cells[0]!, floorTime),
        }
      if (!insertFact(log, row, entityBytesMax))
        return { kind: 'rejected', problem: fullProblem(entity, event, entityBytesMax) }
    }
    if (event.stream !== plan.scored.index) return { kind: 'folded', slots: null, vector: null, order: event.order }
    try {
      return scored(event, log, event.order)
    } catch (error) {
      if (!(error instanceof FeatureFailed)) throw error
      if (isFact) removeLastInserted(log!, row)
      return { kind: 'rejected', problem: featureProblem(error) }
    }
  }

  /** `known`: where the fact of its id begins. */
  function again(event: FoldedEvent, log: EntityLog, known: number): Folded {
    if (laterStages.has(event.rejectedBy ?? '')) return passOn(event, log, log.rows[known + 1]!)
    const time = log.rows[known + (entity.layout.knownColumn ?? 0)]!
    const isConflict = isOtherContent(row.words, contentWord, log.words, 2 * known + contentWord)
    return repeated(plan, event, { time, order: log.rows[known + 1]!, isConflict })
  }

  /** As if it came for the first time: the slots are read where its fact lies, and it goes on with that place. */
  function passOn(event: FoldedEvent, log: EntityLog, order: number): Folded {
    if (event.stream !== plan.scored.index) return { kind: 'folded', slots: null, vector: null, order }
    return scored(event, log, order)
  }

  function scored(event: FoldedEvent, log: EntityLog | null, order: number): Folded {
    const slots = numbers(plan.slots.length).fill(Number.NaN)
    for (let i = 0; i < event.slots.length; i++) slots[i] = event.slots[i]!
    if (log) readSlots(log, order === event.order ? event : { time: event.time, order }, slots)
    if (stage.repartitionOut !== null) return { kind: 'folded', slots, vector: null, order }
    return { kind: 'folded', slots, vector: vectorOf(plan, event.event, slots, numbers(plan.features.length)), order }
  }

  return {
    needsLog: (stream) => leavesFact[stream]! || (stream === plan.scored.index && entity.slots.length > 0),
    fold,
    repeat: (event, of) => repeated(plan, event, of),
  }
}

/** Numbers of one event are cut out of a block: memory of their own would cost more to get and to collect than the numbers do. */
const blockLength = 1_024

function createNumbers(): (length: number) => Float64Array {
  let block = new Float64Array(blockLength)
  let used = 0
  return (length) => {
    if (used + length > block.length) {
      block = new Float64Array(Math.max(blockLength, length))
      used = 0
    }
    used += length
    return block.subarray(used - length, used)
  }
}

function vectorOf({ features }: Plan, values: EventValues, slots: Float64Array, vector: Float64Array): Float64Array {
  for (let i = 0; i < vector.length; i++) vector[i] = features[i]!.compute(values, slots)
  return vector
}

/** From where its values lie, or by name. */
function compileFact(plan: Plan, { entity }: StagePlan, hashKey: HashKey): (event: FoldedEvent, fact: FactRow) => void {
  const byName = compileFactRow(entity, plan.streams, hashKey)
  const ofRow = compileFactOfRow(entity, plan.streams, hashKey)
  return (event, fact) => {
    const { stream, rows, order } = event
    if (rows) ofRow(stream, rows, event.row!, order, fact)
    else byName(stream, event.event, order, fact)
  }
}

function repeated(plan: Plan, event: FoldedEvent, of: Parameters<Fold['repeat']>[1]): Folded {
  const stream = plan.streams[event.stream]!
  // A report may be corrected under its id. The first one stays the fact; which of them is learnt from, the label join decides.
  const isCorrectable = stream.index === plan.label.stream && stream !== plan.scored
  // An event that was requeued may have been mended, and more than once.
  if (!of.isConflict || isCorrectable || event.rejectedBy !== null) return duplicate
  return { kind: 'rejected', problem: conflictProblem(stream, event, of) }
}
