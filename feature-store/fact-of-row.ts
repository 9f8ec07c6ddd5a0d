/**
 * The same fact as `fact-row.ts` makes of an event by name, of one that lies in rows: numbers and bytes are read where they are. The batch
 * loop calls the compiled function per event.
 */
import assert from 'node:assert/strict'
import { createKeyedHash, type HashKey, hashIdBytes, hashIdText, type KeyedHash } from '../schemas/kernel/keyed-hash.ts'
import type { EntityPlan, FactSource, StreamPlan } from '../schemas/plan/plan.ts'
import { type EventRows, textAt } from '../schemas/wire/event-rows.ts'
import { compileContentOfRow } from './event-content.ts'
import { contentWord, type FactRow, idWord } from './fact-row.ts'

/** As `WriteFactRow`, of the event in row `index` of `rows`. */
export type WriteFactOfRow = (stream: number, rows: EventRows, index: number, order: number, fact: FactRow) => void

type WriteSource = (rows: EventRows, index: number, order: number, fact: FactRow) => void

export function compileFactOfRow(entity: EntityPlan, streams: readonly StreamPlan[], hashKey: HashKey): WriteFactOfRow {
  const hash = createKeyedHash(hashKey)
  const writers: Array<WriteSource | undefined> = []
  for (const source of entity.layout.sources) {
    writers[source.stream] = compileSource(source, streams[source.stream]!, entity.layout.knownColumn ?? -1, hash)
  }
  return (stream, rows, index, order, fact) => {
    const write = writers[stream]
    assert(write, `stream ${stream} leaves no facts with entity ${entity.name}`)
    write(rows, index, order, fact)
  }
}

function compileSource(source: FactSource, stream: StreamPlan, knownColumn: number, hash: KeyedHash): WriteSource {
  const { layout } = stream.codec
  const { textCount, numberCount } = layout
  const columnOf = (name: string) => layout.fields.find((field) => field.name === name)!.column
  const atColumn = columnOf(source.atField)
  const values = source.values.map(({ field, column, decimals }) => {
    return { from: columnOf(field), column, scale: decimals === null ? 0 : 10 ** decimals }
  })
  const writeContent = compileContentOfRow(stream, hash)
  return (rows, index, order, { cells, words }) => {
    const { numbers } = rows
    const first = index * numberCount
    // Columns that another stream fills stay missing.
    cells.fill(Number.NaN)
    const time = numbers[first + atColumn]!
    if (!Number.isFinite(time)) assert.fail(`${stream.name}.${source.atField} is not a time`)
    cells[0] = time
    cells[1] = order
    hashId(hash, stream.index, rows, index * textCount + stream.columns.id)
    words[idWord] = hash.low
    words[idWord + 1] = hash.high
    writeContent(rows, index, words, contentWord)
    if (knownColumn >= 0) cells[knownColumn] = numbers[first + stream.columns.time]!
    for (let i = 0; i < values.length; i++) {
      const { from, column, scale } = values[i]!
      const value = numbers[first + from]!
      cells[column] = (scale === 0 ? value : Math.round(value * scale)) + 0
    }
  }
}

function hashId(hash: KeyedHash, stream: number, rows: EventRows, at: number): void {
  const start = rows.textStarts[at]!
  if (start >= 0) hashIdBytes(hash, stream, rows.bytes, start, rows.textEnds[at]!)
  else hashIdText(hash, stream, textAt(rows, at)!)
}
