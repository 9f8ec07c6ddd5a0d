/**
 * Tables on the disk for one command: rows go in one at a time, rows come out as a query sorts and joins them, within a bound of memory.
 * Called by `recompute`.
 */
import { join } from 'node:path'
import { DuckDBDataChunk, DuckDBInstance, type DuckDBType, type DuckDBValue } from '@duckdb/node-api'
import { temporaryFolder } from '../../runtime/temporary-folder.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'

export interface SpillTable {
  add(row: readonly DuckDBValue[]): void
  /** Queries see what was added before. */
  finish(): void
}

export interface Spill {
  table(name: string, columns: Readonly<Record<string, DuckDBType>>): Promise<SpillTable>
  /** Rows in pieces. */
  query(sql: string): AsyncGenerator<DuckDBValue[][], void, void>
}

/** Of DuckDB; what does not fit is on the disk. */
const memoryMegabytesMax = 256
/** Of a DuckDB chunk. */
const chunkRowsMax = 2_048

/** The tables are gone once `work` has ended. */
export async function withSpill<T>(work: (spill: Spill) => Promise<T>): Promise<T> {
  const temporary = await temporaryFolder('millrace-recompute-')
  const folder = temporary.path
  let instance: DuckDBInstance | null = null
  try {
    instance = await DuckDBInstance.create(join(folder, 'history.duckdb'), {
      threads: '1',
      memory_limit: `${memoryMegabytesMax}MiB`,
      temp_directory: folder,
      preserve_insertion_order: 'false',
      autoinstall_known_extensions: 'false',
    })
    return await work(spillIn(instance))
  } catch (cause) {
    if (cause instanceof PipelineError || !isDuckDbFailure(cause)) throw cause
    throw new PipelineError(
      'output_unwritable',
      `The events cannot be sorted in ${folder}: ${cause.message.split('\n')[0]}. They need about twice their size on the disk; TMPDIR ` +
        'names another folder.',
      { cause },
    )
  } finally {
    instance?.closeSync()
    await temporary.remove()
  }
}

/** DuckDB rejects with plain errors that begin with their kind, such as `IO Error: …`. */
function isDuckDbFailure(cause: unknown): cause is Error {
  return (
    cause instanceof Error && /^(?:IO|Out of Memory|Internal|Catalog|Binder|Invalid Input) Error/.test(cause.message)
  )
}

function spillIn(instance: DuckDBInstance): Spill {
  return {
    async table(name, columns) {
      const connection = await instance.connect()
      const types = Object.values(columns)
      const declared = Object.entries(columns).map(([column, type]) => `${column} ${type.toString()}`)
      await connection.run(`CREATE TABLE ${name} (${declared.join(', ')})`)
      const appender = await connection.createAppender(name)
      let rows: Array<readonly DuckDBValue[]> = []
      const write = () => {
        if (rows.length === 0) return
        const chunk = DuckDBDataChunk.create(types, rows.length)
        for (let i = 0; i < types.length; i++)
          chunk.setColumnValues(
            i,
            rows.map((row) => row[i]!),
          )
        appender.appendDataChunk(chunk)
        rows = []
      }
      return {
        add(row) {
          if (rows.push(row) >= chunkRowsMax) write()
        },
        finish() {
          write()
          appender.closeSync()
          connection.closeSync()
        },
      }
    },
    async *query(sql) {
      const connection = await instance.connect()
      try {
        const result = await connection.stream(sql)
        for (;;) {
          const chunk = await result.fetchChunk()
          if (chunk === null || chunk.rowCount === 0) return
          yield chunk.getRows()
        }
      } finally {
        connection.closeSync()
      }
    },
  }
}
