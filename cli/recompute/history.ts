/**
 * The raw topics of a pipeline in, their valid events in canonical order out, each with what was published for it. The order of arrival
 * does not matter: everything up to the ends of now is read once and sorted on the disk. Called by `recompute`.
 */
import { BLOB, blobValue, DOUBLE, type DuckDBBlobValue, VARCHAR } from '@duckdb/node-api'
import { validateRecord } from '../../processors/validate.ts'
import type { BrokerData, LogRecord, TopicPartition } from '../../runtime/broker.ts'
import { readSpans, wholeLog } from '../../runtime/read-log.ts'
import { orderOf, originOfOrder } from '../../schemas/kernel/canonical-order.ts'
import type { EventValues } from '../../schemas/kernel/event.ts'
import type { Plan, StreamPlan } from '../../schemas/plan/plan.ts'
import { rejectedByHeader } from '../../schemas/wire/dead-letter.ts'
import type { LeftOut } from '../left-out.ts'
import type { Spill, SpillTable } from './spill.ts'

export interface HistoryEvent {
  readonly stream: number
  readonly time: number
  readonly event: EventValues
  readonly origin: { readonly partition: number; readonly offset: number }
  readonly rejectedBy: string | null
  /** Null where nothing was published for it, or by another definition. */
  readonly published: Published | null
}

export interface Published {
  readonly features: Float64Array
  readonly score: number | null
  readonly modelVersion: string | null
}

export interface HistoryCounts {
  /** Valid events within the span, with those before it that its windows hold. */
  events: number
  /** Records that are no valid events, which a running pipeline rejects too. */
  invalid: number
  /** Predictions of this definition within the span. */
  published: number
  /** Predictions within the span that another definition has computed. */
  foreign: number
  /** Partitions whose first records were removed by retention, and whose rest begins after the first windows, with where it begins, ms. */
  readonly short: Map<string, number>
}

export interface HistoryOptions {
  readonly plan: Plan
  readonly broker: BrokerData
  readonly partitionsOf: (topic: string) => number
  readonly fromMs: number
  readonly untilMs: number
  readonly leftOut: LeftOut
  readonly signal: AbortSignal
}

/** How far before `fromMs` events are taken: the windows, and as much again to know ids that were sent twice. */
export function warmUpMs({ stages }: Pick<Plan, 'stages'>): number {
  return 2 * Math.max(...stages.map(({ entity }) => entity.retentionMs))
}

/** Reads everything up to the ends of now; the events are then read from `events`. Rejects with the signal's reason. */
export async function readHistory(options: HistoryOptions, spill: Spill): Promise<HistoryCounts> {
  const { plan, broker, signal } = options
  const counts: HistoryCounts = { events: 0, invalid: 0, published: 0, foreign: 0, short: new Map() }
  const raw = plan.streams.filter(({ entersAt }) => entersAt !== null)
  const [spans, predictions] = await Promise.all([
    wholeLog(broker, [...new Set(raw.map(({ topic }) => topic))]),
    wholeLog(broker, [plan.predictions.topic]),
  ])
  const events = await spill.table('events', {
    time: DOUBLE,
    place: DOUBLE,
    stream: DOUBLE,
    id: VARCHAR,
    value: BLOB,
    rejected_by: VARCHAR,
  })
  const published = await spill.table('published', {
    id: VARCHAR,
    time: DOUBLE,
    number: DOUBLE,
    features: BLOB,
    score: DOUBLE,
    model: VARCHAR,
  })
  const fetcher = await broker.fetcher()
  try {
    const takeRaw = rawReader(options, new Set(spans.filter(({ from }) => from > 0).map(nameOf)), events, counts)
    await readSpans(fetcher, spans, (record, from) => {
      signal.throwIfAborted()
      takeRaw(record, from)
    })
    await readSpans(fetcher, predictions, (record) => {
      signal.throwIfAborted()
      takePrediction(options, record, published, counts)
    })
  } finally {
    await fetcher.close()
  }
  events.finish()
  published.finish()
  return counts
}

const nameOf = ({ topic, partition }: TopicPartition) => `${topic}, partition ${partition}`

/** `truncated`: partitions that do not begin with their first record any more. */
function rawReader(
  { plan, partitionsOf, fromMs, untilMs, leftOut }: HistoryOptions,
  truncated: ReadonlySet<string>,
  events: SpillTable,
  counts: HistoryCounts,
): (record: LogRecord, from: TopicPartition) => void {
  const clocks = new Map<string, number>()
  const firstMs = fromMs - warmUpMs(plan)
  const windowsFromMs = fromMs - warmUpMs(plan) / 2
  return (record, at) => {
    const stream = plan.streams.find(({ topic }) => topic === at.topic)!
    const name = nameOf(at)
    const clock = clocks.get(name)
    const input = { stream, partition: at.partition, partitions: partitionsOf(at.topic) }
    const validated = validateRecord(record, input, clock ?? Number.NEGATIVE_INFINITY)
    if (!validated.ok) {
      counts.invalid++
      leftOut.add(stream.name, validated.problems[0]!, `${name}, offset ${record.offset}`)
      return
    }
    const { event, time } = validated
    if (clock === undefined && truncated.has(name) && time > windowsFromMs) counts.short.set(name, time)
    clocks.set(name, Math.max(clock ?? time, time))
    if (time < firstMs || time >= untilMs) return
    counts.events++
    const place = orderOf(stream.index, at.partition, record.offset)
    const rejectedBy = record.headers[rejectedByHeader]?.toString() ?? null
    events.add([time, place, stream.index, event[stream.idField] as string, blobValue(record.value!), rejectedBy])
  }
}

function takePrediction(
  { plan, fromMs, untilMs }: HistoryOptions,
  record: LogRecord,
  published: SpillTable,
  counts: HistoryCounts,
): void {
  const { id, time, features, score, modelVersion, fingerprint } = plan.predictions.codec.decode(record.value!)
  if (time < fromMs || time >= untilMs) return
  if (fingerprint !== plan.fingerprint) {
    counts.foreign++
    return
  }
  const number = counts.published++
  const vector = blobValue(new Uint8Array(Float64Array.from(features).buffer))
  published.add([id, time, number, vector, score, modelVersion])
}

/** Only equality of columns of both sides, or DuckDB compares every event with every prediction. */
export function inOrderWithPublished(scoredStream: number): string {
  return `
    SELECT e.time, e.place, e.stream, e.value, e.rejected_by, p.features, p.score, p.model
    FROM events e LEFT JOIN (
      SELECT ${scoredStream}::DOUBLE AS stream, id, time,
        arg_max(features, number) AS features, arg_max_null(score, number) AS score, arg_max_null(model, number) AS model
      FROM published GROUP BY id, time
    ) p ON p.stream = e.stream AND p.id = e.id AND p.time = e.time
    ORDER BY e.time, e.place`
}

/** In canonical order. */
export async function* eventsOf({ streams, scored }: Plan, spill: Spill): AsyncGenerator<HistoryEvent[], void, void> {
  const rows = spill.query(inOrderWithPublished(scored.index))
  for await (const chunk of rows) {
    yield chunk.map(([time, place, stream, value, rejectedBy, features, score, model]) => ({
      stream: Number(stream),
      time: Number(time),
      event: decoded(streams[Number(stream)]!, value as DuckDBBlobValue),
      origin: originOfOrder(Number(place)),
      rejectedBy: rejectedBy as string | null,
      published:
        features === null
          ? null
          : {
              features: numbersOf(features as DuckDBBlobValue),
              score: score as number | null,
              modelVersion: model as string | null,
            },
    }))
  }
}

/** It was valid when it was read. */
function decoded({ codec, name }: StreamPlan, value: DuckDBBlobValue): EventValues {
  const result = codec.decode(Buffer.from(value.bytes))
  if (!result.ok) throw new Error(`an event of ${name} that was valid is not any more`)
  return result.event
}

function numbersOf({ bytes }: DuckDBBlobValue): Float64Array {
  return new Float64Array(Uint8Array.from(bytes).buffer)
}
