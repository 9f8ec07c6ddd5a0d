/**
 * A DuckDB file with one connection that writes and one that reads, each doing one thing after the other. Called by the training store
 * only; every failure of DuckDB leaves here as a `PipelineError`.
 */
import assert from 'node:assert/strict'
import { realpathSync } from 'node:fs'
import {
  type DuckDBConnection,
  type DuckDBDataChunk,
  DuckDBInstance,
  type DuckDBValue,
  version as duckdbVersion,
} from '@duckdb/node-api'
import { PipelineError } from '../../schemas/kernel/errors.ts'

export interface DatabaseOptions {
  /** Path of the file, or `:memory:`. */
  readonly file: string
  /** The most that DuckDB holds in memory; what does not fit goes to disk beside the file. */
  readonly memoryBytesMax: number
  /** Threads that a statement may use: few, so that scoring keeps the processor. */
  readonly threads: number
  readonly isReadOnly?: boolean
}

/** Of a statement's parameters, by name. */
export type Values = Readonly<Record<string, DuckDBValue>>

/** What a connection does for as long as it is lent. */
export interface Session {
  run(sql: string, values?: Values): Promise<number>
  /** All rows as values; for few rows. */
  all(sql: string, values?: Values): Promise<DuckDBValue[][]>
  /** Rows in pieces as they come. */
  each(sql: string, values: Values, take: (chunk: DuckDBDataChunk) => void): Promise<void>
  /** Chunks that `fill` hands over become rows of a table. */
  append(table: string, fill: (add: (chunk: DuckDBDataChunk) => void) => void): Promise<void>
}

export interface Database {
  /** One transaction: all that `work` does or nothing. */
  transact<T>(work: (session: Session) => Promise<T>): Promise<T>
  /** The connection that writes, outside a transaction. */
  maintain<T>(work: (session: Session) => Promise<T>): Promise<T>
  /** A snapshot of the file as of its start; later writes are not seen. */
  read<T>(work: (session: Session) => Promise<T>): Promise<T>
  /** Waits for what is under way. The same promise each time. */
  close(): Promise<void>
}

/**
 * Files that this process has open. The lock of a file belongs to the process: opened once more in it, the file would be lent out
 * twice, and the first to close would let other processes in.
 */
const openHere = new Set<string>()
const inMemory = ':memory:'

export async function openDatabase(options: DatabaseOptions): Promise<Database> {
  const { file, memoryBytesMax, threads, isReadOnly = false } = options
  const settings = {
    threads: String(threads),
    memory_limit: `${Math.floor(memoryBytesMax / 1_048_576)}MiB`,
    // Nothing is fetched from anywhere while a statement runs.
    autoinstall_known_extensions: 'false',
    ...(isReadOnly ? { access_mode: 'READ_ONLY' } : {}),
  }
  if (openHere.has(identityOf(file))) throw lockedFailure(file, 'this process has it open already')
  const instance = await DuckDBInstance.create(file, settings).catch((cause: unknown) => {
    throw openingFailure(file, cause)
  })
  const identity = identityOf(file)
  if (file !== inMemory) openHere.add(identity)
  try {
    const [writer, reader] = [await instance.connect(), await instance.connect()]
    return createDatabase(file, [writer, reader], () => {
      instance.closeSync()
      openHere.delete(identity)
    })
  } catch (cause) {
    instance.closeSync()
    openHere.delete(identity)
    throw openingFailure(file, cause)
  }
}

/** The same file under another name is the same file; one that does not exist yet is open nowhere. */
function identityOf(file: string): string {
  if (file === inMemory) return file
  try {
    return realpathSync(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw openingFailure(file, error)
    return file
  }
}

function createDatabase(
  file: string,
  [writer, reader]: readonly [DuckDBConnection, DuckDBConnection],
  closeInstance: () => void,
): Database {
  let closing: Promise<void> | null = null
  const writes = createTurns()
  const reads = createTurns()
  const writing = sessionOf(file, writer)
  const reading = sessionOf(file, reader)

  return {
    transact: (work) => writes(() => transact(writer, writing, work)),
    maintain: (work) => writes(() => work(writing)),
    read: (work) => reads(() => transact(reader, reading, work)),
    close() {
      closing ??= Promise.all([writes(async () => writer.closeSync()), reads(async () => reader.closeSync())]).then(
        closeInstance,
      )
      return closing
    },
  }
}

async function transact<T>(connection: DuckDBConnection, session: Session, work: (session: Session) => Promise<T>) {
  await session.run('BEGIN TRANSACTION')
  try {
    const result = await work(session)
    await session.run('COMMIT')
    return result
  } catch (error) {
    await rollBack(connection)
    throw error
  }
}

/** A failure may have ended the transaction by itself. */
async function rollBack(connection: DuckDBConnection): Promise<void> {
  try {
    await connection.run('ROLLBACK')
  } catch (error) {
    if (!String(error).includes('no transaction is active')) throw error
  }
}

/** One after the other, in the order of asking. */
function createTurns(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return (work) => {
    const mine = last.then(work)
    // The caller receives the failure; the next call only waits for the end.
    last = mine.catch(() => undefined)
    return mine
  }
}

function sessionOf(file: string, connection: DuckDBConnection): Session {
  const guarded = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (cause) {
      throw cause instanceof PipelineError ? cause : statementFailure(file, cause)
    }
  }
  return {
    run: (sql, values) => guarded(async () => (await connection.run(sql, values)).rowsChanged),
    all: (sql, values) => guarded(async () => (await connection.run(sql, values)).getRows()),
    each: (sql, values, take) =>
      guarded(async () => {
        const result = await connection.stream(sql, values)
        for (;;) {
          const chunk = await result.fetchChunk()
          if (chunk === null || chunk.rowCount === 0) return
          take(chunk)
        }
      }),
    append: (table, fill) =>
      guarded(async () => {
        const appender = await connection.createAppender(table)
        try {
          fill((chunk) => appender.appendDataChunk(chunk))
          appender.flushSync()
        } finally {
          appender.closeSync()
        }
      }),
  }
}

const reasonOf = (cause: unknown) => (cause instanceof Error ? cause.message : String(cause)).split('\n')[0]!

function openingFailure(file: string, cause: unknown): PipelineError {
  const reason = reasonOf(cause)
  if (/lock on file/i.test(reason)) {
    const holder = /\(PID (\d+)\)/.exec(reason)?.[1]
    return lockedFailure(file, holder ? `process ${holder} has it open` : 'another process has it open', cause)
  }
  if (/no such file or directory|permission denied|is a directory|read-only/i.test(reason)) {
    return new PipelineError(
      'training_store_failed',
      `The training store ${file} cannot be opened: ${reason}. Name a file in a folder that exists and may be written to.`,
      { cause, details: { file } },
    )
  }
  return unreadableFailure(file, `DuckDB ${duckdbVersion()} says: ${reason}`, cause)
}

function lockedFailure(file: string, holder: string, cause?: unknown): PipelineError {
  return new PipelineError(
    'training_store_locked',
    `The training store ${file} is taken: ${holder}, and DuckDB lets one process in. ` +
      'Stop that one, name another file, or read a snapshot.',
    { cause, details: { file } },
  )
}

export function unreadableFailure(file: string, reason: string, cause?: unknown): PipelineError {
  return new PipelineError(
    'training_store_unreadable',
    `The training store ${file} cannot be read: ${reason}. Remove the file: the next start builds it again from Kafka.`,
    { cause, details: { file } },
  )
}

function statementFailure(file: string, cause: unknown): PipelineError {
  assert(!/^(?:Parser|Binder|Catalog) Error/.test(reasonOf(cause)), `a wrong statement: ${reasonOf(cause)}`)
  return new PipelineError('training_store_failed', `The training store ${file} failed: ${reasonOf(cause)}`, {
    cause,
    details: { file },
  })
}
