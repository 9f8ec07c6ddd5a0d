/**
 * What flows through a stage: a validated event with its place in canonical order and in the task's inputs. There is one such object an
 * event, and thousands are held, so it has only what differs from event to event; the rest is read from the answer that brought it.
 */
import type { LogRecord } from '../../runtime/broker.ts'
import type { Records } from '../../runtime/records.ts'
import { type CanonicalPosition, orderOf } from '../../schemas/kernel/canonical-order.ts'
import type { EventValues } from '../../schemas/kernel/event.ts'
import type { StreamPlan } from '../../schemas/plan/plan.ts'
import { attemptHeader, rejectedByHeader } from '../../schemas/wire/dead-letter.ts'
import { type EventRows, isSameText, textAt } from '../../schemas/wire/event-rows.ts'
import type { StagePosition } from '../../schemas/wire/records.ts'
import type { CarriedRows } from '../../schemas/wire/repartition-reader.ts'
import type { Aligned } from '../watermarks/alignment.ts'

/** An answer of a fetch for one input of a task, with room for the events in it: record and event have the same number. */
export interface FetchedEvents {
  readonly records: Records
  readonly input: number
  readonly partition: number
  readonly round: number
  readonly readAtMs: number
  /** By stream; made when the first event of the stream is read. */
  readonly rows: EventRows[]
  /** What came with the events from the stage before; null for the answer of a raw topic. */
  carried: CarriedRows | null
  /** Greatest event time of the input before each record. */
  readonly maxEventTimes: Float64Array
}

export interface StageEvent extends Aligned {
  readonly stream: number
  readonly id: string
  /** Where it lies among the texts of the rows. */
  readonly idAt: number
  /** Key of the stage's entity; null where the stream has none. */
  readonly key: string | null
  readonly event: EventValues
  /** Where its values lie. */
  readonly rows: EventRows
  readonly row: number
  /** Where the raw event lies. */
  readonly originPartition: number
  readonly originOffset: number
  /** Slots of earlier stages begin at `slotsFrom`; with the positions that they were read at, for the scored stream. */
  readonly slots: ArrayLike<number>
  readonly slotsFrom: number
  readonly slotCount: number
  /** See `RepartitionEvent`: with any of these it is folded again, but not published. */
  readonly unsent: readonly string[]
  readonly positions: readonly StagePosition[]
  /** Where the record lies in the task's inputs. */
  readonly input: number
  readonly offset: number
  /** Greatest event time of that input before the record. */
  readonly maxEventTimeBefore: number
  /** What it was read from: the raw event, or the repartition record that carries it. */
  readonly fetched: FetchedEvents
  /** Stage that had rejected the event, if it was requeued to the raw topic; null for all others. */
  readonly rejectedBy: string | null
  /** One of the same stream and id came before it in the same input and was still held: this one is a duplicate of it. */
  repeats: Repeat | null
  /** Set when it was taken into a batch: its offset holds nothing back from then on. */
  isTaken: boolean
  /** Set with `isTaken`: later ones had been released before it arrived. */
  isLate: boolean
}

/** An event that was read before one of its id, and comes after it in order. */
export interface Repeat extends CanonicalPosition {
  /** It has other values. */
  readonly isConflict: boolean
}

const nothing: readonly never[] = []

/** A class, for its getters: what they give is asked of few events, or once. */
class HeldEvent implements StageEvent {
  readonly time: number
  readonly order: number
  readonly source: number
  readonly stream: number
  readonly key: string | null
  readonly rows: EventRows
  readonly row: number
  readonly fetched: FetchedEvents
  readonly rejectedBy: string | null
  repeats: Repeat | null
  isTaken: boolean
  isLate: boolean
  readonly idAt: number

  constructor({ index, columns }: StreamPlan, fetched: FetchedEvents, row: number, source: number, key: string | null) {
    const rows = fetched.rows[index]!
    const { carried } = fetched
    const { headers, offsets } = fetched.records
    this.time = rows.numbers[row * rows.layout.numberCount + columns.time]!
    this.order = orderOf(
      index,
      carried === null ? fetched.partition : carried.originPartitions[row]!,
      carried === null ? offsets[row]! : carried.originOffsets[row]!,
    )
    this.source = source
    this.stream = index
    this.key = key
    this.rows = rows
    this.row = row
    this.fetched = fetched
    this.rejectedBy = headers.size === 0 ? null : (headers.get(row)?.[rejectedByHeader]?.toString() ?? null)
    this.repeats = null
    this.isTaken = false
    this.isLate = false
    this.idAt = row * rows.layout.textCount + columns.id
  }

  get id(): string {
    return textAt(this.rows, this.idAt)!
  }
  get event(): EventValues {
    return this.rows.layout.view(this.rows, this.row)
  }
  get originPartition(): number {
    const { carried, partition } = this.fetched
    return carried === null ? partition : carried.originPartitions[this.row]!
  }
  get originOffset(): number {
    const { carried, records } = this.fetched
    return carried === null ? records.offsets[this.row]! : carried.originOffsets[this.row]!
  }
  get slots(): ArrayLike<number> {
    return this.fetched.carried?.slots ?? nothing
  }
  get slotsFrom(): number {
    return this.row * (this.fetched.carried?.slotsMax ?? 0)
  }
  get slotCount(): number {
    return this.fetched.carried?.slotCounts[this.row] ?? 0
  }
  get unsent(): readonly string[] {
    return this.fetched.carried?.unsent.get(this.row) ?? nothing
  }
  get positions(): readonly StagePosition[] {
    return this.fetched.carried?.positions[this.row] ?? nothing
  }
  get input(): number {
    return this.fetched.input
  }
  get round(): number {
    return this.fetched.round
  }
  get readAtMs(): number {
    return this.fetched.readAtMs
  }
  get offset(): number {
    return this.fetched.records.offsets[this.row]!
  }
  get maxEventTimeBefore(): number {
    return this.fetched.maxEventTimes[this.row]!
  }
}

/** Of the event in row `row` of `fetched.rows`. */
export function stageEventOf(
  stream: StreamPlan,
  fetched: FetchedEvents,
  row: number,
  source: number,
  key: string | null,
): StageEvent {
  return new HeldEvent(stream, fetched, row, source, key)
}

/** The event lies in row `row` of another answer from here on, where all of it is the same. */
export function moveTo(event: StageEvent, fetched: FetchedEvents, row: number): void {
  const { rows, idAt, stream } = event
  const moved: { -readonly [Name in keyof StageEvent]: StageEvent[Name] } = event
  moved.idAt = idAt + (row - event.row) * rows.layout.textCount
  moved.fetched = fetched
  moved.rows = fetched.rows[stream]!
  moved.row = row
}

/** As the event, but for some of its properties. */
export function changedEvent(event: StageEvent, changes: Partial<StageEvent>): StageEvent {
  const changed = Object.assign(Object.create(Object.getPrototypeOf(event)), event)
  for (const [name, value] of Object.entries(changes)) Object.defineProperty(changed, name, { value, writable: true })
  return changed
}

/** Of two events of one stream. It is asked of many held events, so no text is made. */
export function isSameId(event: StageEvent, other: StageEvent): boolean {
  return isSameText(event.rows, event.idAt, other.rows, other.idAt)
}

export function recordOf({ fetched, row }: StageEvent): LogRecord {
  return fetched.records.at(row)
}

/** Headers that the repartition record of a requeued event carries on; null for all others. */
export function replayHeadersOf(event: StageEvent): Record<string, Buffer> | null {
  if (event.rejectedBy === null) return null
  const { [rejectedByHeader]: by, [attemptHeader]: attempt } = recordOf(event).headers
  return { ...(by ? { [rejectedByHeader]: by } : {}), ...(attempt ? { [attemptHeader]: attempt } : {}) }
}
