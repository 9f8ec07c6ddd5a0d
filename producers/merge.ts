/**
 * The rows of several sources in, their rows in the order of event time out; called by whatever reads more than one file for a pipeline. Of
 * one instant the streams come in canonical order and the rows of a source as they are. What has been read and not passed on is one chunk a
 * source.
 */
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { RowCheck, SourceEvent } from './prepare.ts'

export type Rows = Iterable<readonly SourceEvent[]> | AsyncIterable<readonly SourceEvent[]>

/** Where a source stands. */
interface Cursor {
  readonly source: number
  readonly chunks: AsyncIterator<readonly SourceEvent[]> | Iterator<readonly SourceEvent[]>
  chunk: readonly SourceEvent[]
  at: number
  /**
   * Greatest event time so far, and the stream of the row that is next: its place. A row that is out of order, and one that is no event,
   * goes as early as the rows before it allow.
   */
  latestMs: number
  stream: number
}

const chunkRowsMax = 2_000

/** `check`: of the streams that the rows belong to. */
export async function* mergeRows(sources: readonly Rows[], check: RowCheck): AsyncGenerator<SourceEvent[], void, void> {
  const cursors = sources.map(cursorOf)
  try {
    const open: Cursor[] = []
    for (const cursor of cursors) if (await advance(cursor, check)) open.push(cursor)
    let merged: SourceEvent[] = []
    while (open.length > 0) {
      const next = open.reduce((first, other) => (isBefore(other, first) ? other : first))
      merged.push({ ...next.chunk[next.at]!, source: next.source })
      next.at++
      // What is read may be waited for: what is known to come before it is not held back.
      if (merged.length >= chunkRowsMax || next.at === next.chunk.length) {
        yield merged
        merged = []
      }
      if (!(await advance(next, check))) open.splice(open.indexOf(next), 1)
    }
  } finally {
    for (const { chunks } of cursors) await chunks.return?.()
  }
}

function cursorOf(rows: Rows, source: number): Cursor {
  const chunks = Symbol.asyncIterator in rows ? rows[Symbol.asyncIterator]() : rows[Symbol.iterator]()
  return { source, chunks, chunk: [], at: 0, latestMs: Number.NEGATIVE_INFINITY, stream: -1 }
}

/** Whether there is a row at the cursor. */
async function advance(cursor: Cursor, check: RowCheck): Promise<boolean> {
  while (cursor.at === cursor.chunk.length) {
    const { done, value } = await cursor.chunks.next()
    if (done) return false
    cursor.chunk = value
    cursor.at = 0
  }
  const row = check(cursor.chunk[cursor.at]!)
  if (row.kind === 'event') {
    cursor.latestMs = Math.max(cursor.latestMs, row.timeMs)
    cursor.stream = row.stream.index
  }
  return true
}

function isBefore(left: Cursor, right: Cursor): boolean {
  if (left.latestMs !== right.latestMs) return left.latestMs < right.latestMs
  return left.stream === right.stream ? left.source < right.source : left.stream < right.stream
}

/** Rows that may be held to put those of a declared disorder in order. */
const heldRowsMax = 1_000_000

/**
 * Rows that are out of order by at most `disorderMs` in, the same rows in order out, as a running pipeline would take them; called for
 * replays. Rows that are no events are passed on as they come.
 */
export async function* inOrder(
  rows: Rows,
  disorderMs: number,
  check: RowCheck,
): AsyncGenerator<readonly SourceEvent[], void, void> {
  let held: Array<{ readonly timeMs: number; readonly event: SourceEvent }> = []
  let latestMs = Number.NEGATIVE_INFINITY
  for await (const chunk of rows) {
    const passed: SourceEvent[] = []
    for (const event of chunk) {
      const row = check(event)
      if (row.kind === 'event') {
        held.push({ timeMs: row.timeMs, event })
        latestMs = Math.max(latestMs, row.timeMs)
      } else passed.push(event)
    }
    if (held.length > heldRowsMax) {
      throw new PipelineError(
        'input_unreadable',
        `More than ${heldRowsMax.toLocaleString('en-US')} rows lie within the declared disorder: they are too many to order in memory. ` +
          'Add --sort.',
      )
    }
    // The sort is stable, so that rows of one instant stay as they came.
    held.sort((a, b) => a.timeMs - b.timeMs)
    const until = held.findIndex(({ timeMs }) => timeMs >= latestMs - disorderMs)
    const ready = until === -1 ? held : held.slice(0, until)
    held = until === -1 ? [] : held.slice(until)
    yield [...passed, ...ready.map(({ event }) => event)]
  }
  yield held.map(({ event }) => event)
}
