/**
 * The facts that the replay of some predictions needs, kept by stage and key: valid events of the raw topics go in, in offset order within
 * a partition. Pure; filled by `replay-rounds.ts`, read by `compare-replay.ts`.
 */
import type { EventValues } from '../../schemas/kernel/event.ts'
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'
import { createOracle, isAfter, type Oracle, type OracleEvent, type OracleFact } from './oracle.ts'

/** How an event came, against what had been appended before it. */
export type Arrival =
  | 'in_order'
  /** Out of order in its own partition, beyond the disorder that the stream declares. */
  | 'late'
  /** In order in its partition, but behind another input of the task that reads it. */
  | 'behind'

export interface RawEvent extends OracleEvent {
  readonly appendedAtMs: number
  readonly arrival: Arrival
}

export interface RawFacts {
  readonly stages: readonly StageFacts[]
  /** Events kept, over all stages. */
  count: number
}

interface StageFacts {
  readonly stage: StagePlan
  readonly oracle: Oracle
  /** Longest reach of a window. */
  readonly reachMs: number
  /** Events by the keys that are needed. */
  readonly events: Map<string, RawEvent[]>
  readonly facts: Map<string, readonly KeptFact[]>
}

type KeptFact = OracleFact & RawEvent

export function createRawFacts(plan: Plan): RawFacts {
  const stages = plan.entityStages
    .filter(({ entity }) => entity.slots.length > 0)
    .map((stage) => ({
      stage,
      oracle: createOracle(stage),
      reachMs: Math.max(...stage.entity.slots.map(({ overMs, lagMs }) => overMs + lagMs)),
      events: new Map<string, RawEvent[]>(),
      facts: new Map<string, readonly KeptFact[]>(),
    }))
  return { stages, count: 0 }
}

/** The facts of the event's entities will be needed. */
export function needEntities({ stages }: RawFacts, stream: number, event: EventValues): void {
  for (const { stage, events } of stages) {
    const key = keyOf(stage, stream, event)
    if (key !== null && !events.has(key)) events.set(key, [])
  }
}

/** Keeps the event with every entity that needs it, without the fields that nothing is computed from. */
export function keepRawEvent(facts: RawFacts, event: RawEvent): void {
  for (const { stage, events } of facts.stages) {
    const source = stage.entity.layout.sources.find(({ stream }) => stream === event.stream)
    const key = source && keyOf(stage, event.stream, event.event)
    const list = key === undefined || key === null ? undefined : events.get(key)
    if (!source || !list) continue
    const fields = [source.atField, ...source.values.map(({ field }) => field)]
    list.push({ ...event, event: Object.fromEntries(fields.map((field) => [field, event.event[field] ?? null])) })
    facts.count++
  }
}

export function keptEvents({ stages }: RawFacts): RawEvent[] {
  return stages.flatMap(({ events }) => [...events.values()].flat())
}

export function keyOf({ entity }: StagePlan, stream: number, event: EventValues): string | null {
  const keyField = entity.keyFields.get(stream)
  return keyField === undefined ? null : (event[keyField] as string)
}

/** What was rejected in the fold leaves no fact in the stage that rejected it, nor in a later one. `rejectedAt`: null where none did. */
export function dropRejected({ stages }: RawFacts, rejectedAt: (event: RawEvent) => number | null): void {
  for (const { stage, events, facts } of stages) {
    facts.clear()
    for (const [key, list] of events) {
      const isKept = (event: RawEvent) => {
        const at = rejectedAt(event)
        return at === null || at > stage.index
      }
      events.set(key, list.filter(isKept))
    }
  }
}

/** The facts of an entity that lie within reach of an event, by the time at which they count. */
export function factsWithin(stage: StageFacts, key: string, time: number): readonly KeptFact[] {
  const all = stage.facts.get(key) ?? factsOf(stage, key)
  return all.slice(firstAt(all, time - stage.reachMs), firstAt(all, time + 1))
}

function factsOf({ events, facts, oracle }: StageFacts, key: string): readonly KeptFact[] {
  const made = oracle.facts(inOrderOfFolding(events.get(key) ?? []))
  const sorted = made.sort((a, b) => a.countsAt - b.countsAt)
  facts.set(key, sorted)
  return sorted
}

/** Canonical order; but of repetitions in one partition the first that was appended comes first, as it is the one that is folded. */
function inOrderOfFolding(events: readonly RawEvent[]): RawEvent[] {
  const ordered = [...events].sort((a, b) => (isAfter(a, b) ? 1 : -1))
  const places = new Map<string, number[]>()
  ordered.forEach(({ stream, partition, id }, i) => {
    const name = `${stream} ${partition} ${id}`
    const known = places.get(name)
    if (known) known.push(i)
    else places.set(name, [i])
  })
  for (const at of places.values()) {
    if (at.length === 1) continue
    const appended = at.map((i) => ordered[i]!).sort((a, b) => a.offset - b.offset)
    for (const [n, i] of at.entries()) ordered[i] = appended[n]!
  }
  return ordered
}

/** Index of the first fact that counts at `time` or later. */
function firstAt(facts: readonly KeptFact[], time: number): number {
  let [low, high] = [0, facts.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (facts[middle]!.countsAt < time) low = middle + 1
    else high = middle
  }
  return low
}
