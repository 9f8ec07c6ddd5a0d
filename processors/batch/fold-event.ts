/**
 * Step 4 of a batch, pure: an event and its entity's log in, the event's slots or its fate out. The fact goes into the log, the windows
 * are read with it, and what fails leaves no trace. Called by `fold.ts` for live and restored events, and by `replay`.
 */

import { compileSlidingRead, type ReadSlots } from '../../feature-store/aggregates/read-slots.ts'
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

/** What became of an event. One object, written over by the next event. */
export interface Folded {
  kind: 'folded' | 'duplicate' | 'rejected'
  /**
   * Place in canonical order that it is sent on with: for a requeued event whose fact is in the log already, that of the fact.
   */
  order: number
  /** Of a rejected one; else it means nothing. */
  problem: Problem | null
}

export interface FoldedEvent extends CanonicalPosition {
  readonly stream: number
  readonly id: string
  readonly event: EventValues
  /** Where its values lie; absent where they are only known by name. */
  readonly rows?: EventRows
  readonly row?: number
  /** The `slotCount` slots of earlier stages, for the scored stream, begin at `slotsFrom`. */
  readonly slots: ArrayLike<number>
  readonly slotsFrom: number
  readonly slotCount: number
  /** Stage that had rejected the event, if it was requeued to the raw topic; null for all others. */
  readonly rejectedBy: string | null
}

export interface Fold {
  /** Numbers that an event of the scored stream gives: slots of this and all earlier stages; on the last stage the vector. */
  readonly width: number
  /** Whether an event of this stream needs its entity's log. */
  needsLog(stream: number): boolean
  /**
   * `log`: null where none is needed. `floorTime`: facts before it are dead (see `retentionMs`). What an event of the scored stream gives
   * is written to `numbers` from `at` on.
   */
  fold(event: FoldedEvent, log: EntityLog | null, floorTime: number, numbers: Float64Array, at: number): Folded
  /** Of one that repeats an event that is folded after it: the first one read is the event. */
  repeat(event: FoldedEvent, of: CanonicalPosition & { readonly isConflict: boolean }): Folded
}

interface FoldState {
  readonly plan: Plan
  readonly stage: StagePlan
  readonly entityBytesMax: number
  readonly width: number
  /** By stream. */
  readonly leavesFact: readonly boolean[]
  /** Stages after this one, which may have rejected an event that has its fact here already: it is sent on again. */
  readonly laterStages: ReadonlySet<string>
  readonly writeFact: (event: FoldedEvent, fact: FactRow) => void
  readonly readSlots: ReadSlots
  /** Of the event under way: its fact, the hash of its id, its slots, and what becomes of it. */
  readonly fact: FactRow
  readonly id: { low: number; high: number }
  readonly slots: Float64Array
  readonly result: Folded
}

/** `hashKey`: of the ids in facts; that of the log's other facts. `entityBytesMax`: of the facts of one entity. */
export function createFold(plan: Plan, stage: StagePlan, hashKey: HashKey, entityBytesMax = logBytesMax): Fold {
  const { entity, repartitionOut } = stage
  const leavesFact = plan.streams.map(({ index }) => entity.layout.sources.some((source) => source.stream === index))
  const width = repartitionOut === null ? plan.features.length : repartitionOut.slots.length
  const state: FoldState = {
    plan,
    stage,
    entityBytesMax,
    width,
    leavesFact,
    laterStages: new Set(plan.stages.slice(stage.index + 1).map(({ entity: later }) => later.name)),
    writeFact: compileFact(plan, stage, hashKey),
    readSlots: compileSlidingRead(entity),
    fact: createFactRow(entity.layout),
    id: { low: 0, high: 0 },
    slots: new Float64Array(plan.slots.length),
    result: { kind: 'duplicate', order: 0, problem: null },
  }
  return {
    width,
    needsLog: (stream) => leavesFact[stream]! || (stream === plan.scored.index && entity.slots.length > 0),
    fold: (event, log, floorTime, numbers, at) => fold(state, event, log, floorTime, numbers, at),
    repeat: (event, of) => repeat(state, event, of),
  }
}

function fold(
  state: FoldState,
  event: FoldedEvent,
  log: EntityLog | null,
  floorTime: number,
  numbers: Float64Array,
  at: number,
): Folded {
  const { plan, stage, fact, id, entityBytesMax } = state
  const { entity } = stage
  const isFact = state.leavesFact[event.stream]!
  if (log && isFact) {
    dropBefore(log, floorTime)
    // Whatever is kept beyond retention changes nothing.
    state.writeFact(event, fact)
    id.low = fact.words[idWord]!
    id.high = fact.words[idWord + 1]!
    const known = findFact(log, event.stream, id, event.time - entity.retentionMs)
    if (known !== -1) return again(state, event, log, known, numbers, at)
    // Where facts of its time are dead, nobody knows any more whether it was predicted before.
    const time = event.rejectedBy === null ? event.time : fact.cells[0]!
    if (event.stream === plan.scored.index && time < floorTime)
      return rejected(state, expiredProblem(plan.streams[event.stream]!, entity, fact.cells[0]!, floorTime))
    if (!insertFact(log, fact, entityBytesMax)) return rejected(state, fullProblem(entity, event, entityBytesMax))
  }
  if (event.stream !== plan.scored.index) return sent(state, event.order)
  try {
    return scored(state, event, log, event.order, numbers, at)
  } catch (error) {
    if (!(error instanceof FeatureFailed)) throw error
    if (isFact) removeLastInserted(log!, fact)
    return rejected(state, featureProblem(error))
  }
}

/** `known`: where the fact of its id begins. */
function again(
  state: FoldState,
  event: FoldedEvent,
  log: EntityLog,
  known: number,
  numbers: Float64Array,
  at: number,
): Folded {
  const { plan, stage, fact, laterStages } = state
  const order = log.rows[known + 1]!
  // As if it came for the first time: the slots are read where its fact lies, and it goes on with that place.
  if (laterStages.has(event.rejectedBy ?? '')) {
    return event.stream === plan.scored.index ? scored(state, event, log, order, numbers, at) : sent(state, order)
  }
  const time = log.rows[known + (stage.entity.layout.knownColumn ?? 0)]!
  const isConflict = isOtherContent(fact.words, contentWord, log.words, 2 * known + contentWord)
  return repeat(state, event, { time, order, isConflict })
}

function scored(
  state: FoldState,
  event: FoldedEvent,
  log: EntityLog | null,
  order: number,
  numbers: Float64Array,
  at: number,
): Folded {
  const { plan, stage, slots, width } = state
  const { slots: before, slotsFrom, slotCount } = event
  for (let i = 0; i < slotCount; i++) slots[i] = before[slotsFrom + i]!
  for (let i = slotCount; i < slots.length; i++) slots[i] = Number.NaN
  if (log) state.readSlots(log, order === event.order ? event : { time: event.time, order }, slots)
  if (stage.repartitionOut === null) writeVector(plan, event, slots, numbers, at)
  else for (let i = 0; i < width; i++) numbers[at + i] = slots[i]!
  return sent(state, order)
}

function repeat({ plan, result }: FoldState, event: FoldedEvent, of: Parameters<Fold['repeat']>[1]): Folded {
  const stream = plan.streams[event.stream]!
  result.kind = 'duplicate'
  // A report may be corrected under its id. The first one stays the fact; which of them is learnt from, the label join decides.
  const isCorrectable = stream.index === plan.label.stream && stream !== plan.scored
  // An event that was requeued may have been mended, and more than once.
  if (of.isConflict && !isCorrectable && event.rejectedBy === null) {
    result.kind = 'rejected'
    result.problem = conflictProblem(stream, event, of)
  }
  return result
}

function sent({ result }: FoldState, order: number): Folded {
  result.kind = 'folded'
  result.order = order
  return result
}

function rejected({ result }: FoldState, problem: Problem): Folded {
  result.kind = 'rejected'
  result.problem = problem
  return result
}

function writeVector(
  { features }: Plan,
  event: FoldedEvent,
  slots: Float64Array,
  vector: Float64Array,
  at: number,
): void {
  const values = event.event
  for (let i = 0; i < features.length; i++) vector[at + i] = features[i]!.compute(values, slots)
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
