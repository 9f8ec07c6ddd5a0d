/**
 * Predictions compared with the replay of the raw topics, round by round: a round takes the predictions that were published since the last
 * one, reads the raw topics again as far back as their windows reach, and compares. Memory is bounded by the predictions and facts of a
 * round. Called by `run-replay-audit.ts`; writes nothing.
 */
import type { BrokerData, Fetcher, TopicPartition } from '../../runtime/broker.ts'
import { type LogSpan, readSpans } from '../../runtime/read-log.ts'
import type { Plan, StreamPlan } from '../../schemas/plan/plan.ts'
import type { Prediction } from '../../schemas/wire/records.ts'
import { isInSample } from './audit-state.ts'
import { compareWithReplay, type RawPrediction, type ReplayDifference } from './compare-replay.ts'
import {
  createRawFacts,
  dropRejected,
  keepRawEvent,
  keptEvents,
  keyOf,
  needEntities,
  type RawEvent,
  type RawFacts,
} from './raw-facts.ts'
import { checkpointBefore, checkpointOfAppend, createRawIndex, forgetBefore, type RawIndex } from './raw-index.ts'
import { extendIndexes, type RawPartition, readEvents, readRejections } from './read-raw.ts'
import { countCompared, createReplayCounts, type ReplayCounts, skipReplay } from './replay-counts.ts'

export interface ReplayAuditOptions {
  readonly plan: Plan
  readonly broker: Pick<BrokerData, 'bounds'>
  readonly partitionsOf: (topic: string) => number
  /** Fraction of the last entity's keys, 0 to 1: a prediction is compared where its own is among them. */
  readonly sample: number
  /** Whether some task has released events early. */
  readonly hasEarly: () => Promise<boolean>
  readonly limits?: Partial<ReplayLimits>
}

export interface ReplayLimits {
  /** Records read of each partition of the predictions before those in the sample are picked. */
  readonly chunkOffsets: number
  /** Predictions compared in one round. */
  readonly predictionsMax: number
  /** Facts held for them; a round that needs more is halved. */
  readonly factsMax: number
  readonly clockSlackMs: number
}

const defaultLimits: ReplayLimits = {
  chunkOffsets: 5_000,
  predictionsMax: 10_000,
  factsMax: 400_000,
  clockSlackMs: 50,
}

export interface ReplayAudit {
  readonly counts: ReplayCounts
  /** Predictions that were read and wait for a round. */
  readonly pending: number
  /** Everything that a later round needs is changed only where it succeeds, or read again. */
  round(fetcher: Fetcher, until: readonly LogSpan[]): Promise<ReplayDifference[]>
  /** Whether everything before the ends has been compared. */
  isDone(until: readonly LogSpan[]): boolean
}

interface RoundsState extends ReplayAuditOptions {
  readonly bounds: ReplayLimits
  readonly counts: ReplayCounts
  readonly raw: readonly RawPartition[]
  readonly rejected: readonly RawIndex[]
  /** Next offset of the predictions, by partition. */
  readonly next: Map<number, number>
  waiting: RawPrediction[]
  /** Predictions of a round; halved while their facts are too many. */
  roundSize: number
}

export function createReplayAudit(options: ReplayAuditOptions): ReplayAudit {
  const { plan, partitionsOf } = options
  const partitions = (topic: string) => Array.from({ length: partitionsOf(topic) }, (_, partition) => partition)
  const state: RoundsState = {
    ...options,
    bounds: { ...defaultLimits, ...options.limits },
    counts: createReplayCounts(),
    raw: plan.streams
      .filter(({ entersAt }) => entersAt !== null)
      .flatMap((stream) =>
        partitions(stream.topic).map((partition) => ({
          stream,
          partitions: partitionsOf(stream.topic),
          index: createRawIndex({ topic: stream.topic, partition }),
        })),
      ),
    rejected: partitions(plan.rejected.topic).map((partition) =>
      createRawIndex({ topic: plan.rejected.topic, partition }),
    ),
    next: new Map(),
    waiting: [],
    roundSize: options.limits?.predictionsMax ?? defaultLimits.predictionsMax,
  }
  return {
    counts: state.counts,
    get pending() {
      return state.waiting.length
    },
    round: (fetcher, until) => round(state, fetcher, until),
    isDone: (until) => state.waiting.length === 0 && until.every((span) => nextOf(state, span) >= span.end),
  }
}

function nextOf({ next }: RoundsState, { partition, from }: LogSpan): number {
  return Math.max(next.get(partition) ?? 0, from)
}

async function round(state: RoundsState, fetcher: Fetcher, until: readonly LogSpan[]): Promise<ReplayDifference[]> {
  await collect(state, fetcher, until)
  state.waiting.sort((a, b) => a.prediction.time - b.prediction.time)
  const taken = state.waiting.slice(0, state.roundSize)
  const gathered = taken.length === 0 ? null : await gather(state, fetcher, taken)
  const differences = gathered === null ? [] : await compareAll(state, taken, gathered)
  if (taken.length === 0) return []
  if (gathered !== null) {
    state.waiting = state.waiting.slice(taken.length)
    state.roundSize = Math.min(state.bounds.predictionsMax, state.roundSize * 2)
  } else if (taken.length > 1) {
    state.roundSize = taken.length >> 1
  } else {
    skipReplay(state.counts, 'too_many_facts')
    state.waiting = state.waiting.slice(1)
  }
  return differences
}

/** Reads predictions, and the raw events that they were made of, until there are enough in the sample for a round. */
async function collect(state: RoundsState, fetcher: Fetcher, until: readonly LogSpan[]): Promise<void> {
  const { bounds, next } = state
  while (state.waiting.length < state.roundSize) {
    const spans = until
      .map((span) => ({ ...span, from: nextOf(state, span) }))
      .filter(({ from, end }) => from < end)
      .map((span) => ({ ...span, end: Math.min(span.end, span.from + bounds.chunkOffsets) }))
    const found: Prediction[] = []
    await readSpans(fetcher, spans, ({ value }) => found.push(state.plan.predictions.codec.decode(value!)), {
      isLossy: true,
    })
    // After the predictions: what they were computed from is there.
    await extend(state, fetcher)
    const picked = await pick(state, fetcher, found)
    for (const { partition, end } of spans) next.set(partition, end)
    state.waiting.push(...picked)
    if (spans.length === 0) return
  }
}

async function extend(state: RoundsState, fetcher: Fetcher): Promise<void> {
  const endOf = await forgetRemoved(state)
  await extendIndexes(fetcher, state.raw, state.rejected, endOf)
}

/** Returns the ends as they are now. */
async function forgetRemoved({ raw, rejected, broker }: RoundsState): Promise<(at: TopicPartition) => number> {
  const indexes: RawIndex[] = [...raw.map(({ index }) => index), ...rejected]
  const found = await broker.bounds(indexes.map(({ topic, partition }) => ({ topic, partition })))
  const boundsOf = (at: TopicPartition) =>
    found.find(({ topic, partition }) => topic === at.topic && partition === at.partition)!
  for (const index of indexes) forgetBefore(index, boundsOf(index).start)
  return (at) => boundsOf(at).end
}

/** Those whose last entity is in the sample, with their raw events. */
async function pick(state: RoundsState, fetcher: Fetcher, found: readonly Prediction[]): Promise<RawPrediction[]> {
  const { plan, counts, raw, sample } = state
  const last = plan.entityStages.at(-1)!
  const byOrigin = new Map<string, Prediction[]>()
  const ranges = new Map<number, { from: number; end: number }>()
  for (const prediction of found) {
    if (prediction.fingerprint !== plan.fingerprint) continue
    const { partition, offset } = prediction.origin
    const name = `${partition} ${offset}`
    const known = byOrigin.get(name)
    if (known) known.push(prediction)
    else byOrigin.set(name, [prediction])
    const range = ranges.get(partition) ?? { from: offset, end: offset + 1 }
    ranges.set(partition, { from: Math.min(range.from, offset), end: Math.max(range.end, offset + 1) })
  }
  const picked: RawPrediction[] = []
  const parts = raw.flatMap((part) => {
    const range = part.stream === plan.scored ? ranges.get(part.index.partition) : undefined
    if (!range) return []
    const { checkpoints, next } = part.index
    const from = checkpoints.findLast(({ offset }) => offset <= range.from) ?? checkpoints[0]
    return from ? [{ part, from, end: Math.min(range.end, next) }] : []
  })
  await readEvents(fetcher, raw, parts, (event) => {
    const name = `${event.partition} ${event.offset}`
    const key = keyOf(last, plan.scored.index, event.event)
    const isPicked = key !== null && isInSample(sample, last, key)
    for (const prediction of isPicked ? (byOrigin.get(name) ?? []) : []) picked.push({ prediction, event })
    byOrigin.delete(name)
  })
  // Counted once all is read: after an outage it is read again.
  for (const { fingerprint } of found) if (fingerprint !== plan.fingerprint) skipReplay(counts, 'other_definition')
  // Without its event nobody knows whether a prediction is in the sample. The comparison with the inputs finds those that have none.
  for (const list of byOrigin.values()) for (const _ of list) skipReplay(counts, 'event_unread')
  return picked
}

interface Gathered {
  readonly facts: RawFacts
  readonly rejectedAt: (event: RawEvent) => number | null
}

/** The facts of the predictions' entities; null where they are too many. */
async function gather(state: RoundsState, fetcher: Fetcher, taken: readonly RawPrediction[]): Promise<Gathered | null> {
  const { plan, raw, rejected, bounds } = state
  const facts = createRawFacts(plan)
  for (const { event } of taken) needEntities(facts, plan.scored.index, event.event)
  const since = taken.reduce((least, { prediction }) => Math.min(least, prediction.time), Number.POSITIVE_INFINITY)
  const parts = raw.flatMap((part) => {
    const from = checkpointBefore(part.index, readFrom(facts, part.stream, since))
    return from ? [{ part, from, end: part.index.next }] : []
  })
  let appendedFrom = Number.POSITIVE_INFINITY
  await readEvents(fetcher, raw, parts, (event) => {
    if (facts.count > bounds.factsMax) return
    const before = facts.count
    keepRawEvent(facts, event)
    if (facts.count > before) appendedFrom = Math.min(appendedFrom, event.appendedAtMs)
  })
  if (facts.count > bounds.factsMax) return null
  const spans = rejected.flatMap((index) => {
    const from = checkpointOfAppend(index, appendedFrom)
    return from ? [{ topic: index.topic, partition: index.partition, from: from.offset, end: index.next }] : []
  })
  const events = taken.map(({ event }) => event)
  const rejectedAt = await readRejections(fetcher, plan, [...keptEvents(facts), ...events], spans)
  dropRejected(facts, rejectedAt)
  // What retention has removed meanwhile may not have been read.
  await forgetRemoved(state)
  return { facts, rejectedAt }
}

/** Event time of the first fact that counts; a fact that counts at another time than its own may be of any. +infinity: none does. */
function neededFrom(facts: RawFacts, stream: StreamPlan, since: number): number {
  return firstNeeded(facts, stream, ({ reachMs }) => since - reachMs)
}

/** Before the windows, too, for as long as an id is known: what is sent again under it is no fact. */
function readFrom(facts: RawFacts, stream: StreamPlan, since: number): number {
  return firstNeeded(facts, stream, ({ reachMs, stage }) => since - reachMs - stage.entity.retentionMs)
}

function firstNeeded(
  { stages }: RawFacts,
  { index, timeField }: StreamPlan,
  fromOf: (stage: RawFacts['stages'][number]) => number,
): number {
  return stages.reduce((least, kept) => {
    const source = kept.stage.entity.layout.sources.find(({ stream }) => stream === index)
    if (!source) return least
    return Math.min(least, source.atField === timeField ? fromOf(kept) : Number.NEGATIVE_INFINITY)
  }, Number.POSITIVE_INFINITY)
}

async function compareAll(
  state: RoundsState,
  taken: readonly RawPrediction[],
  { facts, rejectedAt }: Gathered,
): Promise<ReplayDifference[]> {
  const { plan, counts, bounds } = state
  const context = { plan, facts, hasEarly: await state.hasEarly(), clockSlackMs: bounds.clockSlackMs }
  const settledUntil = settledTime(state)
  return taken.flatMap((raw) => {
    const { time } = raw.prediction
    const isUnread = state.raw.some(({ stream, index }) => neededFrom(facts, stream, time) < index.unreadUntil)
    if (isUnread) {
      skipReplay(counts, 'before_read')
      return []
    }
    if (rejectedAt(raw.event) !== null) {
      skipReplay(counts, 'requeued')
      return []
    }
    const differences = compareWithReplay(context, raw)
    countCompared(counts, differences, { isProvisional: time > settledUntil })
    return differences
  })
}

/** Event time at or before which no partition accepts an event any more. */
function settledTime({ raw }: RoundsState): number {
  return raw.reduce((least, { stream, index }) => {
    return index.records === 0 ? least : Math.min(least, index.max - stream.latenessMs)
  }, Number.POSITIVE_INFINITY)
}
