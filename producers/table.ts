/**
 * The columns of a file in, a reader that turns its rows into events out; called by `csv.ts` and `parquet.ts`. Missing columns are reported
 * once, before the first row, with the `--map` that would fix them.
 */
import { editsBetween } from '../runtime/nearest-name.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { FieldPlan } from '../schemas/kernel/event.ts'
import type { StreamPlan } from '../schemas/plan/plan.ts'
import { problem } from '../schemas/wire/event-codec.ts'
import type { SourceEvent } from './prepare.ts'

/** How to read a source of rows. */
export interface RowOptions {
  /** Name of the source, for messages. */
  readonly sourceName: string
  readonly streams: ReadonlyArray<Pick<StreamPlan, 'name' | 'fields'>>
  /** Stream of every row; null: each row names its own in `stream`. */
  readonly stream: string | null
  /** Names in the source by names of fields, or by `stream.field`, where they differ. */
  readonly map: ReadonlyMap<string, string>
  /** Gets notes on the source, such as columns that are not read. */
  readonly printLine: (line: string) => void
}

export interface Table {
  /** Indices of the columns that are read, ascending. */
  readonly used: readonly number[]
  /** `cell`: the value of a row in a column, in a form that the field accepts. */
  event(cell: (column: number, field: FieldPlan) => unknown, location: string): SourceEvent
}

type Target = RowOptions['streams'][number]

/** A column to read and its field. */
interface PickedColumn {
  readonly field: FieldPlan
  readonly column: number
}

const streamField: FieldPlan = { name: 'stream', kind: 'text', optional: false }

/** Throws `usage` for columns that do not fit the streams. */
export function readTable(columns: readonly string[], options: RowOptions): Table {
  const { sourceName, streams, stream, printLine } = options
  const streamColumn = columns.indexOf(streamField.name)
  if (stream === null && streamColumn === -1) {
    const names = streams.map(({ name }) => name).join(', ')
    throw new PipelineError(
      'usage',
      `${sourceName} does not say which stream its rows belong to: name it with --stream (${names}), or give the file a ` +
        `column stream.${columnsText(columns)}`,
    )
  }
  checkMapped(columns, options)
  const targets = stream === null ? streams : streams.filter(({ name }) => name === stream)
  const picks = new Map(targets.map((target) => [target.name, picksOf(target, columns, options)]))
  const lacking = targets.filter((target) => lacks(target, picks.get(target.name)!).length > 0)
  // Where each row names its stream, the file need not have the columns of all streams.
  if (lacking.length === targets.length) throw lacksColumns(lacking[0]!, columns, options)

  const used = new Set([...picks.values()].flat().map(({ column }) => column))
  if (stream === null) used.add(streamColumn)
  const ignored = columns.filter((name, column) => !used.has(column) && name !== '')
  if (ignored.length > 0) printLine(`${sourceName}: columns that are not read: ${ignored.join(', ')}.`)

  function event(cell: (column: number, field: FieldPlan) => unknown, location: string): SourceEvent {
    const named = stream ?? cell(streamColumn, streamField)
    const target = targets.find(({ name }) => name === named)
    if (target === undefined) {
      const expected = `one of ${targets.map(({ name }) => name).join(', ')}`
      return { location, problems: [problem('/stream', 'type', expected, named)] }
    }
    if (lacking.includes(target)) throw lacksColumns(target, columns, options)
    const values: Record<string, unknown> = {}
    for (const { field, column } of picks.get(target.name)!) values[field.name] = cell(column, field)
    return { stream: target.name, values, location, isText: true }
  }

  return { used: [...used].sort((a, b) => a - b), event }
}

function checkMapped(columns: readonly string[], { sourceName, map }: RowOptions): void {
  for (const [field, column] of map) {
    if (columns.includes(column)) continue
    throw new PipelineError(
      'usage',
      `--map ${field}=${column} names a column that ${sourceName} does not have.${columnsText(columns)}`,
    )
  }
}

function picksOf(target: Target, columns: readonly string[], { sourceName, map }: RowOptions): PickedColumn[] {
  return target.fields.flatMap((field) => {
    const name = map.get(`${target.name}.${field.name}`) ?? map.get(field.name) ?? field.name
    const column = columns.indexOf(name)
    if (column === -1) return []
    if (columns.lastIndexOf(name) !== column) {
      throw new PipelineError(
        'usage',
        `${sourceName} has two columns ${name}, and ${field.name} is read from it: rename one.`,
      )
    }
    return [{ field, column }]
  })
}

function lacks(target: Target, picks: readonly PickedColumn[]): FieldPlan[] {
  return target.fields.filter((field) => !field.optional && !picks.some((pick) => pick.field === field))
}

function lacksColumns(target: Target, columns: readonly string[], options: RowOptions): PipelineError {
  const { sourceName, map } = options
  const picks = picksOf(target, columns, options)
  const missing = lacks(target, picks).map(({ name }) => name)
  const taken = new Set(picks.map(({ column }) => columns[column]!))
  const free = columns.filter((column) => column !== '' && !taken.has(column))
  const suggested = [...map, ...missing.map((field) => [field, nearestColumn(field, free) ?? '<column>'] as const)]
  return new PipelineError(
    'usage',
    `${sourceName} lacks columns that the stream ${target.name} needs: ${missing.join(', ')}.${columnsText(columns)}` +
      `\n  to name them: --map ${quoted(suggested.map(([field, column]) => `${field}=${column}`).join(','))}` +
      (columns.some(looksLikeValue)
        ? '\n  the first row must hold the names of the columns; here it holds values'
        : ''),
    { details: { stream: target.name, missing, columns: [...columns] } },
  )
}

const shownColumnsMax = 100

function columnsText(columns: readonly string[]): string {
  const more = columns.length > shownColumnsMax ? `, … (${columns.length})` : ''
  return `\n  columns of the file: ${columns.slice(0, shownColumnsMax).join(', ')}${more}`
}

function quoted(text: string): string {
  return /^[\w.=,:-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

/** A number or an instant, as the first row of a file without names has them. */
function looksLikeValue(name: string): boolean {
  return /^[+-]?[\d.,]+$/.test(name) || /^\d{4}-\d{2}-\d{2}/.test(name)
}

/** The column whose name is closest to the field's, ignoring case and separators; null where none is close. */
function nearestColumn(field: string, columns: readonly string[]): string | null {
  const plain = (name: string) => name.toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, '')
  const wanted = plain(field)
  let best: string | null = null
  let fewest = Number.POSITIVE_INFINITY
  for (const column of columns) {
    const name = plain(column)
    const edits = editsBetween(wanted, name)
    const isPart = wanted.length >= 4 && name.includes(wanted)
    const isClose = isPart || edits <= Math.max(wanted.length, name.length) * 0.4
    if (!isClose || edits >= fewest) continue
    best = column
    fewest = edits
  }
  return best
}
