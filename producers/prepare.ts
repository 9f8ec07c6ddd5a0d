/** An event of a source in, a record for Kafka or a list of problems out; called by `produce` and by the HTTP intake for every event. */
import type { OutRecord } from '../runtime/broker.ts'
import { partitionOf } from '../runtime/partition.ts'
import type { EventValues, Problem } from '../schemas/kernel/event.ts'
import type { StreamPlan } from '../schemas/plan/plan.ts'

/**
 * A row of a source: an event that is not checked yet, or the problems of an invalid row. `location` says where it was read, for
 * messages. `isText`: texts among its values are to be parsed as their fields declare. `text`: the text of an invalid row, where it can
 * be shown.
 */
export type SourceEvent =
  | { readonly stream: string; readonly values: unknown; readonly location?: string; readonly isText?: boolean }
  | { readonly problems: readonly Problem[]; readonly location: string; readonly text?: string }

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

export type Prepared =
  | { readonly ok: true; readonly event: PreparedEvent }
  | { readonly ok: false; readonly problems: readonly Problem[] }

/** `partitionsOf`: partition count of a raw topic. */
export function createPreparation(
  streams: readonly StreamPlan[],
  partitionsOf: (topic: string) => number,
): (event: SourceEvent | ReceivedEvent) => Prepared {
  const byName = new Map(
    streams.map((stream) => [stream.name, { stream, partitions: partitionsOf(stream.topic) }] as const),
  )
  const names = [...byName.keys()].join(', ')

  return (source) => {
    if ('problems' in source) return { ok: false, problems: source.problems }
    const target = byName.get(source.stream)
    if (target === undefined) {
      const problem: Problem = { path: '/stream', code: 'type', expected: `one of ${names}`, received: source.stream }
      return { ok: false, problems: [problem] }
    }
    const { stream, partitions } = target
    const checked =
      'bytes' in source
        ? stream.codec.decode(source.bytes)
        : stream.codec.check(source.values, { fromText: source.isText ?? false })
    if (!checked.ok) return checked
    const { event: values } = checked
    // Id, key and time are required fields of these types in every stream, and the codec has checked them.
    const sent: SentEvent = {
      stream: stream.name,
      id: values[stream.idField] as string,
      timeMs: values[stream.timeField] as number,
      values,
    }
    const record = () => {
      const key = Buffer.from(values[stream.keyField] as string)
      return { topic: stream.topic, partition: partitionOf(key, partitions), key, value: stream.codec.encode(values) }
    }
    return { ok: true, event: { sent, record } }
  }
}
