/**
 * One input of a task: where reading stands, what was fetched and not read yet, and what was read and waits to be taken. Plain state and
 * questions about it; the task is its only user.
 */
import { createHash } from 'node:crypto'
import { noRecords, type Records } from '../../runtime/records.ts'
import { type CanonicalPosition, compareCanonical } from '../../schemas/kernel/canonical-order.ts'
import type { StreamPlan } from '../../schemas/plan/plan.ts'
import type { InputPosition } from '../position.ts'
import { type FetchedEvents, isSameId, type Repeat, type StageEvent } from './stage-event.ts'

interface InputOptions {
  readonly topic: string
  readonly partition: number
  /** Null: the repartition topic. */
  readonly stream: StreamPlan | null
  /** First of the input's sources in the alignment. */
  readonly firstSource: number
}

/** The latest answer of a fetch, read up to some record. */
interface FetchedRecords extends FetchedEvents {
  /** How many of the records are to be read, and how many were. */
  readonly count: number
  read: number
  /** Offset to fetch next when all is read. */
  readonly next: number
  readonly stableEnd: number
  readonly end: number
  /** The fetch that asked for it: what was written since then it does not know. */
  readonly askedRound: number
}

/** The greatest position that a task of the stage before has sent, and its last offset; −1: it has sent nothing. */
export interface Sent {
  time: number
  order: number
  offset: number
}

export const nothingSent: Readonly<Sent> = { time: Number.NEGATIVE_INFINITY, order: -1, offset: -1 }

export interface ReadInput extends InputOptions {
  /** First offset that was not read. */
  nextOffset: number
  /** Greatest event time of valid events before `nextOffset`. */
  maxEventTime: number
  lag: number
  isAtEnd: boolean
  fetched: FetchedRecords
  /** Of a repartition topic, by source: what was sent with the records that are being read. */
  readonly sentBy: Array<Sent | undefined>
  /** Events that were read, in offset order: all that are not taken yet, and some that are; those before `from` are taken. */
  held: StageEvent[]
  from: number
  /** When the held events were last gone through (`held-events.ts`): how many waited, and their bytes; bytes fetched since then. */
  readonly swept: { events: number; bytes: number; bytesSince: number }
  /** Records with events that were dropped since too many were held (`overflow.ts`), in offset order. */
  dropped: DroppedRange[]
  /** What of a dropped range was not read again yet; null where none is being read. */
  refill: DroppedRange | null
  /** What dropped events that are repeated ones repeat, by their offsets. */
  readonly droppedRepeats: Map<number, Repeat>
  /** Where dropped events are, by what makes one repeat another: of at most `droppedNamesMax`, and `droppedOfNameMax` of each. */
  readonly droppedNames: Map<string, ReadonlyArray<DroppedEvent>>
}

interface DroppedEvent extends CanonicalPosition {
  readonly offset: number
  readonly content: string
}

const droppedNamesMax = 100_000
/** One id that is sent over and over must not cost more with each time. */
const droppedOfNameMax = 8

/** Records from an offset to another (exclusive) that hold dropped events. */
export interface DroppedRange {
  from: number
  to: number
  /** Greatest event time of valid events of the input before `from`. */
  maxEventTime: number
  /** The first of the dropped events in canonical order. */
  first: CanonicalPosition
}

/** Where an input is resumed: the first record that is not done. Null where everything that was read is. */
export interface Resume {
  readonly resumeOffset: number
  readonly maxEventTime: number
}

/** `partition`: of the task. */
export function fetchedEvents(
  records: Records,
  at: Pick<FetchedEvents, 'input' | 'partition' | 'round' | 'readAtMs'>,
): FetchedEvents {
  const { input, partition, round, readAtMs } = at
  const maxEventTimes = new Float64Array(records.length)
  return { records, input, partition, round, readAtMs, rows: [], carried: null, maxEventTimes }
}

export function createTaskInput(options: InputOptions, { resumeOffset, maxEventTime }: InputPosition): ReadInput {
  const fetched = {
    ...fetchedEvents(noRecords, { input: 0, partition: options.partition, round: 0, readAtMs: 0 }),
    count: 0,
    read: 0,
    next: resumeOffset,
    stableEnd: resumeOffset,
    end: resumeOffset,
    askedRound: 0,
  }
  const swept = { events: 0, bytes: 0, bytesSince: 0 }
  const nothing = { held: [], from: 0, swept, dropped: [], refill: null, droppedRepeats: new Map<number, Repeat>() }
  const droppedNames: ReadInput['droppedNames'] = new Map()
  return {
    ...options,
    nextOffset: resumeOffset,
    maxEventTime,
    lag: 0,
    isAtEnd: false,
    fetched,
    sentBy: [],
    ...nothing,
    droppedNames,
  }
}

export function hasUnread({ fetched }: ReadInput): boolean {
  return fetched.read < fetched.count
}

export function heldCount({ held, from }: ReadInput): number {
  return held.length - from
}

/** Taken events leave the front here, and the list in `held-events.ts`. */
export function oldestHeld(input: ReadInput): StageEvent | undefined {
  while (input.held[input.from]?.isTaken) input.from++
  return input.held[input.from]
}

export function resumeOf(input: ReadInput): Resume | null {
  const oldest = oldestHeld(input)
  let resume = oldest ? { resumeOffset: oldest.offset, maxEventTime: oldest.maxEventTimeBefore } : null
  for (const range of [input.refill, input.dropped[0]]) {
    if (!range || (resume && resume.resumeOffset <= range.from)) continue
    resume = { resumeOffset: range.from, maxEventTime: range.maxEventTime }
  }
  return resume
}

/**
 * The event of the same stream, id and entity that was read before, waits, and comes after it in order; null where there is none. One
 * that comes before it, or was folded, is found in the entity's log.
 */
export function repeatOf({ held, from, droppedNames }: ReadInput, event: StageEvent): Repeat | null {
  const dropped = droppedNames.size === 0 ? undefined : droppedNames.get(nameOf(event))
  const found = dropped?.find((other) => compareCanonical(other, event) > 0)
  if (found) return { time: found.time, order: found.order, isConflict: found.content !== contentOf(event) }
  for (let i = held.length - 1; i >= from; i--) {
    const other = held[i]!
    if (other.isTaken || compareCanonical(other, event) <= 0) continue
    if (other.stream !== event.stream || other.key !== event.key || !isSameId(other, event)) continue
    return { time: other.time, order: other.order, isConflict: contentOf(other) !== contentOf(event) }
  }
  return null
}

/** Short, as those of dropped events are kept. Fields without a value add nothing. */
function contentOf({ event, rows }: Pick<StageEvent, 'event' | 'rows'>): string {
  const fields = rows.layout.fields
    .map(({ name }) => [name, event[name] ?? null] as const)
    .filter(([, value]) => value !== null)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return createHash('sha256').update(JSON.stringify(fields)).digest('base64').slice(0, 22)
}

/** It is read again later, and until then it waits, for one that repeats it. */
export function noteDropped({ droppedNames }: ReadInput, event: StageEvent): void {
  const name = nameOf(event)
  const known = droppedNames.get(name) ?? []
  if (known.length >= droppedOfNameMax || (known.length === 0 && droppedNames.size >= droppedNamesMax)) return
  const { time, order, offset } = event
  droppedNames.set(name, [...known, { time, order, offset, content: contentOf(event) }])
}

export function noteReadAgain({ droppedNames }: ReadInput, event: StageEvent): void {
  const name = nameOf(event)
  const left = droppedNames.get(name)?.filter(({ offset }) => offset !== event.offset)
  if (left === undefined) return
  if (left.length === 0) droppedNames.delete(name)
  else droppedNames.set(name, left)
}

const nameOf = ({ stream, key, id }: StageEvent) => JSON.stringify([stream, key, id])
