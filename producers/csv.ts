/**
 * Bytes of a CSV text with a header row in, chunks of source events out; called by `millrace produce` and `replay` for files and standard
 * input. A malformed row becomes an event with problems and its line number, and reading continues.
 */
import { type CsvError, type InfoRecord, type Parser, parse } from 'csv-parse'
import { stringify } from 'csv-stringify/sync'
import { PipelineError } from '../schemas/kernel/errors.ts'
import { problem } from '../schemas/wire/event-codec.ts'
import { type CsvHead, csvHead } from './csv-dialect.ts'
import { decodedText, peek } from './decode-text.ts'
import type { SourceEvent } from './prepare.ts'
import { type RowOptions, readTable, type Table } from './table.ts'

export interface CsvOptions extends RowOptions {
  /** Between two cells; null: to be found. */
  readonly delimiter: string | null
  /** Where none is found. */
  readonly fallback?: string
  /** Null: UTF-8, or as a byte order mark says. */
  readonly encoding?: string | null
  readonly rowCharactersMax?: number
}

const rowCharactersMaxDefault = 1_048_576
/** What the separator and the order of days and months are found in. */
const headBytes = 1_048_576

/** What `csvRows` keeps while it reads. */
interface CsvReading {
  readonly options: CsvOptions
  readonly head: CsvHead
  readonly rowCharactersMax: number
  /** Null before the header row. */
  columns: readonly string[] | null
  table: Table | null
  events: SourceEvent[]
  /** Behind the header, malformed ones included. */
  rows: number
  /** The parser counts a line break of two characters inside a cell twice. */
  countedTwice: number
  lineOfLastFault: number
  /** Of the row that was read last. */
  lastLine: number
}

/** Never holds more than one piece of the input and one row. Rejects with `usage` for columns that do not fit the streams. */
export async function* csvRows(
  bytes: AsyncIterable<Buffer>,
  options: CsvOptions,
): AsyncGenerator<SourceEvent[], void, void> {
  const { sourceName, encoding = null, rowCharactersMax = rowCharactersMaxDefault } = options
  const begun = await peek(decodedText(bytes, encoding), headBytes)
  const head = headOf(begun, options)
  const { delimiter } = head
  const reading: CsvReading = {
    options,
    head,
    rowCharactersMax,
    columns: null,
    table: null,
    events: [],
    rows: 0,
    countedTwice: 0,
    lineOfLastFault: 0,
    lastLine: 0,
  }
  const parser = parse({
    bom: true,
    delimiter,
    record_delimiter: ['\r\n', '\n'],
    relax_column_count: true,
    skip_empty_lines: true,
    skip_records_with_error: true,
    max_record_size: rowCharactersMax,
    trim: options.cells?.trim ?? false,
    on_record: (cells: readonly string[], info) => addRow(reading, cells, info),
    on_skip: (fault) => addFault(reading, fault),
  })
  const failed = new Promise<never>((_, reject) => parser.once('error', reject))
  // The failure reaches whoever awaits the next piece; until then it must not be an unhandled rejection.
  failed.catch(() => undefined)

  for await (const piece of begun.bytes) {
    await Promise.race([written(parser, piece), failed])
    if (reading.events.length > 0) yield takeEvents(reading)
  }
  await Promise.race([ended(parser), failed])
  if (reading.columns === null)
    throw new PipelineError('input_unreadable', `${sourceName} is empty: expected a row with the names of columns.`)
  if (reading.events.length > 0) yield takeEvents(reading)
  reading.table?.finish()
}

function headOf(
  { head, isAll }: { readonly head: Buffer; readonly isAll: boolean },
  { sourceName, delimiter, fallback = ',', streams, map, printLine }: CsvOptions,
): CsvHead {
  const end = isAll ? head.length : head.lastIndexOf(0x0a) + 1
  const wanted = new Set([
    ...streams.flatMap(({ fields }) => fields.map(({ name }) => name)),
    ...map.values(),
    'stream',
  ])
  const found = csvHead(head.subarray(0, end).toString(), { given: delimiter, fallback, wanted, sourceName })
  if (delimiter === null && found.delimiter !== fallback)
    printLine(`${sourceName}: cells are separated by ${JSON.stringify(found.delimiter)}.`)
  return found
}

function takeEvents(reading: CsvReading): SourceEvent[] {
  const taken = reading.events
  reading.events = []
  return taken
}

/** The first row is the header. Returns null: the parser itself keeps no rows. */
function addRow(reading: CsvReading, cells: readonly string[], { lines }: InfoRecord): null {
  const { sourceName } = reading.options
  const { delimiter } = reading.head
  const { columns, table, events } = reading
  if (columns !== null) reading.rows++
  const lineBreaks = cells.reduce((sum, cell) => sum + (cell.includes('\n') ? cell.split('\n').length - 1 : 0), 0)
  if (lineBreaks > 0) reading.countedTwice += cells.reduce((sum, cell) => sum + cell.split('\r\n').length - 1, 0)
  reading.lastLine = lines - reading.countedTwice
  const location = `${sourceName}, line ${reading.lastLine - lineBreaks}`
  if (columns === null || table === null) {
    reading.columns = cells
    reading.table = readTable(cells, reading.options, (column) => reading.head.rows.map((row) => row[column] ?? ''))
  } else if (cells.length !== columns.length) {
    const expected = `a row of ${columns.length} cells, as the header has`
    const text = stringify([[...cells]], { delimiter }).trimEnd()
    events.push({ location, problems: [problem('', 'not_csv', expected, `${cells.length} cells`)], text })
  } else {
    events.push(table.event((column) => cells[column], location, reading.rows))
  }
  return null
}

/** Throws where the end of the row is unknown, which ends the reading: row boundaries are never guessed. */
function addFault(reading: CsvReading, fault: CsvError | undefined): undefined {
  const line = Number(fault?.lines) - reading.countedTwice
  if (fault?.code !== 'INVALID_OPENING_QUOTE' || reading.columns === null) throw unreadable(reading, fault, line)
  // The parser continues with the next row, after one call for each wrong quote of this one.
  if (line === reading.lineOfLastFault) return
  reading.lineOfLastFault = line
  reading.rows++
  const expected = 'a quote around a whole cell only, and doubled inside it'
  reading.events.push({
    location: `${reading.options.sourceName}, line ${line}`,
    problems: [problem('', 'not_csv', expected, `a quote inside cell ${Number(fault.column) + 1}`)],
  })
}

function unreadable(
  { options, lastLine, rowCharactersMax }: CsvReading,
  fault: CsvError | undefined,
  line: number,
): PipelineError {
  const reasons: Record<string, string> = {
    CSV_QUOTE_NOT_CLOSED: `the row after line ${lastLine} has a quote that is never closed`,
    CSV_MAX_RECORD_SIZE: `the row after line ${lastLine} has more than ${rowCharactersMax} characters, or a quote that is never closed`,
    CSV_INVALID_CLOSING_QUOTE: `in line ${line} a cell continues after its closing quote; a quote inside a quoted cell is doubled`,
  }
  const reason = reasons[fault?.code ?? ''] ?? `line ${line}: ${fault?.message ?? 'it is no CSV'}`
  return new PipelineError('input_unreadable', `${options.sourceName} cannot be read as CSV: ${reason}.`, {
    cause: fault,
  })
}

/** Resolves when every row of the piece has been parsed. */
function written(parser: Parser, piece: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    parser.write(piece, (error) => (error ? reject(error) : resolve()))
  })
}

function ended(parser: Parser): Promise<void> {
  return new Promise((resolve) => {
    parser.once('end', resolve)
    parser.resume()
    parser.end()
  })
}
