/** The path of a file with events, or standard input, comes in, its events in chunks go out; called by `sources.ts`. */
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pipeline, type Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { csvRows } from '../../producers/csv.ts'
import { type FileVersion, fileVersion } from '../../producers/file-version.ts'
import { jsonLines } from '../../producers/json-lines.ts'
import { parquetRows } from '../../producers/parquet.ts'
import type { SourceEvent } from '../../producers/prepare.ts'
import type { RowOptions } from '../../producers/table.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { nearestName } from '../../schemas/kernel/nearest-name.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { type FileFormat, fileFormats, type Source, type SourceContext, type SourceOptions } from './source.ts'

const formatOfEnding: Readonly<Record<string, FileFormat>> = {
  csv: 'csv',
  tsv: 'csv',
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  parquet: 'parquet',
}

const bytesAtOnce = 256 * 1_024

type SourcePlan = Pick<Plan, 'name' | 'streams'>

/** Rejects with `usage` for options or columns that do not do, with `input_unreadable` for a file that is not there or broken. */
export async function openFileSource(
  options: SourceOptions,
  plan: SourcePlan,
  { signal, printLine }: SourceContext,
): Promise<Source> {
  const sourceName = options.source
  const version = await versionOf(sourceName)
  const { format, isCompressed, ending } = formatOf(options)
  const rows = rowOptions(options, plan, sourceName, printLine, format)
  const delimiter = delimiterOf(options, format, ending)
  const reading =
    format === 'parquet' ? readParquet(rows) : readText(rows, { format, delimiter, isCompressed, version, signal })
  const path = resolve(sourceName)
  return {
    startMs: null,
    chunks: await begun(reading.chunks),
    shareRead: reading.shareRead,
    identity: {
      name: sourceName,
      key: JSON.stringify([format, path, rows.stream, [...rows.map].sort(), format === 'csv' ? delimiter : null]),
      file: { path, canGrow: format !== 'parquet' && !isCompressed, version },
    },
  }
}

interface Reading {
  readonly chunks: AsyncGenerator<SourceEvent[], void, void>
  readonly shareRead: () => number | null
}

function readParquet(rows: RowOptions): Reading {
  let all = 0
  let read = 0
  async function* chunks() {
    const onRows = (count: number) => {
      all = count
    }
    for await (const chunk of parquetRows(rows.sourceName, { ...rows, onRows })) {
      read += chunk.length
      yield chunk
    }
  }
  return { chunks: chunks(), shareRead: () => (all === 0 ? null : read / all) }
}

function readText(
  rows: RowOptions,
  options: {
    readonly format: 'csv' | 'jsonl'
    readonly delimiter: string
    readonly isCompressed: boolean
    readonly version: FileVersion
    readonly signal: AbortSignal
  },
): Reading {
  const { format, delimiter, isCompressed, version, signal } = options
  // No more than was there when its version was taken: what is added meanwhile is for the next run.
  const end = Math.max(0, version.bytes - 1)
  const file = createReadStream(rows.sourceName, { highWaterMark: bytesAtOnce, end })
  // A failure of the file becomes one of what is read from it.
  const bytes = isCompressed ? pipeline(file, createGunzip({ chunkSize: bytesAtOnce }), () => undefined) : file
  const pieces = untilAborted(bytes, rows.sourceName, signal)
  return {
    chunks: format === 'csv' ? csvRows(pieces, { ...rows, delimiter }) : jsonLines(pieces, rows),
    shareRead: () => (version.bytes === 0 ? null : file.bytesRead / version.bytes),
  }
}

/** Standard input has no position: it cannot be read again. */
export function openStdinSource(
  options: SourceOptions,
  plan: SourcePlan,
  { stdin, signal, printLine }: SourceContext,
): Source {
  const sourceName = 'standard input'
  const format = options.format ?? 'jsonl'
  if (format === 'parquet') {
    throw new PipelineError(
      'usage',
      'Parquet is not read from standard input, since it is read from its end: name a file.',
    )
  }
  const rows = rowOptions(options, plan, sourceName, printLine, format)
  const delimiter = delimiterOf(options, format, null)
  const bytes = untilAborted(stdin(), sourceName, signal)
  const chunks = format === 'csv' ? csvRows(bytes, { ...rows, delimiter }) : jsonLines(bytes, rows)
  return { startMs: null, chunks, shareRead: () => null, identity: null }
}

async function versionOf(path: string): Promise<FileVersion> {
  try {
    if ((await stat(path)).isFile()) return await fileVersion(path)
  } catch (cause) {
    throw unreadable(path, cause as Error)
  }
  throw unreadable(path, new Error('it is no file'))
}

function unreadable(path: string, cause: Error): PipelineError {
  return new PipelineError(
    'input_unreadable',
    `Source ${path} cannot be read: ${cause.message}. Expected handbook, stdin or the path of a CSV, JSON-lines or Parquet file.`,
    { cause },
  )
}

function formatOf({ source, format }: SourceOptions) {
  const [, ending = '', compression] = /\.([^.]+?)(\.gz)?$/.exec(source.toLowerCase()) ?? []
  const isCompressed = compression !== undefined || ending === 'gz'
  const known = format ?? formatOfEnding[ending]
  if (known === undefined) {
    throw new PipelineError(
      'usage',
      `The ending of ${source} does not say what it holds; expected ${Object.keys(formatOfEnding)
        .map((one) => `.${one}`)
        .join(', ')}, ` + `with or without .gz, or --format ${fileFormats.join(' or ')}.`,
    )
  }
  if (known === 'parquet' && isCompressed) {
    throw new PipelineError('usage', `${source}: a Parquet file is compressed inside; unpack it first.`)
  }
  return { format: known, isCompressed, ending }
}

/** One character that neither ends a line nor quotes a cell. */
function delimiterOf({ delimiter }: SourceOptions, format: FileFormat, ending: string | null): string {
  if (delimiter === undefined) return ending === 'tsv' ? '\t' : ','
  if (format !== 'csv')
    throw new PipelineError('usage', `--delimiter applies to CSV only, and this source is ${format}.`)
  return delimiter
}

function rowOptions(
  options: SourceOptions,
  plan: SourcePlan,
  sourceName: string,
  printLine: (line: string) => void,
  format: FileFormat,
): RowOptions {
  const { streams } = plan
  const names = streams.map(({ name }) => name)
  const only = names.length === 1 ? names[0]! : null
  const stream = options.stream ?? only
  if (stream !== null && !names.includes(stream)) {
    throw new PipelineError('usage', `--stream must be one of ${names.join(', ')}, but is ${stream}.`)
  }
  const map = options.map ?? new Map<string, string>()
  const read = stream === null ? streams : streams.filter(({ name }) => name === stream)
  const fields = [...new Set(read.flatMap((one) => one.fields.map(({ name }) => name)))]
  const unknown = [...map.keys()].filter((field) => !fields.includes(field))
  if (unknown.length > 0) {
    throw new PipelineError(
      'usage',
      `--map names ${unknown.join(', ')}, which ${stream ?? plan.name} has no field for. Did you mean ${nearestName(unknown[0]!, fields)}? ` +
        `Expected field=${format === 'jsonl' ? 'key' : 'column'} with a field of: ${fields.join(', ')}.`,
    )
  }
  return { sourceName, streams, stream, map, printLine }
}

/** Reads the first chunk now, so that an invalid file is reported before anything else is opened. */
async function begun(chunks: AsyncGenerator<SourceEvent[]>): Promise<AsyncGenerator<SourceEvent[]>> {
  const first = await chunks.next()
  async function* all() {
    try {
      if (!first.done) yield first.value
      yield* chunks
    } finally {
      // A consumer that stops at the first chunk must not leave the file open.
      await chunks.return(undefined)
    }
  }
  return all()
}

/** Ends with the signal even while the next piece is being waited for, as it is at a terminal. */
async function* untilAborted(
  bytes: Readable,
  sourceName: string,
  signal: AbortSignal,
): AsyncGenerator<Buffer, void, void> {
  const stop = () => void bytes.destroy()
  if (signal.aborted) return
  signal.addEventListener('abort', stop, { once: true })
  try {
    for await (const piece of bytes) yield piece as Buffer
  } catch (cause) {
    if (signal.aborted) return
    throw new PipelineError('input_unreadable', `Source ${sourceName} cannot be read: ${(cause as Error).message}.`, {
      cause,
    })
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
