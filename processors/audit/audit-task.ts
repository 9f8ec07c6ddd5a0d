/**
 * One task of a stage as the audit sees it: the events of its sampled entities, the outputs that wait to be judged, and the verdicts. An
 * output is an event that the stage sent on (a repartition record with the slots, or a prediction) with the position it was computed at;
 * it is judged once all of its inputs up to that position were read. Pure; called by the audit only.
 */

import type { EventValues } from '../../schemas/kernel/event.ts'
import { FeatureFailed } from '../../schemas/plan/feature-plan.ts'
import type { Plan, RepartitionPlan, StagePlan } from '../../schemas/plan/plan.ts'
import type { Prediction, StagePosition } from '../../schemas/wire/records.ts'
import { createOracle, isAfter, type OracleEvent, type OracleFact, type OraclePlace } from './oracle.ts'

export interface AuditedEvent extends OracleEvent {
  /** Slots of earlier stages that came with it. */
  readonly slots: readonly number[]
  /** How often it had been put back. */
  readonly attempt: number
}

export interface AuditedOutput {
  readonly id: string
  readonly place: OraclePlace
  readonly position: StagePosition
  /** Fetch that brought it. */
  readonly round: number
  /** Of the stage's entity; null where the output does not tell. */
  readonly key: string | null
  readonly repartition: { readonly plan: RepartitionPlan; readonly slots: readonly number[] } | null
  readonly prediction: Prediction | null
}

/** Why an output was not judged. */
export const skipReasons = ['before_read', 'retention', 'duplicates', 'other_definition', 'model_unknown'] as const
/**
 * `before_read`: a window reaches before what was read. `retention`, `duplicates`: it differs, but facts may have been dropped by then, or
 * two events of one id came by different ways and out of order. `other_definition`, `model_unknown`: nothing to compare with.
 */
export type SkipReason = (typeof skipReasons)[number]

/** One value of an output that is not what it must be. */
export interface Difference {
  readonly stage: string
  readonly id: string
  readonly time: number
  readonly origin: { readonly partition: number; readonly offset: number }
  readonly position: StagePosition
  /** Feature, slot (on a repartition topic), `score`, `shadow <version>`, or `event` where there is no such event. */
  readonly name: string
  readonly expected: number | string | null
  readonly logged: number | null
}

export type Verdict =
  | { readonly kind: 'equal' }
  | { readonly kind: 'skipped'; readonly reason: SkipReason }
  | { readonly kind: 'differing'; readonly differences: readonly Difference[] }

/** What a task needs to know of its inputs' partitions. */
export interface AuditedInput {
  /** First offset not read yet. */
  readonly next: number
  /** Event time up to which there may be events that were never read; −infinity where all were. */
  readonly unreadUntil: number
  /** No event before this offset is later; may be somewhat more than the latest. */
  latestBefore(offset: number): number
}

export interface AuditTaskOptions {
  readonly plan: Plan
  readonly stage: StagePlan
  readonly inputs: readonly AuditedInput[]
  /** Input of the stage that brings the events of a stream. */
  readonly inputOf: (stream: number) => number
  /** Dead letters of the stage for this raw event. */
  readonly rejections: (event: AuditedEvent) => number
  /** Null: the version is not known. */
  readonly scoreOf: (version: string) => ((vector: ArrayLike<number>) => number) | null
  /** All entities are audited, so that an output without an event is a mistake. */
  readonly isWhole: boolean
}

export interface AuditTask {
  readonly pending: readonly AuditedOutput[]
  add(key: string, event: AuditedEvent): void
  push(output: AuditedOutput): void
  /** Judges what came before this fetch and is covered by what was read; `null` is an output of an entity that is not in the sample. */
  validateRecord(beforeRound: number): Array<Verdict | null>
  readonly forgottenBefore: number
  /** Forgets the events that count, and were known, before `time`; not at once where it is hardly later than the last time. */
  forget(time: number): void
}

export function createAuditTask(options: AuditTaskOptions): AuditTask {
  const { plan, stage, inputs, inputOf, rejections, scoreOf, isWhole } = options
  const { entity } = stage
  const oracle = createOracle(stage)
  const atFields = new Map(entity.layout.sources.map(({ stream, atField }) => [stream, atField]))
  const events = new Map<string, AuditedEvent[]>()
  /** Entities of scored events, by where the raw event lies. */
  const keys = new Map<string, string>()
  let pending: AuditedOutput[] = []
  let forgottenBefore = Number.NEGATIVE_INFINITY

  function add(key: string, event: AuditedEvent): void {
    const known = events.get(key)
    if (known) known.push(event)
    else events.set(key, [event])
    if (event.stream === plan.scored.index) keys.set(originOf(event), key)
  }

  function validateRecord(beforeRound: number): Array<Verdict | null> {
    const isReady = ({ round, position }: AuditedOutput) =>
      round < beforeRound && inputs.every(({ next }, i) => !(next < position.next[i]!))
    const ready = pending.filter(isReady)
    pending = pending.filter((output) => !isReady(output))
    return ready.map(verdictOf)
  }

  function verdictOf(output: AuditedOutput): Verdict | null {
    const { place, position, prediction } = output
    const isForeign = prediction !== null && prediction.fingerprint !== plan.fingerprint
    if (isForeign || position.next.length !== inputs.length) return { kind: 'skipped', reason: 'other_definition' }
    const key = output.key ?? keys.get(originOf(place))
    const all = key === undefined ? undefined : events.get(key)
    const isOwn = (event: AuditedEvent) => originOf(event) === originOf(place) && event.stream === place.stream
    const inOrder = (all ?? []).filter(({ input, at }) => at < position.next[input]!).sort(byArrival)
    const taken = withoutRefused(inOrder)
    const own = taken.filter(isOwn)
    if (own.length === 0) {
      if (place.time <= unreadUntil(plan.scored.index)) return { kind: 'skipped', reason: 'before_read' }
      return isWhole || output.key !== null ? { kind: 'differing', differences: [noEvent(output)] } : null
    }
    if (reachesUnread(place)) return { kind: 'skipped', reason: 'before_read' }
    return compare(output, own, taken, inOrder)
  }

  /** A later one of several that were put back is a duplicate, whatever came of it: refusals come first. */
  function withoutRefused(list: readonly AuditedEvent[]): AuditedEvent[] {
    const left = new Map<string, number>()
    return list.filter((event) => {
      const name = `${event.stream} ${originOf(event)} ${event.attempt}`
      const refused = left.get(name) ?? rejections(event)
      left.set(name, Math.max(0, refused - 1))
      return refused === 0
    })
  }

  function unreadUntil(stream: number): number {
    return Math.max(forgottenBefore, inputs[inputOf(stream)]!.unreadUntil)
  }

  function reachesUnread({ time }: OraclePlace): boolean {
    return entity.slots.some(({ stream, lagMs, overMs }) => time - lagMs - overMs < unreadUntil(stream))
  }

  function compare(
    output: AuditedOutput,
    own: readonly AuditedEvent[],
    taken: readonly AuditedEvent[],
    inOrder: readonly AuditedEvent[],
  ): Verdict {
    const facts = oracle.facts(taken)
    const differences = differencesOf(output, own, facts)
    if (differences.length === 0) return scoreVerdict(output)
    // Which of an id was folded first is not recorded where they came out of order, nor whether one that was refused kept another out.
    const others = [
      oracle.facts([...taken].sort((a, b) => (isAfter(a, b) ? 1 : -1))),
      oracle.facts(inOrder).filter((fact) => taken.some((event) => isRecord(event, fact))),
    ].filter((other) => other.length !== facts.length || other.some((fact) => !facts.some((f) => isRecord(f, fact))))
    if (others.some((other) => differencesOf(output, own, other).length === 0)) return scoreVerdict(output)
    if (others.length > 0) return { kind: 'skipped', reason: 'duplicates' }
    // Nor is how far the task's event time had come when a late event was folded: facts may have been dropped by then.
    const latest = Math.max(...inputs.map((input, i) => input.latestBefore(output.position.next[i]!)))
    const dead = facts.filter(({ countsAt }) => countsAt < latest - entity.retentionMs)
    const isRepeated = (fact: OracleFact) =>
      taken.some((event) => event.stream === fact.stream && event.id === fact.id && !isRecord(event, fact))
    if (oracle.counted(dead, output.place).length > 0 || dead.some(isRepeated)) {
      return { kind: 'skipped', reason: 'retention' }
    }
    return { kind: 'differing', differences }
  }

  function differencesOf(
    output: AuditedOutput,
    own: readonly AuditedEvent[],
    facts: readonly OracleFact[],
  ): Difference[] {
    const isFact = atFields.has(plan.scored.index)
    if (isFact && !own.some((event) => facts.some((fact) => isRecord(fact, event)))) {
      return [{ ...describe(output, 'event'), expected: 'no repetition of another event of its id', logged: null }]
    }
    const values = oracle.slots(facts, output.place)
    const { repartition, prediction } = output
    // Its own record is known by its place; where it was put back several times, any of them may be the one.
    const tries = own.map(({ event, slots: carried }) => {
      if (prediction) return ofVector(output, prediction, event, carried, values)
      return ofRepartition(output, repartition!, carried, values)
    })
    return tries.find((differences) => differences.length === 0) ?? tries[0]!
  }

  function ofRepartition(
    output: AuditedOutput,
    { plan: repartition, slots: logged }: NonNullable<AuditedOutput['repartition']>,
    carried: readonly number[],
    values: readonly number[],
  ): Difference[] {
    const expected = slotsOf(carried, values)
    return repartition.slots.flatMap(({ index, name }, i) => different(output, name, expected[index]!, logged[i]!))
  }

  function ofVector(
    output: AuditedOutput,
    { features }: Prediction,
    event: EventValues,
    carried: readonly number[],
    values: readonly number[],
  ): Difference[] {
    const slots = slotsOf(carried, values)
    return plan.features.flatMap(({ name, compute }, i) => {
      try {
        return different(output, name, compute(event, slots), features[i]!)
      } catch (error) {
        if (!(error instanceof FeatureFailed)) throw error
        return [{ ...describe(output, name), expected: error.message, logged: shown(features[i]!) }]
      }
    })
  }

  /** Slots of earlier stages come first in the plan, and as they were carried. */
  function slotsOf(carried: readonly number[], values: readonly number[]): number[] {
    const slots = new Array<number>(plan.slots.length).fill(Number.NaN)
    carried.forEach((value, index) => {
      slots[index] = value
    })
    entity.slots.forEach(({ index }, i) => {
      slots[index] = values[i]!
    })
    return slots
  }

  function scoreVerdict(output: AuditedOutput): Verdict {
    if (!output.prediction) return { kind: 'equal' }
    const { modelVersion, score, features, shadow } = output.prediction
    const predict = modelVersion === null ? () => Number.NaN : scoreOf(modelVersion)
    if (!predict) return { kind: 'skipped', reason: 'model_unknown' }
    const differences = different(output, 'score', predict(features), score ?? Number.NaN)
    for (const { version, score: logged } of shadow) {
      const predictShadow = scoreOf(version)
      if (!predictShadow) return { kind: 'skipped', reason: 'model_unknown' }
      differences.push(...different(output, `shadow ${version}`, predictShadow(features), logged))
    }
    return differences.length === 0 ? { kind: 'equal' } : { kind: 'differing', differences }
  }

  function noEvent(output: AuditedOutput): Difference {
    return { ...describe(output, 'event'), expected: 'a valid event at its origin, before its position', logged: null }
  }

  function different(output: AuditedOutput, name: string, expected: number, logged: number): Difference[] {
    if (Object.is(expected, logged)) return []
    return [{ ...describe(output, name), expected: shown(expected), logged: shown(logged) }]
  }

  function describe({ id, place, position }: AuditedOutput, name: string) {
    const { time, partition, offset } = place
    return { stage: entity.name, id, time, origin: { partition, offset }, position, name }
  }

  function forget(time: number): void {
    if (!(time > forgottenBefore + entity.retentionMs / 16)) return
    forgottenBefore = time
    for (const [key, list] of events) {
      const [kept, gone]: [AuditedEvent[], AuditedEvent[]] = [[], []]
      for (const event of list) {
        const countsAt = event.event[atFields.get(event.stream) ?? ''] as number | undefined
        const isGone = event.time < time && (countsAt ?? event.time) < time
        ;(isGone ? gone : kept).push(event)
      }
      for (const event of gone) if (event.stream === plan.scored.index) keys.delete(originOf(event))
      if (kept.length === 0) events.delete(key)
      else if (gone.length > 0) events.set(key, kept)
    }
  }

  return {
    get pending() {
      return pending
    },
    add,
    push: (output) => void pending.push(output),
    validateRecord,
    get forgottenBefore() {
      return forgottenBefore
    },
    forget,
  }
}

function originOf({ partition, offset }: OraclePlace): string {
  return `${partition} ${offset}`
}

function byArrival(a: OracleEvent, b: OracleEvent): number {
  return a.input - b.input || a.at - b.at
}

function isRecord(a: OracleEvent, b: OracleEvent): boolean {
  return a.input === b.input && a.at === b.at
}

/** Missing is null wherever it is written down. */
function shown(value: number): number | null {
  return Number.isNaN(value) ? null : value
}
