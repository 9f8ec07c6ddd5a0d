/**
 * Raw topics and dead letters as the comparison with the replay reads them: spans of partitions go in, valid events come out with how they
 * arrived, as the first stage validated them. Called by `replay-rounds.ts`.
 */
import type { Fetcher, LogRecord, TopicPartition } from '../../runtime/broker.ts'
import { type LogSpan, readSpans } from '../../runtime/read-log.ts'
import type { RejectCode } from '../../schemas/kernel/event.ts'
import type { Plan, StreamPlan } from '../../schemas/plan/plan.ts'
import { validateRecord } from '../validate.ts'
import type { Arrival, RawEvent } from './raw-facts.ts'
import { type Checkpoint, indexRecord, maxAtAppend, type RawIndex } from './raw-index.ts'

export interface RawPartition {
  readonly stream: StreamPlan
  readonly index: RawIndex
  /** Of the topic. */
  readonly partitions: number
}

/** Reads on to the ends, for the first time. */
export async function extendIndexes(
  fetcher: Fetcher,
  raw: readonly RawPartition[],
  rejected: readonly RawIndex[],
  endOf: (at: TopicPartition) => number,
): Promise<void> {
  const parts = new Map(raw.map((part) => [nameOf(part.index), part]))
  const indexes = new Map([...raw.map(({ index }) => index), ...rejected].map((index) => [nameOf(index), index]))
  const spans = [...indexes.values()].map((index) => ({
    topic: index.topic,
    partition: index.partition,
    from: index.next,
    end: endOf(index),
  }))
  await readSpans(
    fetcher,
    spans,
    (record, at) => {
      const index = indexes.get(nameOf(at))!
      const part = parts.get(nameOf(at))
      const valid = part && validated(part, record, index.max)
      // Events that were removed were appended before this one.
      if (part && index.hasGap)
        index.unreadUntil = Math.max(index.unreadUntil, record.appendedAtMs + part.stream.aheadMs)
      index.hasGap = false
      indexRecord(index, record.offset, record.appendedAtMs, valid?.ok ? valid.time : null)
      index.next = record.offset + 1
    },
    {
      isLossy: true,
      onRemoved(at) {
        indexes.get(nameOf(at))!.hasGap = true
      },
    },
  )
  for (const span of spans) indexes.get(nameOf(span))!.next = Math.max(span.from, span.end)
}

export interface RawSpan {
  readonly part: RawPartition
  readonly from: Checkpoint
  readonly end: number
}

/** Hands over the valid events of spans that were read before. */
export async function readEvents(
  fetcher: Fetcher,
  raw: readonly RawPartition[],
  spans: readonly RawSpan[],
  take: (event: RawEvent) => void,
): Promise<void> {
  const open = new Map(spans.map(({ part, from }) => [nameOf(part.index), { part, max: from.maxBefore }]))
  const logSpans = spans.map(({ part: { index }, from, end }) => {
    return { topic: index.topic, partition: index.partition, from: from.offset, end }
  })
  await readSpans(
    fetcher,
    logSpans,
    (record, at) => {
      const reading = open.get(nameOf(at))!
      const { part, max } = reading
      const { stream } = part
      const valid = validated(part, record, max)
      if (!valid.ok) return
      const { event, time } = valid
      reading.max = Math.max(max, time)
      take({
        time,
        stream: stream.index,
        partition: at.partition,
        offset: record.offset,
        id: event[stream.idField] as string,
        event,
        input: 0,
        at: record.offset,
        source: 0,
        appendedAtMs: record.appendedAtMs,
        arrival: arrivalOf(raw, part, { time, max, appendedAtMs: record.appendedAtMs }),
      })
    },
    { isLossy: true },
  )
}

function arrivalOf(
  raw: readonly RawPartition[],
  { stream, index }: RawPartition,
  { time, max, appendedAtMs }: { readonly time: number; readonly max: number; readonly appendedAtMs: number },
): Arrival {
  if (time < max - stream.disorderMs) return 'late'
  const isBehind = raw.some(
    (other) =>
      other.index.partition === index.partition &&
      other.stream.entersAt === stream.entersAt &&
      other.stream !== stream &&
      maxAtAppend(other.index, appendedAtMs) > time,
  )
  return isBehind ? 'behind' : 'in_order'
}

function validated({ stream, index, partitions }: RawPartition, record: LogRecord, max: number) {
  return validateRecord(record, { stream, partition: index.partition, partitions }, max)
}

/** Codes with which the fold rejects an event that is valid. */
const foldCodes: ReadonlySet<RejectCode> = new Set([
  'function_threw',
  'not_finite',
  'entity_full',
  'late',
  'duplicate_conflict',
])

/** Index of the stage that rejected one of the events in its fold; null where none did. */
export async function readRejections(
  fetcher: Fetcher,
  plan: Plan,
  events: readonly RawEvent[],
  spans: readonly LogSpan[],
): Promise<(event: RawEvent) => number | null> {
  const isKept = new Set(events.map(placeOf))
  const found = new Map<string, number>()
  await readSpans(
    fetcher,
    spans,
    ({ value }) => {
      const { stage: name, topic, partition, offset, problems } = plan.rejected.codec.decode(value!)
      const stream = plan.streams.find((candidate) => candidate.topic === topic)
      const stage = plan.stages.find(({ entity }) => entity.name === name)
      if (!stream || !stage || !problems.some(({ code }) => foldCodes.has(code))) return
      const place = placeOf({ stream: stream.index, partition, offset })
      if (isKept.has(place)) found.set(place, Math.min(found.get(place) ?? stage.index, stage.index))
    },
    { isLossy: true },
  )
  return (event) => found.get(placeOf(event)) ?? null
}

function placeOf({ stream, partition, offset }: Pick<RawEvent, 'stream' | 'partition' | 'offset'>): string {
  return `${stream} ${partition} ${offset}`
}

function nameOf({ topic, partition }: TopicPartition): string {
  return `${topic} ${partition}`
}
