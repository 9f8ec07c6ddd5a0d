/**
 * The rows of a source in, the same rows in the order of event time out; called for files that are not in that order, with `--sort`. The
 * rows go to a file in a temporary folder, which is removed at the end, and their places to DuckDB, which sorts them within a bound of
 * memory.
 */
import { readSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { deserialize, serialize } from 'node:v8'
import { DOUBLE, type DuckDBConnection, DuckDBDataChunk, DuckDBInstance } from '@duckdb/node-api'
import { temporaryFolder } from '../runtime/temporary-folder.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { Rows } from './merge.ts'
import type { RowCheck, SourceEvent } from './prepare.ts'

export interface SortOptions {
  /** For messages. */
  readonly sourceName: string
  readonly check: RowCheck
  readonly printLine: (line: string) => void
  /** Folder for the temporary one; that of the system by default. */
  readonly folder?: string
  readonly memoryBytesMax?: number
}

/** Where a row lies in the file. */
interface Place {
  readonly offset: number
  readonly bytes: number
}

const memoryBytesMaxDefault = 256 * 1_024 * 1_024
const megabyte = 1_048_576
/** Of a DuckDB chunk. */
const chunkRowsMax = 2_048
/** Of the sort: time, stream, number, offset and length, in the table and once more while they are sorted. */
const placeBytes = 2 * 5 * 8
/** One read takes rows that lie close together, and what is between them. */
const readBytesMax = 4 * megabyte
const readGapMax = 16 * 1_024

/** Rows of one instant come in the order of streams, then as they were. Rows that are no events keep their place behind the row before. */
export async function* sortedRows(rows: Rows, options: SortOptions): AsyncGenerator<SourceEvent[], void, void> {
  const { sourceName, printLine, folder: parent = tmpdir(), memoryBytesMax = memoryBytesMaxDefault } = options
  const temporary = await temporaryFolder('millrace-sort-', parent).catch((cause: Error) => {
    throw failure(sourceName, parent, cause)
  })
  const folder = temporary.path
  let instance: DuckDBInstance | null = null
  let file: FileHandle | null = null
  try {
    file = await open(join(folder, 'rows'), 'w+')
    instance = await DuckDBInstance.create(join(folder, 'places.duckdb'), {
      threads: '1',
      memory_limit: `${Math.floor(memoryBytesMax / megabyte)}MiB`,
      temp_directory: folder,
      preserve_insertion_order: 'false',
      autoinstall_known_extensions: 'false',
    })
    const connection = await instance.connect()
    const { count, bytes } = await spill(rows, file, connection, options)
    printLine(
      `${sourceName}: ${count.toLocaleString('en-US')} rows are sorted by event time in ${folder}, with ` +
        `${Math.ceil((bytes + count * placeBytes) / megabyte)} MB of disk until they are read.`,
    )
    const result = await connection.stream('SELECT offset_, bytes FROM places ORDER BY time, stream, number')
    for (;;) {
      const chunk = await result.fetchChunk()
      if (chunk === null || chunk.rowCount === 0) break
      const [offsets, lengths] = [chunk.getColumnValues(0), chunk.getColumnValues(1)]
      yield await readRows(
        file,
        offsets.map((offset, i) => ({ offset: Number(offset), bytes: Number(lengths[i]) })),
      )
    }
  } catch (cause) {
    throw cause instanceof PipelineError ? cause : failure(sourceName, folder, cause as Error)
  } finally {
    instance?.closeSync()
    await file?.close()
    await temporary.remove()
  }
}

/** How many rows went into the file, and their bytes. */
async function spill(
  rows: Rows,
  file: FileHandle,
  connection: DuckDBConnection,
  { check }: SortOptions,
): Promise<{ readonly count: number; readonly bytes: number }> {
  await connection.run('CREATE TABLE places (time DOUBLE, stream DOUBLE, number DOUBLE, offset_ DOUBLE, bytes DOUBLE)')
  const appender = await connection.createAppender('places')
  let [count, end] = [0, 0]
  let place: readonly [time: number, stream: number] = [Number.NEGATIVE_INFINITY, -1]
  for await (const events of rows) {
    for (let from = 0; from < events.length; from += chunkRowsMax) {
      const columns: number[][] = [[], [], [], [], []]
      const written: Buffer[] = []
      for (const event of events.slice(from, from + chunkRowsMax)) {
        const row = check(event)
        if (row.kind === 'event') place = [row.timeMs, row.stream.index]
        const whole = serialize({ ...event, row: ++count })
        written.push(whole)
        columns[0]!.push(place[0])
        columns[1]!.push(place[1])
        columns[2]!.push(count)
        columns[3]!.push(end)
        columns[4]!.push(whole.length)
        end += whole.length
      }
      await file.appendFile(Buffer.concat(written))
      const chunk = DuckDBDataChunk.create(
        columns.map(() => DOUBLE),
        written.length,
      )
      for (const [column, values] of columns.entries()) chunk.setColumnValues(column, values)
      appender.appendDataChunk(chunk)
    }
  }
  appender.flushSync()
  appender.closeSync()
  return { count, bytes: end }
}

/** In the order of the places. */
async function readRows(file: FileHandle, places: readonly Place[]): Promise<SourceEvent[]> {
  const events = new Map<number, SourceEvent>()
  let span: Place[] = []
  for (const place of places.toSorted((a, b) => a.offset - b.offset)) {
    const [first, last] = [span[0], span.at(-1)]
    const isFar =
      first !== undefined &&
      last !== undefined &&
      (place.offset - last.offset - last.bytes > readGapMax || place.offset + place.bytes - first.offset > readBytesMax)
    if (isFar) {
      await readSpan(file, span, events)
      span = []
    }
    span.push(place)
  }
  if (span.length > 0) await readSpan(file, span, events)
  return places.map(({ offset }) => events.get(offset)!)
}

async function readSpan(file: FileHandle, span: readonly Place[], events: Map<number, SourceEvent>): Promise<void> {
  const [{ offset: start }, last] = [span[0]!, span.at(-1)!]
  const whole = Buffer.alloc(last.offset + last.bytes - start)
  for (let done = 0; done < whole.length; ) {
    // A file that is shuffled is read row by row, and a turn of the thread pool for each costs more than the reading.
    const bytesRead =
      whole.length < readGapMax
        ? readSync(file.fd, whole, done, whole.length - done, start + done)
        : (await file.read(whole, done, whole.length - done, start + done)).bytesRead
    if (bytesRead === 0) throw new Error('the file of the rows ended early')
    done += bytesRead
  }
  for (const { offset, bytes } of span) {
    events.set(offset, deserialize(whole.subarray(offset - start, offset - start + bytes)) as SourceEvent)
  }
}

function failure(sourceName: string, folder: string, cause: Error): PipelineError {
  return new PipelineError(
    'output_unwritable',
    `${sourceName} cannot be sorted in ${folder}: ${cause.message.split('\n')[0]}. The rows need about twice their size on the disk; ` +
      'TMPDIR names another folder.',
    { cause },
  )
}
