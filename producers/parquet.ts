/**
 * A Parquet file in, chunks of source events out, one row group in memory at a time; called by `millrace produce` and `replay`. No value is
 * rounded: one that a number cannot represent is passed on unchanged, and the field's check rejects it.
 */
import { type FileHandle, open } from 'node:fs/promises'
import {
  type AsyncBuffer,
  type DecodedArray,
  type FileMetaData,
  type ParquetScan,
  parquetMetadataAsync,
  parquetScan,
  parquetSchema,
  type SchemaElement,
} from 'hyparquet'
import { compressors } from 'hyparquet-compressors'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { FieldPlan } from '../schemas/kernel/event.ts'
import type { SourceEvent } from './prepare.ts'
import { type RowOptions, readTable } from './table.ts'

export interface ParquetOptions extends RowOptions {
  /** Called once with the number of rows, before the first chunk. */
  readonly onRows?: (rows: number) => void
  /** Uncompressed bytes of the columns that are read, for one row group. */
  readonly groupBytesMax?: number
}

const groupBytesMaxDefault = 512 * 1_024 * 1_024
const chunkRowsMax = 2_000

/** Rejects with `usage` for columns that do not fit the streams, with `input_unreadable` for a broken file. */
export async function* parquetRows(path: string, options: ParquetOptions): AsyncGenerator<SourceEvent[], void, void> {
  const { sourceName, onRows } = options
  const handle = await open(path).catch((cause: Error) => {
    throw unreadable(sourceName, cause)
  })
  try {
    const file = { byteLength: (await handle.stat()).size, slice: sliceOf(handle, sourceName) }
    const metadata = await parquetMetadataAsync(file).catch((cause: Error) => {
      throw unreadable(sourceName, cause)
    })
    onRows?.(Number(metadata.num_rows))
    const columns = columnsOf(metadata)
    const table = readTable(
      columns.map(({ name }) => name),
      options,
    )
    for (const column of table.used) requirePlain(columns[column]!, sourceName)
    const converters = columns.map(converterOf)
    const scans = new Map<number, ParquetScan>()
    for (const column of table.used) scans.set(column, await scanOf(columns[column]!, { file, metadata }))
    let first = 0
    for (const [group, { num_rows }] of metadata.row_groups.entries()) {
      const rows = Number(num_rows)
      checkGroupBytes(
        metadata,
        group,
        table.used.map((column) => columns[column]!.name),
        options,
      )
      const read = new Map<number, DecodedArray>()
      for (const [column, scan] of scans) {
        const span = { column: columns[column]!.name, rowStart: first, rowEnd: first + rows }
        read.set(column, await readSpan(scan, span, `${sourceName}, row group ${group + 1}, column ${span.column}`))
      }
      for (let from = 0; from < rows; from += chunkRowsMax) {
        const events: SourceEvent[] = []
        for (let row = from; row < Math.min(rows, from + chunkRowsMax); row++) {
          const cell = (column: number, field: FieldPlan) => converters[column]!(read.get(column)![row], field)
          events.push(table.event(cell, `${sourceName}, row ${first + row + 1}`, first + row + 1))
        }
        yield events
      }
      first += rows
    }
    table.finish()
  } finally {
    await handle.close()
  }
}

interface Column {
  readonly name: string
  readonly element: SchemaElement
  readonly isNested: boolean
  readonly isDecimal: boolean
}

function columnsOf(metadata: FileMetaData): Column[] {
  return parquetSchema(metadata).children.map(({ element, children }) => ({
    name: element.name,
    element,
    isNested: children.length > 0 || element.repetition_type === 'REPEATED',
    isDecimal: element.converted_type === 'DECIMAL' || element.logical_type?.type === 'DECIMAL',
  }))
}

function requirePlain({ name, isNested }: Column, sourceName: string): void {
  if (!isNested) return
  throw new PipelineError(
    'usage',
    `Column ${name} of ${sourceName} holds lists or records; expected one plain value a row.`,
  )
}

function checkGroupBytes(
  metadata: FileMetaData,
  group: number,
  names: readonly string[],
  { sourceName, groupBytesMax = groupBytesMaxDefault }: ParquetOptions,
): void {
  const chunks = metadata.row_groups[group]!.columns.map(({ meta_data }) => meta_data)
  const bytes = chunks
    .filter((chunk) => chunk !== undefined && names.includes(chunk.path_in_schema[0]!))
    .reduce((sum, chunk) => sum + Number(chunk!.total_uncompressed_size), 0)
  if (bytes <= groupBytesMax) return
  throw new PipelineError(
    'input_unreadable',
    `Row group ${group + 1} of ${sourceName} has ${bytes} bytes in the columns that are read, and at most ${groupBytesMax} are ` +
      'taken into memory: write the file with smaller row groups.',
  )
}

/** Byte arrays are decoded as text unless the column holds decimals. */
function scanOf(
  { name, isDecimal }: Column,
  file: { file: AsyncBuffer; metadata: FileMetaData },
): Promise<ParquetScan> {
  return parquetScan({ ...file, columns: [name], compressors, parsers, utf8: !isDecimal })
}

async function readSpan(
  scan: ParquetScan,
  span: { column: string; rowStart: number; rowEnd: number },
  sourceName: string,
): Promise<DecodedArray> {
  // The reader may throw or reject.
  const values = await Promise.resolve(span)
    .then(scan.readColumn)
    .catch((cause: Error) => {
      throw unreadable(sourceName, cause)
    })
  const rows = span.rowEnd - span.rowStart
  if (values.length !== rows) throw unreadable(sourceName, new Error(`${values.length} values for ${rows} rows`))
  return values
}

/** Instants are rounded down to milliseconds, before 1970 too. */
const parsers = {
  timestampFromMicroseconds: (micros: bigint) => new Date(Number(floorDivided(micros, 1_000n))),
  timestampFromNanoseconds: (nanos: bigint) => new Date(Number(floorDivided(nanos, 1_000_000n))),
  jsonFromBytes: (bytes: Uint8Array) => new TextDecoder().decode(bytes),
}

function floorDivided(value: bigint, by: bigint): bigint {
  return value < 0n && value % by !== 0n ? value / by - 1n : value / by
}

type Converter = (value: unknown, field: FieldPlan) => unknown

/**
 * hyparquet rounds decimals to doubles. Without the decimal type in the metadata it returns the unscaled digits, which become an exact text
 * here.
 */
function converterOf({ element, isDecimal }: Column): Converter {
  if (!isDecimal) return valueFor
  const scale = element.scale ?? 0
  delete element.converted_type
  delete element.logical_type
  return (digits, field) =>
    digits === null || digits === undefined ? null : valueFor(decimalText(unscaled(digits), scale), field)
}

function unscaled(digits: unknown): bigint {
  if (!(digits instanceof Uint8Array)) return BigInt(digits as number | bigint)
  let value = 0n
  for (const byte of digits) value = (value << 8n) | BigInt(byte)
  return BigInt.asIntN(digits.length * 8, value)
}

function decimalText(digits: bigint, scale: number): string {
  const text = (digits < 0n ? -digits : digits).toString().padStart(scale + 1, '0')
  const whole = text.slice(0, text.length - scale)
  const rest = text.slice(text.length - scale).replace(/0+$/, '')
  return `${digits < 0n ? '-' : ''}${whole}${rest === '' ? '' : `.${rest}`}`
}

/** A value in a form that the field accepts, as for a cell of a text file; any other value is returned as it is. */
function valueFor(value: unknown, { kind }: FieldPlan): unknown {
  if (value === undefined || value === null) return null
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) return value
    return kind === 'timestamp' ? value.getTime() : kind === 'text' ? value.toISOString() : value
  }
  if (typeof value === 'bigint') return kind === 'text' ? String(value) : exactNumber(value)
  if (kind === 'text' && Number.isSafeInteger(value)) return String(value)
  if (kind === 'flag' && (value === 0 || value === 1)) return value === 1
  return value
}

/** The bigint itself where a number would be inexact. */
function exactNumber(value: bigint): number | bigint {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value
}

function sliceOf(handle: FileHandle, sourceName: string): AsyncBuffer['slice'] {
  return async (start, end) => {
    const length = (end ?? (await handle.stat()).size) - start
    const buffer = new ArrayBuffer(length)
    for (let done = 0; done < length; ) {
      const { bytesRead } = await handle.read(new Uint8Array(buffer, done), { position: start + done })
      if (bytesRead === 0) throw unreadable(sourceName, new Error('it ended early'))
      done += bytesRead
    }
    return buffer
  }
}

function unreadable(sourceName: string, cause: Error): PipelineError {
  if (cause instanceof PipelineError) return cause
  return new PipelineError('input_unreadable', `${sourceName} cannot be read as Parquet: ${cause.message}.`, { cause })
}
