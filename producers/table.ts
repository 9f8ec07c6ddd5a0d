/**
 * The columns of a file in, a reader that turns its rows into events out; called by `csv.ts` and `parquet.ts`. Missing columns are
 * reported once, before the first row, with the `--map` that would fix them.
 */
import { createHash } from 'node:crypto'
import type { Mapping } from '../schemas/definition/definition.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { FieldPlan, Problem } from '../schemas/kernel/event.ts'
import { editsBetween } from '../schemas/kernel/nearest-name.ts'
import { showCell, showValue } from '../schemas/kernel/show-value.ts'
import type { StreamPlan } from '../schemas/plan/plan.ts'
import { problem } from '../schemas/wire/event-codec.ts'
import { type CellOptions, type CellReader, createCellReader, isFault, plainCells } from './cells.ts'
import { type DayMonth, dayMonthOf, isYearLast } from './date-format.ts'
import { createMappedFields, textField } from './mapped-fields.ts'
import type { SourceEvent } from './prepare.ts'

/** How to read a source of rows. */
export interface RowOptions {
  /** Name of the source, for messages. */
  readonly sourceName: string
  readonly streams: ReadonlyArray<Pick<StreamPlan, 'name' | 'fields'> & { readonly idField?: string }>
  /** Stream of every row; null: each row names its own in `stream`. */
  readonly stream: string | null
  /** Names in the source by names of fields, or by `stream.field`, where they differ. */
  readonly map: ReadonlyMap<string, string>
  /** How texts are read; as they are by default. */
  readonly cells?: CellOptions
  /** Where ids come from, if from no column. */
  readonly id?: RowId | null
  readonly mapping?: Mapping | null
  /** Gets notes on the source, such as columns that are not read. */
  readonly printLine: (line: string) => void
}

/** The number of the row behind a prefix, or a hash of some columns, of all where none are named. */
export type RowId =
  | { readonly kind: 'row'; readonly prefix: string }
  | { readonly kind: 'hash'; readonly columns: readonly string[] | null }

export interface Table {
  /** Indices of the columns that are read, ascending. */
  readonly used: readonly number[]
  /** `cell`: the value of a row in a column, in a form that the field accepts. `row`: its number, from 1. */
  event(cell: Cell, location: string, row: number): SourceEvent
  /** At the end: notes on the rows. */
  finish(): void
}

export type Cell = (column: number, field: FieldPlan) => unknown

type Target = RowOptions['streams'][number]

/** A column to read and its field. */
interface PickedColumn {
  readonly field: FieldPlan
  readonly column: number
}

const streamField: FieldPlan = { name: 'stream', kind: 'text', optional: false }

/** Throws `usage` for columns that do not fit the streams. `sample`: some texts of a column, to know the order of its days and months. */
export function readTable(
  columns: readonly string[],
  options: RowOptions,
  sample: (column: number) => readonly string[] = () => [],
): Table {
  const { sourceName, streams, stream, printLine, mapping = null, id = null } = options
  const streamColumn = columns.indexOf(streamField.name)
  if (stream === null && streamColumn === -1) throw namesNoStream(columns, options)
  checkMapped(columns, options)
  const targets = stream === null ? streams : streams.filter(({ name }) => name === stream)
  const picks = new Map(targets.map((target) => [target.name, picksOf(target, columns, options)]))
  const lacking = targets.filter((target) => lacks(target, picks.get(target.name)!, options).length > 0)
  // Where each row names its stream, the file need not have the columns of all streams.
  if (lacking.length === targets.length) throw lacksColumns(lacking[0]!, columns, options)

  const used = new Set([...picks.values()].flat().map(({ column }) => column))
  if (stream === null) used.add(streamColumn)
  const hashed = id?.kind === 'hash' ? columnsOfHash(id.columns, columns, sourceName) : []
  for (const column of mapping === null ? hashed : columns.keys()) used.add(column)
  const reader = createCellReader(options.cells ?? plainCells)
  const orders = dayMonths([...picks.values()].flat(), columns, sample, options)
  const compute = mapping === null ? null : createMappedFields(mapping, columns, sourceName)
  const ignored = columns.filter((name, column) => !used.has(column) && name !== '')
  if (ignored.length > 0) printLine(`${sourceName}: columns that are not read: ${ignored.join(', ')}.`)

  function event(cell: Cell, location: string, row: number): SourceEvent {
    const named = stream ?? cell(streamColumn, streamField)
    const target = targets.find(({ name }) => name === named)
    if (target === undefined) {
      const expected = `one of ${targets.map(({ name }) => name).join(', ')}`
      return { location, problems: [problem('/stream', 'type', expected, shownCell(named))] }
    }
    if (lacking.includes(target)) throw lacksColumns(target, columns, options)
    return readRow({ reader, orders, hashed, compute, id }, target, picks.get(target.name)!, { cell, location, row })
  }

  function finish(): void {
    if (reader.overlaps === 0) return
    const { zone, overlap } = options.cells!
    const taken = overlap === 'refuse' ? 'they are refused' : `the ${overlap} instant is taken (--overlap)`
    printLine(`${sourceName}: ${reader.overlaps} times are in an hour that ${zone!.name} had twice: ${taken}.`)
  }

  return { used: [...used].sort((a, b) => a - b), event, finish }
}

interface RowReading {
  readonly reader: CellReader
  /** By column. */
  readonly orders: ReadonlyMap<number, DayMonth>
  readonly hashed: readonly number[]
  readonly compute: ReturnType<typeof createMappedFields> | null
  readonly id: RowId | null
}

function readRow(
  { reader, orders, hashed, compute, id }: RowReading,
  target: Target,
  picks: readonly PickedColumn[],
  { cell, location, row }: { readonly cell: Cell; readonly location: string; readonly row: number },
): SourceEvent {
  const values: Record<string, unknown> = {}
  const problems: Problem[] = []
  const set = (field: FieldPlan, raw: unknown, order?: DayMonth) => {
    const value = typeof raw === 'string' ? reader.read(raw, field, order) : raw
    values[field.name] = isFault(value) ? raw : value
    if (isFault(value)) problems.push(problem(`/${field.name}`, 'type', value.cellExpected, shownCell(raw)))
  }
  for (const { field, column } of picks) set(field, cell(column, field), orders.get(column))
  if (id && target.idField !== undefined)
    values[target.idField] = id.kind === 'row' ? `${id.prefix}-${row}` : hashOf(hashed, cell)
  if (compute) {
    const computed = compute(cell, row)
    if (computed.kind === 'left out') return { leftOut: true, location }
    for (const field of target.fields) if (computed.values.has(field.name)) set(field, computed.values.get(field.name))
    problems.push(...computed.problems)
  }
  if (problems.length > 0) return { problems, location, cells: { stream: target.name, values } }
  return { stream: target.name, values, location, isText: true }
}

function namesNoStream(columns: readonly string[], { sourceName, streams }: RowOptions): PipelineError {
  const names = streams.map(({ name }) => name).join(', ')
  return new PipelineError(
    'usage',
    `${sourceName} does not say which stream its rows belong to: name it with --stream (${names}), or give the file a ` +
      `column stream.${columnsText(columns)}`,
  )
}

function columnsOfHash(names: readonly string[] | null, columns: readonly string[], sourceName: string): number[] {
  if (names === null) return [...columns.keys()]
  return names.map((name) => {
    const column = columns.indexOf(name)
    if (column !== -1) return column
    throw new PipelineError(
      'usage',
      `--id names ${name}, a column that ${sourceName} does not have.${columnsText(columns)}`,
    )
  })
}

/** 132 bits in 22 characters. Equal rows have equal ids: the pipeline drops the second as a duplicate. */
function hashOf(columns: readonly number[], cell: Cell): string {
  const cells = columns.map((column) => String(cell(column, textField) ?? ''))
  return createHash('sha256').update(JSON.stringify(cells)).digest('base64url').slice(0, 22)
}

/** By column, for those that hold dates with the year last. Throws `usage` where the rows do not say which is the day. */
function dayMonths(
  picks: readonly PickedColumn[],
  columns: readonly string[],
  sample: (column: number) => readonly string[],
  { sourceName, cells = plainCells, printLine }: RowOptions,
): Map<number, DayMonth> {
  const found = new Map<number, DayMonth>()
  for (const { field, column } of picks) {
    if (field.kind !== 'timestamp' || cells.dates.has(field.name) || found.has(column)) continue
    const texts = sample(column).map((text) => text.trim())
    const order = dayMonthOf(texts)
    if (order === null) continue
    const shown = texts.find(isYearLast)
    if (order === 'both') {
      throw new PipelineError(
        'usage',
        `Column ${columns[column]} of ${sourceName} holds dates such as ${shown}, and none of the first ${texts.length} rows ` +
          `shows which is the day: give the format, as with --dates ${field.name}=dd/MM/yyyy or --dates ${field.name}=MM/dd/yyyy.`,
      )
    }
    printLine(
      `${sourceName}: dates such as ${shown} in ${columns[column]} are read with the ${order}, as their values show.`,
    )
    found.set(column, order)
  }
  return found
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

function picksOf(target: Target, columns: readonly string[], options: RowOptions): PickedColumn[] {
  const { sourceName, map } = options
  return target.fields.flatMap((field) => {
    if (computedFields(target, options).has(field.name)) return []
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

function lacks(target: Target, picks: readonly PickedColumn[], options: RowOptions): FieldPlan[] {
  const computed = computedFields(target, options)
  return target.fields.filter(
    (field) => !field.optional && !computed.has(field.name) && !picks.some((pick) => pick.field === field),
  )
}

/** Fields that come from no column. */
function computedFields(target: Target, { id, mapping }: RowOptions): Set<string> {
  const names = new Set(mapping ? Object.keys(mapping.fields) : [])
  if (id && target.idField !== undefined) names.add(target.idField)
  return names
}

function lacksColumns(target: Target, columns: readonly string[], options: RowOptions): PipelineError {
  const { sourceName, map } = options
  const picks = picksOf(target, columns, options)
  const missing = lacks(target, picks, options).map(({ name }) => name)
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

/** Of a mapping or a Parquet file it may be any value. */
function shownCell(value: unknown): string {
  return typeof value === 'string' ? showCell(value) : showValue(value)
}
