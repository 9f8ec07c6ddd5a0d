/**
 * Events of any source into Kafka, checked, encoded and paced; called by `millrace produce`, tests and benchmarks.
 *
 * One chunk is in flight at a time and acknowledged before the next is sent, so what comes later in the source is never appended before
 * what comes earlier, over all topics, by more than one chunk. A source in event-time order keeps that order. A slow broker does not
 * shift the schedule: what became due while a chunk was in flight goes along with the next.
 */
import type { OutRecord } from '../runtime/broker.ts'
import type { Clock } from '../runtime/clock.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { Problem } from '../schemas/kernel/event.ts'
import type { StreamPlan } from '../schemas/plan/plan.ts'
import { createSchedule, type Pace } from './pace.ts'
import { createPreparation, type SentEvent, type SourceEvent } from './prepare.ts'

/** Where chunks go: a producer of the broker, or one that keeps the position with them (`positions.ts`). */
export interface Sink {
  /**
   * Resolves when all of it is written. `rows`: rows of the source that are done with then, refused ones among them, counted from its
   * first. There may be no record, where all of them were refused.
   */
  send(records: readonly OutRecord[], rows: number): Promise<void>
}

export interface ProduceOptions {
  readonly streams: readonly StreamPlan[]
  readonly sink: Sink
  /** Rows at the beginning of the source that a run before is done with: they are passed over. */
  readonly rowsDone?: number
  readonly partitionsOf: (topic: string) => number
  readonly pace: Pace
  readonly clock: Clock
  /** Stops between two chunks; what is in flight is still waited for. */
  readonly signal: AbortSignal
  readonly chunkEventsMax?: number
  /**
   * Called for each event just before it is handed to the producer. `scheduledMs`, since 1970, is when it was to be sent by the pace;
   * where the pace says at once it is when it was sent.
   */
  readonly onSent?: (event: SentEvent, scheduledMs: number) => void
  /** An event that is none; it is counted and not sent. `row`: its number in the source, from 1. */
  readonly onRejected?: (problems: readonly Problem[], source: SourceEvent, row: number) => void
  /** At most once a second. */
  readonly onProgress?: (progress: ProduceProgress) => void
}

export interface ProduceProgress {
  /** Acknowledged so far. */
  readonly events: number
  /** Since the progress before. */
  readonly eventsPerSecond: number
  /** Ms since 1970, of the event acknowledged last. */
  readonly timeMs: number | null
}

export interface ProduceSummary {
  readonly events: number
  readonly byStream: Readonly<Record<string, number>>
  readonly rejected: number
  /** By the code of an event's first problem. */
  readonly rejectedByCode: Readonly<Record<string, number>>
  /** Rows that a run before was done with. */
  readonly skipped: number
  readonly seconds: number
  readonly eventsPerSecond: number
  /** Smallest and greatest event time sent, ms since 1970; null when nothing was. */
  readonly firstTime: number | null
  readonly lastTime: number | null
}

const chunkEventsMaxDefault = 2_000
const chunkBytesMax = 4 * 1_024 * 1_024
/** A wait is cut into pieces of this length, so that a stop is noticed and progress shown. */
const sleepMaxMs = 200
const progressEveryMs = 1_000

interface Chunk {
  readonly records: OutRecord[]
  readonly events: SentEvent[]
  readonly dueMs: number[]
  bytes: number
  /** Rows that it stands for, refused ones among them. */
  rows: number
}

const emptyChunk = (): Chunk => ({ records: [], events: [], dueMs: [], bytes: 0, rows: 0 })

/** Rejects with what the producer or the source rejects with; what was acknowledged before stays sent. */
export async function produce(
  source: Iterable<readonly SourceEvent[]> | AsyncIterable<readonly SourceEvent[]>,
  options: ProduceOptions,
): Promise<ProduceSummary> {
  const { streams, sink, rowsDone = 0, pace, clock, signal, chunkEventsMax = chunkEventsMaxDefault } = options
  const prepare = createPreparation(streams, options.partitionsOf)
  const schedule = createSchedule(pace)
  /** Begins anew with the first event: a source may take its time to give it. */
  let startedMs = clock.elapsedMs()
  let startedAtMs = clock.nowMs()
  const sinceStartMs = () => clock.elapsedMs() - startedMs
  const counts = createCounts(streams, sinceStartMs, options.onProgress)
  let chunk = emptyChunk()
  let inFlight: Promise<unknown> | null = null
  let number = 0
  /** Rows that the source has given, and those of them that were handed to the sink. */
  let rowsGiven = 0
  let rowsHandedOver = rowsDone

  /** Failures are kept as values until somebody waits, so that none is ever left unheard. */
  function send(): void {
    const { records, events, dueMs, rows } = chunk
    chunk = emptyChunk()
    rowsHandedOver += rows
    const sentAtMs = startedAtMs + sinceStartMs()
    events.forEach((event, i) => {
      options.onSent?.(event, dueMs[i]! >= 0 ? startedAtMs + dueMs[i]! : sentAtMs)
    })
    inFlight = sink.send(records, rowsHandedOver).then(
      () => {
        counts.acknowledged(events)
        return null
      },
      (cause: unknown) => ({ cause }),
    )
  }

  async function acknowledged(): Promise<void> {
    const failure = (await inFlight) as { cause: unknown } | null
    inFlight = null
    if (failure) throw failure.cause
  }

  /** Comes back when there is room in the chunk for an event that is due then, or when it is time to stop. */
  async function untilDue(dueMs: number): Promise<void> {
    while (!signal.aborted) {
      const isFull = chunk.rows >= chunkEventsMax || chunk.bytes >= chunkBytesMax
      if (!isFull && dueMs <= sinceStartMs()) return
      if (inFlight) await acknowledged()
      else if (chunk.rows > 0) send()
      else await clock.sleep(Math.min(sleepMaxMs, dueMs - sinceStartMs()))
      counts.report()
    }
  }

  try {
    for await (const sourceChunk of source) {
      for (const event of sourceChunk) {
        if (rowsGiven++ < rowsDone) continue
        const prepared = prepare(event)
        if (!prepared.ok) {
          await untilDue(Number.NEGATIVE_INFINITY)
          if (signal.aborted) break
          counts.rejected(prepared.problems)
          options.onRejected?.(prepared.problems, event, rowsGiven)
          chunk.rows++
          continue
        }
        const { sent, record } = prepared.event
        if (number === 0) {
          startedMs = clock.elapsedMs()
          startedAtMs = clock.nowMs()
        }
        const dueMs = schedule(number++, sent.timeMs)
        await untilDue(dueMs)
        if (signal.aborted) break
        const encoded = record()
        chunk.records.push(encoded)
        chunk.events.push(sent)
        chunk.dueMs.push(dueMs)
        chunk.rows++
        chunk.bytes += encoded.value.length + (encoded.key?.length ?? 0)
      }
      if (signal.aborted) break
      // The source may have nothing more for a long time, so what it gave does not wait for it.
      if (inFlight && chunk.rows > 0) await acknowledged()
      if (chunk.rows > 0) send()
      counts.report()
    }
    if (inFlight) await acknowledged()
    if (!signal.aborted && rowsGiven < rowsDone) throw shorterThanBefore(rowsGiven, rowsDone)
  } finally {
    // Whoever closes the producer after a failure of the source must not find it at work.
    await inFlight
  }
  return { ...counts.summary(), skipped: Math.min(rowsGiven, rowsDone) }
}

function shorterThanBefore(rows: number, rowsDone: number): PipelineError {
  return new PipelineError(
    'source_changed',
    `The source has ${rows} rows, but ${rowsDone} of it were done with before: it is another one now.`,
  )
}

/** What was sent, refused and how fast; progress is reported from here. */
function createCounts(
  streams: readonly StreamPlan[],
  sinceStartMs: () => number,
  onProgress: ProduceOptions['onProgress'],
) {
  const byStream: Record<string, number> = Object.fromEntries(streams.map(({ name }) => [name, 0]))
  let events = 0
  const rejectedByCode: Record<string, number> = {}
  let timeMs: number | null = null
  let firstTime: number | null = null
  let lastTime: number | null = null
  let reported = { atMs: 0, events: 0 }

  function acknowledged(sent: readonly SentEvent[]): void {
    events += sent.length
    for (const { stream, timeMs } of sent) {
      byStream[stream]!++
      firstTime = firstTime === null ? timeMs : Math.min(firstTime, timeMs)
      lastTime = lastTime === null ? timeMs : Math.max(lastTime, timeMs)
    }
    timeMs = sent.at(-1)?.timeMs ?? timeMs
  }

  function report(): void {
    const atMs = sinceStartMs()
    if (!onProgress || atMs - reported.atMs < progressEveryMs) return
    const eventsPerSecond = ((events - reported.events) * 1_000) / (atMs - reported.atMs)
    reported = { atMs, events }
    onProgress({ events, eventsPerSecond, timeMs })
  }

  function rejected(problems: readonly Problem[]): void {
    const { code } = problems[0]!
    rejectedByCode[code] = (rejectedByCode[code] ?? 0) + 1
  }

  function summary(): Omit<ProduceSummary, 'skipped'> {
    const seconds = sinceStartMs() / 1_000
    const eventsPerSecond = seconds > 0 ? events / seconds : 0
    const rejected = Object.values(rejectedByCode).reduce((sum, count) => sum + count, 0)
    return { events, byStream, rejected, rejectedByCode, seconds, eventsPerSecond, firstTime, lastTime }
  }

  return { acknowledged, rejected, report, summary }
}
