/**
 * One prediction against the replay: its vector is computed again by the oracle from the raw facts of all its entities, in event time, and
 * what differs is put down to a cause. Pure; called by `replay-rounds.ts`.
 */
import { FeatureFailed } from '../../schemas/plan/feature-plan.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { Prediction } from '../../schemas/wire/records.ts'
import { factsWithin, keyOf, type RawEvent, type RawFacts } from './raw-facts.ts'

/**
 * Why a prediction differs from the replay, the mildest first. `late`: an event was late by its own partition, which its stream allows.
 * `overtaken`: facts were appended only when the prediction had passed their instant, as where streams are sent one after the other.
 * `early`: tasks had released events although a source that made no progress could still have sent earlier ones. `unexplained`: none of
 * these.
 */
export const replayClasses = ['late', 'overtaken', 'early', 'unexplained'] as const
export type ReplayClass = (typeof replayClasses)[number]

/** A prediction with its raw event. */
export interface RawPrediction {
  readonly prediction: Prediction
  readonly event: RawEvent
}

export interface ReplayDifference {
  readonly class: ReplayClass
  readonly id: string
  readonly time: number
  readonly origin: { readonly partition: number; readonly offset: number }
  readonly feature: string
  readonly live: number | null
  readonly replay: number | null
  /** |live − replay| against the larger of both; 1 where one of them is missing. */
  readonly relative: number
}

export interface ReplayContext {
  readonly plan: Plan
  readonly facts: RawFacts
  /** Some task released events early. */
  readonly hasEarly: boolean
  /** Clocks of brokers differ by so much at most. */
  readonly clockSlackMs: number
}

/** How long an event that came behind others may take through the stages: until then a prediction that was appended later may lack it. */
const throughStagesMs = 60_000
/** So many ways of having had only the first of the facts that came too late are tried. */
const cutsMax = 16

/** At most one difference a feature. */
export function compareWithReplay(context: ReplayContext, raw: RawPrediction): ReplayDifference[] {
  const { plan } = context
  const { id, time, origin, features } = raw.prediction
  const replay = vectorOf(context, raw, () => true)
  const differing = plan.features.flatMap((_, i) => (Object.is(replay[i], features[i]) ? [] : [i]))
  if (differing.length === 0) return []
  const causes = causesOf(context, raw)
  return differing.map((i) => {
    const [live, expected] = [features[i]!, replay[i]!]
    return {
      class: classOf(context, causes, { i, live, replay: expected, event: raw.event }),
      id,
      time,
      origin,
      feature: plan.features[i]!.name,
      live: Number.isNaN(live) ? null : live,
      replay: Number.isNaN(expected) ? null : expected,
      relative: relativeOf(live, expected),
    }
  })
}

export function worstOf(differences: readonly ReplayDifference[]): ReplayClass {
  return replayClasses.findLast((name) => differences.some((difference) => difference.class === name))!
}

function relativeOf(live: number, replay: number): number {
  if (Number.isNaN(live) || Number.isNaN(replay)) return 1
  return Math.abs(live - replay) / Math.max(Math.abs(live), Math.abs(replay), Number.MIN_VALUE)
}

/** What the vector would have been without some of the facts that came too late. */
interface Causes {
  /** All of them missing, then fewer: only those that were appended later. The fewest that explain a value are taken. */
  readonly without: ReadonlyArray<{ readonly vector: readonly number[]; readonly class: ReplayClass }>
  /** Those that were appended before the event, but behind others of their task, missing too. */
  readonly withoutBehind: { readonly vector: readonly number[]; readonly class: ReplayClass }
}

function causesOf(context: ReplayContext, raw: RawPrediction): Causes {
  const { event } = raw
  const after = new Set<RawEvent>()
  const behind = new Set<RawEvent>()
  for (const { fact, isRead } of countedOf(context, raw)) {
    if (isRead) continue
    const isBeside = fact.stream === event.stream && fact.partition === event.partition
    // Of one partition the offsets tell.
    const isAfter = isBeside
      ? fact.offset > event.offset
      : fact.appendedAtMs >= event.appendedAtMs - context.clockSlackMs
    if (isAfter) after.add(fact)
    else if (fact.arrival !== 'in_order' && fact.appendedAtMs >= event.appendedAtMs - throughStagesMs) behind.add(fact)
  }
  const missing = [...after].sort((a, b) => a.appendedAtMs - b.appendedAtMs || a.offset - b.offset)
  const starts = missing.flatMap((fact, i) => (fact.appendedAtMs === missing[i - 1]?.appendedAtMs ? [] : [i]))
  const step = Math.ceil(starts.length / cutsMax)
  const cuts = starts.filter((_, n) => n % step === 0).map((start) => new Set(missing.slice(start)))
  const lacking = (gone: ReadonlySet<RawEvent>) => {
    const vector = vectorOf(context, raw, (fact) => !gone.has(fact))
    const isLate = [...gone].every(({ arrival }) => arrival === 'late')
    return { vector, class: isLate ? ('late' as const) : ('overtaken' as const) }
  }
  return { without: cuts.map(lacking), withoutBehind: lacking(new Set([...after, ...behind])) }
}

interface Differing {
  readonly i: number
  readonly live: number
  readonly replay: number
  readonly event: RawEvent
}

function classOf({ hasEarly }: ReplayContext, causes: Causes, { i, live, replay, event }: Differing): ReplayClass {
  const { without, withoutBehind } = causes
  const exact = without.findLast(({ vector }) => Object.is(vector[i], live))
  if (exact) return exact.class
  // A late event is folded when it comes, with what is there: it waits for no other source.
  if (event.arrival === 'late') return 'late'
  if (Object.is(withoutBehind.vector[i], live)) return withoutBehind.class
  if (hasEarly) return 'early'
  // Facts come over several tasks, so any part of those that came too late may have been there.
  if (!Object.is(withoutBehind.vector[i], replay)) return withoutBehind.class
  return event.arrival === 'behind' ? 'overtaken' : 'unexplained'
}

/** The facts that the vector is computed from. `isRead`: the position that the prediction records shows that they had been read. */
function countedOf({ plan, facts }: ReplayContext, { prediction, event }: RawPrediction) {
  return facts.stages.flatMap((kept) => {
    const { stage, oracle } = kept
    const key = keyOf(stage, event.stream, event.event)
    if (key === null) return []
    const next = prediction.positions.find((position) => position.stage === stage.entity.name)
    return oracle.counted(factsWithin(kept, key, event.time), event).map((fact) => {
      const input = stage.rawStreams.indexOf(fact.stream)
      const isDirect = plan.streams[fact.stream]!.entersAt === stage.index && next?.partition === fact.partition
      return { fact, isRead: isDirect && fact.offset < (next.next[input] ?? 0) }
    })
  })
}

function vectorOf(
  { plan, facts }: ReplayContext,
  { event }: RawPrediction,
  isThere: (fact: RawEvent) => boolean,
): number[] {
  const slots = new Array<number>(plan.slots.length).fill(Number.NaN)
  for (const kept of facts.stages) {
    const { stage, oracle } = kept
    const key = keyOf(stage, event.stream, event.event)
    if (key === null) continue
    const there = factsWithin(kept, key, event.time).filter((fact) => isThere(fact))
    oracle.slots(there, event).forEach((value, i) => {
      slots[stage.entity.slots[i]!.index] = value
    })
  }
  return plan.features.map(({ compute }) => {
    try {
      return compute(event.event, slots)
    } catch (error) {
      // The replay would have rejected the event, so it has no value.
      if (error instanceof FeatureFailed) return Number.NaN
      throw error
    }
  })
}
