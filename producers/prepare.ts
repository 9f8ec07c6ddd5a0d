/**
 * An event of a source in, a record for Kafka or a list of problems out; called by `produce` and by the HTTP intake for every event, and,
 * without the record, by everything that reads a source and sends nothing.
 */
import type { OutRecord } from '../runtime/broker.ts'
import { partitionOf } from '../runtime/partition.ts'
import type { EventValues, Problem } from '../schemas/kernel/event.ts'
import { showValue } from '../schemas/kernel/show-value.ts'
import type { StreamPlan } from '../schemas/plan/plan.ts'

interface RowOrigin {
  /** Index of the source, where several are read together. */
  readonly source?: number
  /** Number of the row in its file, from 1, where the rows come in another order. */
  readonly row?: number
}

/**
 * A row of a source: an event that is not checked yet; the problems of an invalid row; or a row that a mapping leaves out. `location`
 * says where it was read, for messages. `isText`: texts among its values are to be parsed as their fields declare. `text`: the text of
 * an invalid row, where it can be shown.
 */
export type SourceEvent = RowOrigin &
  (
    | { readonly stream: string; readonly values: unknown; readonly location?: string; readonly isText?: boolean }
    | {
        readonly problems: readonly Problem[]
        readonly location: string
        readonly text?: string
        /** Where only some of its cells cannot be read. */
        readonly cells?: { readonly stream: string; readonly values: Readonly<Record<string, unknown>> }
      }
    | { readonly leftOut: true; readonly location: string }
  )

/** An event as in Kafka: the bytes of a JSON object or of an Avro single object. */
export interface ReceivedEvent {
  readonly stream: string
  readonly bytes: Buffer
}

export interface SentEvent {
  readonly stream: string
  /** Of the id field. */
  readonly id: string
  /** Ms since 1970, of the time field. */
  readonly timeMs: number
  readonly values: EventValues
}

export interface PreparedEvent {
  readonly sent: SentEvent
  /** Encodes; called when the event is due. */
  readonly record: () => OutRecord & { readonly value: Buffer }
}

export type CheckedRow =
  | { readonly kind: 'event'; readonly stream: StreamPlan; readonly timeMs: number; readonly values: EventValues }
  | { readonly kind: 'rejected'; readonly problems: readonly Problem[] }
  | { readonly kind: 'left out' }

export type RowCheck = (event: SourceEvent | ReceivedEvent) => CheckedRow

export function createRowCheck(streams: readonly StreamPlan[]): RowCheck {
  const byName = new Map(streams.map((stream) => [stream.name, stream]))
  const names = [...byName.keys()].join(', ')

  function streamNamed(name: string): StreamPlan | Problem {
    return byName.get(name) ?? { path: '/stream', code: 'type', expected: `one of ${names}`, received: showValue(name) }
  }

  return (event) => {
    if ('leftOut' in event) return { kind: 'left out' }
    if ('problems' in event) return { kind: 'rejected', problems: allProblems(event, byName) }
    const stream = streamNamed(event.stream)
    if ('code' in stream) return { kind: 'rejected', problems: [stream] }
    const checked =
      'bytes' in event
        ? stream.codec.decode(event.bytes)
        : stream.codec.check(event.values, { fromText: event.isText ?? false })
    if (!checked.ok) return { kind: 'rejected', problems: checked.problems }
    // Id, key and time are required fields of these types in every stream, and the codec has checked them.
    return {
      kind: 'event',
      stream,
      timeMs: checked.event[stream.timeField] as number,
      values: checked.event,
    }
  }
}

/** Of a row with cells that cannot be read, the problems of its other cells as well. */
function allProblems(
  event: Extract<SourceEvent, { readonly problems: readonly Problem[] }>,
  streams: ReadonlyMap<string, StreamPlan>,
): readonly Problem[] {
  const { problems, cells } = event
  const stream = cells && streams.get(cells.stream)
  if (cells === undefined || stream === undefined) return problems
  const checked = stream.codec.check(cells.values, { fromText: true })
  if (checked.ok) return problems
  const named = new Set(problems.map(({ path }) => path))
  return [...problems, ...checked.problems.filter(({ path }) => !named.has(path))]
}

export type Prepared =
  | { readonly kind: 'event'; readonly event: PreparedEvent }
  | Exclude<CheckedRow, { readonly kind: 'event' }>

/** `partitionsOf`: partition count of a raw topic. */
export function createPreparation(
  streams: readonly StreamPlan[],
  partitionsOf: (topic: string) => number,
): (event: SourceEvent | ReceivedEvent) => Prepared {
  const check = createRowCheck(streams)
  const partitions = new Map(streams.map(({ topic }) => [topic, partitionsOf(topic)] as const))
  return (source) => {
    const checked = check(source)
    if (checked.kind !== 'event') return checked
    const { stream, values, timeMs } = checked
    const sent: SentEvent = { stream: stream.name, id: values[stream.idField] as string, timeMs, values }
    const record = () => {
      const key = Buffer.from(values[stream.keyField] as string)
      const partition = partitionOf(key, partitions.get(stream.topic)!)
      return { topic: stream.topic, partition, key, value: stream.codec.encode(values) }
    }
    return { kind: 'event', event: { sent, record } }
  }
}
