/**
 * What a stage must compute, the slow way: one entity's events as a plain list, and for an event the value of every slot by filtering that
 * list. The fast implementation (entity log, slot reader, exact sum, fold) is compared with it: they share nothing but the plan. Called by
 * the audit and by tests.
 */
import type { EventValues } from '../../schemas/kernel/event.ts'
import type { AggregateSlot, StagePlan } from '../../schemas/plan/plan.ts'
import { slowAggregates } from './oracle-aggregates.ts'

/** What canonical order compares, in this order. */
export interface OracleSortKey {
  readonly time: number
  readonly stream: number
  readonly partition: number
  readonly offset: number
}

/** A valid event of one entity as it was read from an input of the stage; `partition` and `offset` are those of the raw event. */
export interface OracleEvent extends OracleSortKey {
  readonly id: string
  readonly event: EventValues
  /** Which input of the stage, and at what offset of it. */
  readonly input: number
  readonly at: number
  /** Task of the previous stage that sent it; the same for all events of a raw topic. */
  readonly source: number
}

/** An event that left a fact. */
export interface OracleFact extends OracleEvent {
  /** Time at which it counts. */
  readonly countsAt: number
}

export interface Oracle {
  /**
   * The facts that these events leave; the stage rejected none of them. The first of a stream and id is the fact, as long as it is within
   * retention; `events` are in order of arrival.
   */
  facts<E extends OracleEvent>(events: readonly E[]): Array<E & OracleFact>
  /** Value of every slot of the stage, in the order of `stage.entity.slots`, for an event with this sort key; NaN is missing. */
  slots(facts: readonly OracleFact[], sortKey: OracleSortKey): number[]
  /** The facts that its slots are computed from. */
  counted<F extends OracleFact>(facts: readonly F[], sortKey: OracleSortKey): F[]
}

export function createOracle(stage: StagePlan): Oracle {
  const { layout, slots, retentionMs } = stage.entity
  const sources = new Map(layout.sources.map((source) => [source.stream, source]))

  function facts<E extends OracleEvent>(events: readonly E[]): Array<E & OracleFact> {
    const found: Array<E & OracleFact> = []
    const byId = new Map([...sources.keys()].map((stream) => [stream, new Map<string, OracleFact[]>()]))
    for (const event of events) {
      const source = sources.get(event.stream)
      if (!source) continue
      const ofStream = byId.get(event.stream)!
      const known = ofStream.get(event.id)
      // A fact that is out of retention when the event arrives is forgotten: it makes no duplicate of it.
      if (known?.some(({ countsAt }) => countsAt >= event.time - retentionMs)) continue
      const fact = { ...event, countsAt: event.event[source.atField] as number }
      found.push(fact)
      if (known) known.push(fact)
      else ofStream.set(event.id, [fact])
    }
    return found
  }

  return {
    facts,
    slots: (list, sortKey) => slots.map((slot) => slotValue(slot, list, sortKey)),
    counted: (list, sortKey) => list.filter((fact) => slots.some((slot) => counts(slot, fact, sortKey))),
  }

  function slotValue(slot: AggregateSlot, list: readonly OracleFact[], sortKey: OracleSortKey): number {
    const inWindow = list.filter((fact) => counts(slot, fact, sortKey))
    const aggregate = slowAggregates[slot.kind]
    if (slot.column === null) return aggregate([], { facts: inWindow.length, scale: 1 })
    const field = sources.get(slot.stream)!.values.find(({ column }) => column === slot.column)!.field
    const scale = slot.decimals === null ? 1 : 10 ** slot.decimals
    const values: number[] = []
    for (const { event } of inWindow) {
      const value = event[field]
      if (value !== null && value !== undefined) values.push(scaled(Number(value), slot.decimals))
    }
    return aggregate(values, { facts: inWindow.length, scale })
  }
}

/** In `(t - lag - over, t - lag]`, and known, at the event's position in canonical order; within an instant that order decides. */
function counts(slot: AggregateSlot, fact: OracleFact, sortKey: OracleSortKey): boolean {
  if (fact.stream !== slot.stream || isAfter(fact, sortKey)) return false
  const until = sortKey.time - slot.lagMs
  if (fact.countsAt <= until - slot.overMs || fact.countsAt > until) return false
  return slot.lagMs > 0 || !isAfter({ ...fact, time: fact.countsAt }, sortKey)
}

/** After `b` in canonical order. */
export function isAfter(a: OracleSortKey, b: OracleSortKey): boolean {
  if (a.time !== b.time) return a.time > b.time
  if (a.stream !== b.stream) return a.stream > b.stream
  if (a.partition !== b.partition) return a.partition > b.partition
  return a.offset > b.offset
}

/** Where decimals are declared, values are whole numbers of the last of them; 0 has no sign. */
function scaled(value: number, decimals: number | null): number {
  return (decimals === null ? value : Math.round(value * 10 ** decimals)) + 0
}
