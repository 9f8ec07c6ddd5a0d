/**
 * Bytes of a CSV text with a header row come in, chunks of source events go out; called by `millrace produce` and `replay` for files and
 * standard input. A row that is none is handed on as such, with its line, and the reading goes on.
 */
import { type CsvError, type InfoRecord, type Parser, parse } from 'csv-parse'
import { stringify } from 'csv-stringify/sync'
import { PipelineError } from '../schemas/kernel/errors.ts'
import { problem } from '../schemas/wire/event-codec.ts'
import type { SourceEvent } from './prepare.ts'
import { type RowOptions, readTable, type Table } from './table.ts'

export interface CsvOptions extends RowOptions {
  /** Between two cells. */
  readonly delimiter: string
  readonly rowCharactersMax?: number
}

const rowCharactersMaxDefault = 1_048_576

/** Never holds more than one piece of the input and one row. Rejects with `usage` where the columns do not do. */
export async function* csvRows(
  bytes: AsyncIterable<Buffer>,
  options: CsvOptions,
): AsyncGenerator<SourceEvent[], void, void> {
  const { place, delimiter, rowCharactersMax = rowCharactersMaxDefault } = options
  let columns: readonly string[] | null = null
  let table: Table | null = null
  let events: SourceEvent[] = []
  /** The parser counts an end of line of two characters inside a cell as two. */
  let countedTwice = 0
  let lineOfLastFault = 0
  /** Of the row that was read last. */
  let lastLine = 0

  function onRow(cells: readonly string[], { lines }: InfoRecord): null {
    const ends = cells.reduce((sum, cell) => sum + (cell.includes('\n') ? cell.split('\n').length - 1 : 0), 0)
    if (ends > 0) countedTwice += cells.reduce((sum, cell) => sum + cell.split('\r\n').length - 1, 0)
    lastLine = lines - countedTwice
    const at = `${place}, line ${lastLine - ends}`
    if (columns === null || table === null) {
      columns = cells
      table = readTable(cells, options)
    } else if (cells.length !== columns.length) {
      const expected = `a row of ${columns.length} cells, as the header has`
      const text = stringify([[...cells]], { delimiter }).trimEnd()
      events.push({ place: at, problems: [problem('', 'not_csv', expected, `${cells.length} cells`)], text })
    } else {
      events.push(table.event((column) => cells[column], at))
    }
    return null
  }

  /** What it throws ends the reading: where no row can be told from the next, none is guessed. */
  function onFault(fault: CsvError | undefined): undefined {
    const line = Number(fault?.lines) - countedTwice
    if (fault?.code !== 'INVALID_OPENING_QUOTE' || columns === null) throw endsHere(fault, line)
    // The parser goes on with the next row, and tells every wrong quote of this one.
    if (line === lineOfLastFault) return
    lineOfLastFault = line
    const expected = 'a quote around a whole cell only, and doubled inside it'
    events.push({
      place: `${place}, line ${line}`,
      problems: [problem('', 'not_csv', expected, `a quote inside cell ${Number(fault.column) + 1}`)],
    })
  }

  function endsHere(fault: CsvError | undefined, line: number): PipelineError {
    const told: Record<string, string> = {
      CSV_QUOTE_NOT_CLOSED: `the row after line ${lastLine} has a quote that is never closed`,
      CSV_MAX_RECORD_SIZE: `the row after line ${lastLine} has more than ${rowCharactersMax} characters, or a quote that is never closed`,
      CSV_INVALID_CLOSING_QUOTE: `in line ${line} a cell goes on after its closing quote; a quote inside a quoted cell is doubled`,
    }
    const why = told[fault?.code ?? ''] ?? `line ${line}: ${fault?.message ?? 'it is no CSV'}`
    return new PipelineError('input_unreadable', `${place} cannot be read as CSV: ${why}.`, { cause: fault })
  }

  const parser = parse({
    bom: true,
    delimiter,
    record_delimiter: ['\r\n', '\n'],
    relax_column_count: true,
    skip_empty_lines: true,
    skip_records_with_error: true,
    max_record_size: rowCharactersMax,
    on_record: onRow,
    on_skip: onFault,
  })
  const failed = new Promise<never>((_, reject) => parser.once('error', reject))
  // Whoever waits for a piece hears of it.
  failed.catch(() => undefined)

  const take = () => {
    const taken = events
    events = []
    return taken
  }
  for await (const piece of bytes) {
    await Promise.race([written(parser, piece), failed])
    if (events.length > 0) yield take()
  }
  await Promise.race([ended(parser), failed])
  if (columns === null)
    throw new PipelineError('input_unreadable', `${place} is empty: expected a row with the names of columns.`)
  if (events.length > 0) yield take()
}

/** Every row of the piece has been handed over when it resolves. */
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
