/** Rows into DuckDB's chunks and chunks into typed arrays: the only code that knows how DuckDB lays out its columns. */
import assert from 'node:assert/strict'
import {
  BIGINT,
  DOUBLE,
  DuckDBBigIntVector,
  DuckDBDataChunk,
  DuckDBDoubleVector,
  type DuckDBType,
  DuckDBUTinyIntVector,
  INTEGER,
  UTINYINT,
  VARCHAR,
} from '@duckdb/node-api'

/** Rows that a chunk takes. */
export const chunkRowsMax = 2_048

/** One column of a table: what its rows hold. */
export type Column<T> =
  | { readonly type: 'text'; readonly of: (row: T) => string | null }
  | { readonly type: 'double' | 'integer' | 'tiny'; readonly of: (row: T) => number | null }
  | { readonly type: 'bigint'; readonly of: (row: T) => number }

const types: Record<Column<unknown>['type'], DuckDBType> = {
  text: VARCHAR,
  double: DOUBLE,
  bigint: BIGINT,
  integer: INTEGER,
  tiny: UTINYINT,
}

/** Hands over all rows in chunks. `vectorOf`: a run of doubles after the columns. */
export function fillChunks<T>(
  rows: readonly T[],
  columns: ReadonlyArray<Column<T>>,
  vector: { readonly width: number; readonly of: (row: T) => ArrayLike<number> } | null,
  add: (chunk: DuckDBDataChunk) => void,
): void {
  const width = vector?.width ?? 0
  const chunkTypes = [...columns.map(({ type }) => types[type]), ...Array.from({ length: width }, () => DOUBLE)]
  for (let from = 0; from < rows.length; from += chunkRowsMax) {
    const part = rows.slice(from, from + chunkRowsMax)
    const chunk = DuckDBDataChunk.create(chunkTypes, part.length)
    columns.forEach((column, at) => {
      fillColumn(chunk, at, column, part)
    })
    if (vector !== null) fillVectors(chunk, columns.length, part.map(vector.of), width)
    add(chunk)
  }
}

function fillColumn<T>(chunk: DuckDBDataChunk, at: number, column: Column<T>, rows: readonly T[]): void {
  const into = chunk.getColumnVector(at)
  if (into instanceof DuckDBBigIntVector) {
    assert(column.type === 'bigint')
    for (let i = 0; i < rows.length; i++) into.setItem(i, BigInt(column.of(rows[i]!)))
  } else {
    for (let i = 0; i < rows.length; i++) into.setItem(i, column.of(rows[i]!))
  }
  into.flush()
}

/** NaN is what is missing: the statement that reads the rows makes it null, which is quicker than one by one. */
function fillVectors(chunk: DuckDBDataChunk, first: number, vectors: ReadonlyArray<ArrayLike<number>>, width: number) {
  for (let feature = 0; feature < width; feature++) {
    const into = doublesOf(chunk, first + feature)
    for (let i = 0; i < vectors.length; i++) into.setItem(i, vectors[i]![feature]!)
    into.flush()
  }
}

function doublesOf(chunk: DuckDBDataChunk, column: number): DuckDBDoubleVector {
  const vector = chunk.getColumnVector(column)
  assert(vector instanceof DuckDBDoubleVector, `column ${column} is ${vector.type}`)
  return vector
}

/** A column of doubles that holds no null into every `step`th element of an array. */
export function readDoubles(chunk: DuckDBDataChunk, column: number, into: Float64Array, at: number, step = 1): void {
  const items = doublesOf(chunk, column)
  for (let i = 0, to = at; i < items.itemCount; i++, to += step) into[to] = items.getItem(i)!
}

/** A column of small whole numbers that holds no null. */
export function readTiny(chunk: DuckDBDataChunk, column: number, into: Uint8Array, at: number): void {
  const items = chunk.getColumnVector(column)
  assert(items instanceof DuckDBUTinyIntVector, `column ${column} is ${items.type}`)
  for (let i = 0; i < items.itemCount; i++) into[at + i] = items.getItem(i)!
}

export function textsOf(chunk: DuckDBDataChunk, column: number): Array<string | null> {
  return chunk.getColumnValues(column) as Array<string | null>
}
