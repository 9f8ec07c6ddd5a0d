/**
 * Sends the events of any source into Kafka, checked, encoded and paced; called by `millrace produce`, tests and benchmarks.
 *
 * One chunk is in flight at a time and is acknowledged before the next is sent, so events are out of source order, over all topics, by at
 * most one chunk. A source in event-time order keeps that order. A slow broker does not shift the schedule: events that become due while a
 * chunk is in flight are sent with the next one.
 *
 * Unpaced, the events of one instant go in one chunk. Else a pipeline that is quick might take the last in canonical order of those that it
 * has, be at the end of its inputs, and then find earlier ones of the same instant in another partition: they would be late.
 */
import type { OutRecord } from '../runtime/broker.ts'
import type { Clock } from '../runtime/clock.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { Problem } from '../schemas/kernel/event.ts'
import type { StreamPlan } from '../schemas/plan/plan.ts'
import { createSchedule, type Pace, type Schedule } from './pace.ts'
import { createPreparation, type PreparedEvent, type SentEvent, type SourceEvent } from './prepare.ts'
import { createProduceCounts, type ProduceCounts, type ProduceProgress, type ProduceSummary } from './produce-counts.ts'

/** Where chunks are sent: a producer of the broker, or a sink that also stores the position (`positions.ts`). */
export interface Sink {
  /**
   * Resolves when all records are written. `rows`: rows of each source completed by then, counted from its first, rejected ones included.
   * `records` is empty where all rows of a chunk were rejected.
   */
  send(records: readonly OutRecord[], rows: readonly number[]): Promise<void>
}

export interface ProduceOptions {
  readonly streams: readonly StreamPlan[]
  readonly sink: Sink
  /** Rows at the beginning of each source that an earlier run completed: they are skipped. One source that begins, by default. */
  readonly rowsDone?: readonly number[]
  readonly partitionsOf: (topic: string) => number
  readonly pace: Pace
  readonly clock: Clock
  /** Stops between two chunks; the chunk in flight is still awaited. */
  readonly signal: AbortSignal
  readonly chunkEventsMax?: number
  /** The source may deliver nothing for long, as standard input does: what it has delivered is sent at once. True unless given. */
  readonly mayPause?: boolean
  /** Called once, with the first instant whose events are too many for one chunk, ms since 1970. */
  readonly onInstantSplit?: (timeMs: number) => void
  /**
   * Called for each event just before it is passed to the sink. `scheduledMs`, since 1970: when it was due by the pace; without a
   * pace, when it is sent.
   */
  readonly onSent?: (event: SentEvent, scheduledMs: number) => void
  /** A row that is no valid event; it is counted and not sent. `position`: its number among the rows of its source as they come, from 1. */
  readonly onRejected?: (problems: readonly Problem[], row: SourceEvent, position: number) => void
  /** At most once a second. */
  readonly onProgress?: (progress: ProduceProgress) => void
}

const chunkEventsMaxDefault = 2_000
const chunkBytesMax = 4 * 1_024 * 1_024
/** For the events of one instant. */
const instantRowsMax = 100_000
const instantBytesMax = 16 * 1_024 * 1_024
/** Longest single sleep, so that a stop is noticed and progress is reported. */
const sleepMaxMs = 200

interface Chunk {
  readonly records: OutRecord[]
  readonly events: SentEvent[]
  readonly dueMs: number[]
  bytes: number
  /** Event time of the last event. */
  lastMs: number | null
  /** Of all sources, rejected ones included. */
  rows: number
  /** By source. */
  readonly rowsOf: number[]
}

const emptyChunk = (sources: number): Chunk => ({
  records: [],
  events: [],
  dueMs: [],
  bytes: 0,
  lastMs: null,
  rows: 0,
  rowsOf: new Array<number>(sources).fill(0),
})

/** What one call of `produce` keeps. */
interface ProduceRun {
  readonly options: ProduceOptions
  readonly prepare: ReturnType<typeof createPreparation>
  readonly schedule: Schedule
  readonly counts: ProduceCounts
  /** Chunks end between two instants. */
  readonly keepsInstants: boolean
  isInstantSplit: boolean
  /** Start of the schedule, on the monotonic clock and on the wall clock: the first event, since a source may take long to deliver it. */
  startedMs: number
  startedAtMs: number
  chunk: Chunk
  /** Resolves with the failure of the chunk in flight, null where it was acknowledged. Null: no chunk is in flight. */
  inFlight: Promise<{ readonly cause: unknown } | null> | null
  eventsScheduled: number
  /** By source. */
  readonly rowsDone: readonly number[]
  readonly rowsRead: number[]
  /** Rows passed to the sink, those of an earlier run included. */
  rowsSent: readonly number[]
}

/** Rejects with the failure of the sink or the source; what was acknowledged before stays sent. */
export async function produce(
  source: Iterable<readonly SourceEvent[]> | AsyncIterable<readonly SourceEvent[]>,
  options: ProduceOptions,
): Promise<ProduceSummary> {
  const { streams, rowsDone = [0], clock, signal, mayPause = true } = options
  const run: ProduceRun = {
    options,
    prepare: createPreparation(streams, options.partitionsOf),
    schedule: createSchedule(options.pace),
    counts: createProduceCounts(streams, options.onProgress),
    keepsInstants: options.pace.kind === 'flat out' && !mayPause,
    isInstantSplit: false,
    startedMs: clock.elapsedMs(),
    startedAtMs: clock.nowMs(),
    chunk: emptyChunk(rowsDone.length),
    inFlight: null,
    eventsScheduled: 0,
    rowsDone,
    rowsRead: rowsDone.map(() => 0),
    rowsSent: rowsDone,
  }
  try {
    for await (const rows of source) {
      await addRows(run, rows)
      if (signal.aborted) break
      // The source may deliver nothing more for a long time, so the rows read so far are sent now.
      if (!run.keepsInstants) await sendRest(run)
      run.counts.report(sinceStartMs(run))
    }
    if (!signal.aborted) await sendRest(run)
    if (run.inFlight) await acknowledged(run)
    if (!signal.aborted) requireAllDone(run)
  } finally {
    // The caller may close the producer after a failure of the source: nothing must be in flight then.
    await run.inFlight
  }
  return {
    ...run.counts.summary(sinceStartMs(run)),
    skipped: sumOf(run.rowsRead.map((rows, source) => Math.min(rows, rowsDone[source]!))),
  }
}

function sinceStartMs({ options, startedMs }: ProduceRun): number {
  return options.clock.elapsedMs() - startedMs
}

/** Adds each row to the chunk when it is due, and sends chunks meanwhile. Returns early after a stop. */
async function addRows(run: ProduceRun, rows: readonly SourceEvent[]): Promise<void> {
  const { clock, signal, onRejected } = run.options
  for (const row of rows) {
    const { source = 0 } = row
    const position = ++run.rowsRead[source]!
    if (position <= run.rowsDone[source]!) continue
    const prepared = run.prepare(row)
    if (prepared.kind !== 'event') {
      await untilDue(run, Number.NEGATIVE_INFINITY, null)
      if (signal.aborted) return
      if (prepared.kind === 'left out') run.counts.leftOut()
      else {
        run.counts.rejected(prepared.problems)
        onRejected?.(prepared.problems, row, position)
      }
      addRow(run.chunk, source)
      continue
    }
    if (run.eventsScheduled === 0) {
      run.startedMs = clock.elapsedMs()
      run.startedAtMs = clock.nowMs()
    }
    const { timeMs } = prepared.event.sent
    const dueMs = run.schedule(run.eventsScheduled++, timeMs)
    await untilDue(run, dueMs, timeMs)
    if (signal.aborted) return
    addEvent(run.chunk, prepared.event, dueMs)
    addRow(run.chunk, source)
  }
}

function addEvent(chunk: Chunk, { sent, record }: PreparedEvent, dueMs: number): void {
  const encoded = record()
  chunk.records.push(encoded)
  chunk.events.push(sent)
  chunk.dueMs.push(dueMs)
  chunk.lastMs = sent.timeMs
  chunk.bytes += encoded.value.length + (encoded.key?.length ?? 0)
}

function addRow(chunk: Chunk, source: number): void {
  chunk.rows++
  chunk.rowsOf[source]!++
}

/**
 * Resolves when the event is due and the chunk has room for it, or after a stop. Sends the chunk meanwhile. `timeMs`: the event's; null for a
 * row that is none.
 */
async function untilDue(run: ProduceRun, dueMs: number, timeMs: number | null): Promise<void> {
  const { clock, signal } = run.options
  while (!signal.aborted) {
    if (!isFull(run, timeMs) && dueMs <= sinceStartMs(run)) return
    if (run.inFlight) await acknowledged(run)
    else if (run.chunk.rows > 0) sendChunk(run)
    else await clock.sleep(Math.min(sleepMaxMs, dueMs - sinceStartMs(run)))
    run.counts.report(sinceStartMs(run))
  }
}

function isFull(run: ProduceRun, timeMs: number | null): boolean {
  const { chunk, keepsInstants } = run
  const { chunkEventsMax = chunkEventsMaxDefault, onInstantSplit } = run.options
  if (chunk.rows < chunkEventsMax && chunk.bytes < chunkBytesMax) return false
  const isWithinInstant = keepsInstants && chunk.lastMs !== null && (timeMs === null || timeMs === chunk.lastMs)
  if (!isWithinInstant) return true
  if (chunk.rows < instantRowsMax && chunk.bytes < instantBytesMax) return false
  if (timeMs !== null && !run.isInstantSplit) {
    run.isInstantSplit = true
    onInstantSplit?.(timeMs)
  }
  return true
}

async function sendRest(run: ProduceRun): Promise<void> {
  if (run.chunk.rows === 0) return
  if (run.inFlight) await acknowledged(run)
  sendChunk(run)
}

/** A failure becomes the value of `inFlight`, so that it is never an unhandled rejection. */
function sendChunk(run: ProduceRun): void {
  const { records, events, dueMs, rowsOf } = run.chunk
  const { sink, onSent } = run.options
  run.chunk = emptyChunk(rowsOf.length)
  run.rowsSent = run.rowsSent.map((rows, source) => rows + rowsOf[source]!)
  const sentAtMs = run.startedAtMs + sinceStartMs(run)
  if (onSent) {
    events.forEach((event, i) => {
      onSent(event, dueMs[i]! >= 0 ? run.startedAtMs + dueMs[i]! : sentAtMs)
    })
  }
  run.inFlight = sink.send(records, run.rowsSent).then(
    () => {
      run.counts.acknowledged(events)
      return null
    },
    (cause: unknown) => ({ cause }),
  )
}

async function acknowledged(run: ProduceRun): Promise<void> {
  const failure = await run.inFlight
  run.inFlight = null
  if (failure) throw failure.cause
}

function requireAllDone({ rowsRead, rowsDone }: ProduceRun): void {
  const short = rowsRead.findIndex((rows, source) => rows < rowsDone[source]!)
  if (short === -1) return
  throw new PipelineError(
    'source_changed',
    `The source has ${rowsRead[short]} rows, but an earlier run completed ${rowsDone[short]}: it is not the same source.`,
  )
}

function sumOf(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0)
}
