/** What flows through a stage: a validated event with its place in canonical order and in the task's inputs. */
import type { LogRecord } from '../../runtime/broker.ts'
import { orderOf } from '../../schemas/kernel/canonical-order.ts'
import type { EventValues } from '../../schemas/kernel/event.ts'
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'
import { attemptHeader, rejectedByHeader } from '../../schemas/wire/dead-letter.ts'
import type { RepartitionEvent, StagePosition } from '../../schemas/wire/records.ts'
import type { Aligned } from '../watermarks/alignment.ts'

export interface StageEvent extends Aligned {
  readonly stream: number
  readonly id: string
  /** Key of the stage's entity; null where the stream has none. */
  readonly key: string | null
  readonly event: EventValues
  /** Where the raw event lies. */
  readonly origin: { readonly partition: number; readonly offset: number }
  /** Slots of earlier stages with the positions that they were read at, for the scored stream. */
  readonly slots: readonly number[]
  /** See `RepartitionEvent`: with any of these it is folded again, but not published. */
  readonly unsent: readonly string[]
  readonly positions: readonly StagePosition[]
  /** Where the record lies in the task's inputs. */
  readonly input: number
  readonly offset: number
  /** Greatest event time of that input before the record. */
  readonly maxEventTimeBefore: number
  /** The record as it was read: the raw event, or the repartition record that carries it. */
  readonly record: LogRecord
  /** Stage that had rejected the event, if it was requeued to the raw topic; null for all others. */
  readonly rejectedBy: string | null
  /** One of the same stream and id came before it in the same input and was still held: this one is a duplicate. */
  isRepeat: boolean
  /** Set when it was taken into a batch: its offset holds nothing back from then on. */
  isTaken: boolean
  /** Set with `isTaken`: later ones had been released before it arrived. */
  isLate: boolean
}

/** Where and when a record was read. */
export interface ReadAt {
  readonly source: number
  readonly round: number
  readonly readAtMs: number
  readonly input: number
  readonly maxEventTimeBefore: number
  readonly record: LogRecord
}

/** An event as a repartition record carries it, or as a raw record would. */
export type Carried = Pick<RepartitionEvent, 'stream' | 'origin' | 'event' | 'slots' | 'unsent' | 'positions'>

export function stageEventOf(plan: Plan, stage: StagePlan, carried: Carried, readAt: ReadAt): StageEvent {
  const stream = plan.streams[carried.stream]!
  const { event, origin } = carried
  const keyField = stage.entity.keyFields.get(carried.stream)
  return {
    time: event[stream.timeField] as number,
    order: orderOf(carried.stream, origin.partition, origin.offset),
    source: readAt.source,
    round: readAt.round,
    readAtMs: readAt.readAtMs,
    stream: carried.stream,
    id: event[stream.idField] as string,
    key: keyField === undefined ? null : (event[keyField] as string),
    event,
    origin,
    slots: carried.slots,
    unsent: carried.unsent,
    positions: carried.positions,
    input: readAt.input,
    offset: readAt.record.offset,
    maxEventTimeBefore: readAt.maxEventTimeBefore,
    record: readAt.record,
    rejectedBy: readAt.record.headers[rejectedByHeader]?.toString() ?? null,
    isRepeat: false,
    isTaken: false,
    isLate: false,
  }
}

/** Headers that the repartition record of a requeued event carries on; null for all others. */
export function replayHeadersOf({ rejectedBy, record }: StageEvent): Record<string, Buffer> | null {
  if (rejectedBy === null) return null
  const { [rejectedByHeader]: by, [attemptHeader]: attempt } = record.headers
  return { ...(by ? { [rejectedByHeader]: by } : {}), ...(attempt ? { [attemptHeader]: attempt } : {}) }
}
