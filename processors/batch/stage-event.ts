/** What flows through a stage: a validated event with its place in canonical order and in the task's inputs. */
import type { LogRecord } from '../../runtime/broker.ts'
import type { Records } from '../../runtime/records.ts'
import { orderOf } from '../../schemas/kernel/canonical-order.ts'
import type { EventValues } from '../../schemas/kernel/event.ts'
import type { StreamPlan } from '../../schemas/plan/plan.ts'
import { attemptHeader, rejectedByHeader } from '../../schemas/wire/dead-letter.ts'
import type { EventRows } from '../../schemas/wire/event-rows.ts'
import type { StagePosition } from '../../schemas/wire/records.ts'
import type { CarriedEvent } from '../../schemas/wire/repartition-reader.ts'
import type { Aligned } from '../watermarks/alignment.ts'

export interface StageEvent extends Aligned {
  readonly stream: number
  readonly id: string
  /** Key of the stage's entity; null where the stream has none. */
  readonly key: string | null
  readonly event: EventValues
  /** Where its values lie. */
  readonly rows: EventRows
  readonly row: number
  /** Where the raw event lies. */
  readonly originPartition: number
  readonly originOffset: number
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
  /** The record as it was read, the raw event or the repartition record that carries it: the one of this number. */
  readonly records: Records
  readonly recordIndex: number
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
  readonly records: Records
  readonly recordIndex: number
}

const nothing: readonly never[] = []

/** `carried`: what came with it; null for the event of a raw record, which comes from partition `partition`. */
export function stageEventOf(
  stream: StreamPlan,
  rows: EventRows,
  row: number,
  key: string | null,
  carried: CarriedEvent | null,
  unsent: readonly string[],
  partition: number,
  readAt: ReadAt,
): StageEvent {
  const { records, recordIndex } = readAt
  const offset = records.offsets[recordIndex]!
  const event = rows.layout.view(rows, row)
  const originPartition = carried ? carried.originPartition : partition
  const originOffset = carried ? carried.originOffset : offset
  return {
    time: event[stream.timeField] as number,
    order: orderOf(stream.index, originPartition, originOffset),
    source: readAt.source,
    round: readAt.round,
    readAtMs: readAt.readAtMs,
    stream: stream.index,
    id: event[stream.idField] as string,
    key,
    event,
    rows,
    row,
    originPartition,
    originOffset,
    slots: carried ? carried.slots : nothing,
    unsent,
    positions: carried ? carried.positions : nothing,
    input: readAt.input,
    offset,
    maxEventTimeBefore: readAt.maxEventTimeBefore,
    records,
    recordIndex,
    rejectedBy: records.headers.get(recordIndex)?.[rejectedByHeader]?.toString() ?? null,
    isRepeat: false,
    isTaken: false,
    isLate: false,
  }
}

export function recordOf({ records, recordIndex }: StageEvent): LogRecord {
  return records.at(recordIndex)
}

/** Headers that the repartition record of a requeued event carries on; null for all others. */
export function replayHeadersOf(event: StageEvent): Record<string, Buffer> | null {
  if (event.rejectedBy === null) return null
  const { [rejectedByHeader]: by, [attemptHeader]: attempt } = recordOf(event).headers
  return { ...(by ? { [rejectedByHeader]: by } : {}), ...(attempt ? { [attemptHeader]: attempt } : {}) }
}
