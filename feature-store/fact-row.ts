/**
 * From a validated event to the row of numbers that it leaves in an entity's log. The batch loop calls the compiled
 * function per event.
 */
import assert from 'node:assert/strict'
import type { EventValues } from '../schemas/kernel/event.ts'
import type { EntityPlan, FactSource, StreamPlan } from '../schemas/plan/plan.ts'

/**
 * Writes the fact of `event`, an event of stream `stream` at canonical order number `order`, into the first
 * `layout.width` elements of `row`. Only for streams that leave facts with the entity.
 */
export type WriteFactRow = (stream: number, event: EventValues, order: number, row: Float64Array) => void

export function compileFactRow(entity: EntityPlan, streams: readonly StreamPlan[]): WriteFactRow {
  const writers: Array<((event: EventValues, order: number, row: Float64Array) => void) | undefined> = []
  for (const source of entity.layout.sources) {
    const stream = streams.find((candidate) => candidate.index === source.stream)
    assert(stream, `stream ${source.stream} of entity ${entity.name} is not in the plan`)
    writers[source.stream] = compileSource(source, stream, entity.layout.knownColumn)
  }
  return (stream, event, order, row) => {
    const write = writers[stream]
    assert(write, `stream ${stream} leaves no facts with entity ${entity.name}`)
    write(event, order, row)
  }
}

function compileSource(source: FactSource, stream: StreamPlan, knownColumn: number | null) {
  const columns = source.values.map(({ field, column, decimals }) => ({
    field,
    column,
    scale: decimals === null ? null : 10 ** decimals,
  }))
  return (event: EventValues, order: number, row: Float64Array): void => {
    // Columns that another stream fills stay missing.
    row.fill(Number.NaN)
    row[0] = timeOf(event, source.atField, stream)
    row[1] = order
    row[2] = idHash(idOf(event, stream))
    if (knownColumn !== null) row[knownColumn] = timeOf(event, stream.timeField, stream)
    for (const { field, column, scale } of columns) row[column] = numberOf(event, field, scale, stream)
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

/**
 * The 53-bit hash of an event id: cyrb53 (bryc, public domain), two 32-bit multiply-xor lanes over UTF-16 units, mixed
 * at the end. Not for secrets: who can choose ids can make two of them collide. Two of 262,144 different ids collide
 * with a chance of 4 in a million.
 */
export function idHash(id: string): number {
  let high = 0xdeadbeef
  let low = 0x41c6ce57
  for (let index = 0; index < id.length; index++) {
    const unit = id.charCodeAt(index)
    high = Math.imul(high ^ unit, 2654435761)
    low = Math.imul(low ^ unit, 1597334677)
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507)
  high ^= Math.imul(low ^ (low >>> 13), 3266489909)
  low = Math.imul(low ^ (low >>> 16), 2246822507)
  low ^= Math.imul(high ^ (high >>> 13), 3266489909)
  return 2 ** 32 * (low & 0x1fffff) + (high >>> 0)
}
