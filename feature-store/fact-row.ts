/**
 * From a validated event to the row that it leaves in an entity's log: its times, the keyed hashes of its id and content, its values. The
 * batch loop calls the compiled function per event.
 */
import assert from 'node:assert/strict'
import type { EventValues } from '../schemas/kernel/event.ts'
import { createKeyedHash, type HashKey, hashIdText, type KeyedHash } from '../schemas/kernel/keyed-hash.ts'
import type { EntityPlan, FactLayout, FactSource, StreamPlan } from '../schemas/plan/plan.ts'
import { compileContent } from './event-content.ts'

/** One row: `words` are its cells as pairs of little-endian 32-bit halves. What is not a number is read and copied as words only. */
export interface FactRow {
  readonly cells: Float64Array
  readonly words: Int32Array
}

/** Words of a row, each the first of a cell's two: see `FactLayout`. */
export const idWord = 4
export const contentWord = 6

export function createFactRow({ width }: Pick<FactLayout, 'width'>): FactRow {
  const cells = new Float64Array(width)
  return { cells, words: new Int32Array(cells.buffer) }
}

/**
 * Writes the fact of `event`, an event of stream `stream` at canonical order number `order`, into `row`. Only for streams that leave facts
 * with the entity.
 */
export type WriteFactRow = (stream: number, event: EventValues, order: number, row: FactRow) => void

export function compileFactRow(entity: EntityPlan, streams: readonly StreamPlan[], hashKey: HashKey): WriteFactRow {
  const hash = createKeyedHash(hashKey)
  const writers: Array<((event: EventValues, order: number, row: FactRow) => void) | undefined> = []
  for (const source of entity.layout.sources) {
    const stream = streams.find((candidate) => candidate.index === source.stream)
    assert(stream, `stream ${source.stream} of entity ${entity.name} is not in the plan`)
    writers[source.stream] = compileSource(source, stream, entity.layout.knownColumn, hash)
  }
  return (stream, event, order, row) => {
    const write = writers[stream]
    assert(write, `stream ${stream} leaves no facts with entity ${entity.name}`)
    write(event, order, row)
  }
}

function compileSource(source: FactSource, stream: StreamPlan, knownColumn: number | null, hash: KeyedHash) {
  const columns = source.values.map(({ field, column, decimals }) => ({
    field,
    column,
    scale: decimals === null ? null : 10 ** decimals,
  }))
  const writeContent = compileContent(stream, hash)
  return (event: EventValues, order: number, row: FactRow): void => {
    const { cells, words } = row
    // Columns that another stream fills stay missing.
    cells.fill(Number.NaN)
    cells[0] = timeOf(event, source.atField, stream)
    cells[1] = order
    hashIdText(hash, stream.index, idOf(event, stream))
    words[idWord] = hash.low
    words[idWord + 1] = hash.high
    writeContent(event, words, contentWord)
    if (knownColumn !== null) cells[knownColumn] = timeOf(event, stream.timeField, stream)
    for (const { field, column, scale } of columns) cells[column] = numberOf(event, field, scale, stream)
  }
}

/** An id may be text or a number; the number 7 and the text '7' are the same id. */
function idOf(event: EventValues, stream: StreamPlan): string {
  const id = event[stream.idField]
  assert(typeof id === 'string' || typeof id === 'number', `${stream.name}.${stream.idField} is not an id`)
  return String(id)
}

function timeOf(event: EventValues, field: string, stream: StreamPlan): number {
  const time = event[field]
  assert(typeof time === 'number' && Number.isFinite(time), `${stream.name}.${field} is not a time`)
  return time
}

function numberOf(event: EventValues, field: string, scale: number | null, stream: StreamPlan): number {
  const value = event[field]
  if (value === null || value === undefined) return Number.NaN
  assert(typeof value !== 'string', `${stream.name}.${field} is text and has no place in a fact`)
  const plain = Number(value)
  // Adding 0 turns -0 into 0, so that equal values are equal bits.
  return (scale === null ? plain : Math.round(plain * scale)) + 0
}
