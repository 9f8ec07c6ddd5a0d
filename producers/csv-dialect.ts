/** The beginning of a CSV in, its separator and its first rows out; called by `csv.ts` before the first row is read. */
import { parse } from 'csv-parse/sync'
import { PipelineError } from '../schemas/kernel/errors.ts'

export interface CsvHead {
  readonly delimiter: string
  /** Rows behind the header, as many as the beginning holds. */
  readonly rows: ReadonlyArray<readonly string[]>
}

const candidates = [',', ';', '\t', '|'] as const
const sampleRowsMax = 10_000
/** Rows that have as many cells as the header. */
const regularShareMin = 0.9

/** `given`: null where the separator is to be found. `wanted`: columns that are read, to choose where two separators fit. */
export function csvHead(
  text: string,
  {
    given,
    fallback,
    wanted,
    sourceName,
  }: {
    readonly given: string | null
    readonly fallback: string
    readonly wanted: ReadonlySet<string>
    readonly sourceName: string
  },
): CsvHead {
  if (given !== null) return { delimiter: given, rows: rowsOf(text, given).slice(1) }
  const fitting = candidates
    .map((delimiter) => ({ delimiter, rows: rowsOf(text, delimiter) }))
    .filter(({ rows }) => isRegular(rows))
  const found = (rows: CsvHead['rows']) => rows[0]!.filter((name) => wanted.has(name.trim())).length
  const most = Math.max(...fitting.map(({ rows }) => found(rows)))
  const best = fitting.filter(({ rows }) => found(rows) === most)
  if (best.length > 1) {
    const named = best.map(({ delimiter }) => JSON.stringify(delimiter)).join(' or ')
    throw new PipelineError(
      'usage',
      `The cells of ${sourceName} may be separated by ${named}: say which with --delimiter.`,
    )
  }
  const [only] = best
  if (only === undefined) return { delimiter: fallback, rows: rowsOf(text, fallback).slice(1) }
  return { delimiter: only.delimiter, rows: only.rows.slice(1) }
}

function isRegular([header, ...rows]: CsvHead['rows']): boolean {
  if (header === undefined || header.length < 2) return false
  return rows.filter(({ length }) => length === header.length).length >= rows.length * regularShareMin
}

/** Malformed rows are left out: they are reported where the file is read. */
function rowsOf(text: string, delimiter: string): string[][] {
  try {
    return parse(text, {
      bom: true,
      delimiter,
      record_delimiter: ['\r\n', '\n'],
      relax_column_count: true,
      skip_empty_lines: true,
      skip_records_with_error: true,
      to: sampleRowsMax,
    })
  } catch (error) {
    // The beginning may end within quotes, and by a wrong separator anything may.
    if ((error as { readonly code?: string }).code?.startsWith('CSV_')) return []
    throw error
  }
}
