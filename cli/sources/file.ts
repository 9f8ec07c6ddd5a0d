/** The path of a file with events, or standard input, comes in, its events in chunks go out; called by `open-source.ts`. */
import { createReadStream, type ReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pipeline, type Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { csvRows } from '../../producers/csv.ts'
import { type FileVersion, fileVersion } from '../../producers/file-version.ts'
import { jsonLines } from '../../producers/json-lines.ts'
import { parquetRows } from '../../producers/parquet.ts'
import type { SourcePart } from '../../producers/positions.ts'
import type { SourceEvent } from '../../producers/prepare.ts'
import type { RowOptions } from '../../producers/table.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { LoadedMapping } from './mapping-file.ts'
import { type NamedSource, scopedTo } from './named-source.ts'
import { readingOptions } from './reading-options.ts'
import { type FileFormat, fileFormats, type SourceContext, type SourceOptions } from './source.ts'

const formatOfEnding: Readonly<Record<string, FileFormat>> = {
  csv: 'csv',
  tsv: 'csv',
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  parquet: 'parquet',
}

const bytesAtOnce = 256 * 1_024

type SourcePlan = Pick<Plan, 'name' | 'streams'>

/** A file whose rows can be read from the first, any number of times. */
export interface FileSource {
  readonly part: SourcePart
  /** Everything that determines its rows. */
  readonly key: readonly unknown[]
  /** `printLine`: gets notes on the file. */
  read(printLine: (line: string) => void): Reading
}

export interface Reading {
  readonly chunks: AsyncGenerator<SourceEvent[], void, void>
  readonly shareRead: () => number | null
}

/** Rejects with `usage` for options that do not do, with `input_unreadable` for a file that is not there. */
export async function openFile(
  source: NamedSource,
  options: SourceOptions,
  plan: SourcePlan,
  mappings: readonly LoadedMapping[],
  signal: AbortSignal,
): Promise<FileSource> {
  const name = source.path
  const version = await versionOf(name)
  const { format, isCompressed, ending } = formatOf(source, options)
  const delimiter = delimiterOf(source, options, format)
  const { rows, key } = readingOptions(source, options, plan, { sourceName: name, format, mappings })
  const path = resolve(name)
  return {
    part: { name, file: { path, canGrow: format !== 'parquet' && !isCompressed && !options.sort, version } },
    key: [format, path, rows.stream, delimiter, ...key],
    read(printLine) {
      const told = { ...rows, printLine }
      if (format === 'parquet') return readParquet(told)
      const fallback = ending === 'tsv' ? '\t' : ','
      return readText(told, { format, delimiter, fallback, isCompressed, version, signal })
    },
  }
}

type TextOptions = RowOptions & { readonly encoding: string | null }

function readParquet(rows: TextOptions): Reading {
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
  rows: TextOptions,
  options: {
    readonly format: 'csv' | 'jsonl'
    readonly delimiter: string | null
    readonly fallback: string
    readonly isCompressed: boolean
    readonly version: FileVersion
    readonly signal: AbortSignal
  },
): Reading {
  const { format, delimiter, fallback, isCompressed, version, signal } = options
  let file: ReadStream | null = null
  async function* bytes() {
    // No more than was there when its version was taken: what is added meanwhile is for the next run.
    const end = Math.max(0, version.bytes - 1)
    file = createReadStream(rows.sourceName, { highWaterMark: bytesAtOnce, end })
    // A failure of the file becomes one of what is read from it.
    const unpacked = isCompressed ? pipeline(file, createGunzip({ chunkSize: bytesAtOnce }), () => undefined) : file
    yield* untilAborted(unpacked, rows.sourceName, signal)
  }
  const pieces = bytes()
  return {
    chunks: format === 'csv' ? csvRows(pieces, { ...rows, delimiter, fallback }) : jsonLines(pieces, rows),
    shareRead: () => (version.bytes === 0 ? null : (file?.bytesRead ?? 0) / version.bytes),
  }
}

/** Standard input has no position: it cannot be read again. */
export function readStdin(
  source: NamedSource,
  options: SourceOptions,
  plan: SourcePlan,
  mappings: readonly LoadedMapping[],
  { stdin, signal, printLine }: SourceContext,
): Reading {
  const sourceName = 'standard input'
  const format = scopedTo(options.format, source) ?? 'jsonl'
  if (format === 'parquet') {
    throw new PipelineError(
      'usage',
      'Parquet is not read from standard input, since it is read from its end: name a file.',
    )
  }
  const { rows: read } = readingOptions(source, options, plan, { sourceName, format, mappings })
  const rows = { ...read, printLine }
  const delimiter = delimiterOf(source, options, format)
  const bytes = untilAborted(stdin(), sourceName, signal)
  const chunks = format === 'csv' ? csvRows(bytes, { ...rows, delimiter }) : jsonLines(bytes, rows)
  return { chunks, shareRead: () => null }
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

function formatOf(named: NamedSource, options: SourceOptions) {
  const source = named.path
  const format = scopedTo(options.format, named)
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

/** One character that neither ends a line nor quotes a cell; null: to be found in the file. */
function delimiterOf(source: NamedSource, options: SourceOptions, format: FileFormat): string | null {
  const delimiter = scopedTo(options.delimiter, source)
  if (delimiter === undefined) return null
  if (format !== 'csv')
    throw new PipelineError('usage', `--delimiter applies to CSV only, and ${source.path} is ${format}.`)
  return delimiter
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
