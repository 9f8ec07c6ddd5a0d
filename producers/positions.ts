/**
 * A sink that remembers how far a source has been sent: records and the number of rows done are one transaction, so a later run goes on
 * where this one stopped, however it stopped. Opened by `millrace produce`, used by the loop in `produce.ts`.
 *
 * The position is an offset committed in a consumer group of the source's own, with what it belongs to as its metadata. Whoever opens the
 * sink claims it in a transaction of its own; a run that finds another's claim is over.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import type { Broker, Membership, OutRecord, Worker } from '../runtime/broker.ts'
import type { Clock } from '../runtime/clock.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import { differenceFrom, type FileVersion } from './file-version.ts'
import type { Sink } from './produce.ts'

/** What a position belongs to. */
export interface SourceIdentity {
  /** For messages. */
  readonly name: string
  /** Everything that decides which rows the source gives, and in what order; the same text is the same source. */
  readonly key: string
  /** Null where the rows come from no file. */
  readonly file: { readonly path: string; readonly canGrow: boolean; readonly version: FileVersion } | null
}

export interface PositionsOptions {
  readonly broker: Broker
  /** Prefix of the consumer group's name. */
  readonly groupPrefix: string
  /** A topic that the source feeds: its partition 0 carries the offset. */
  readonly topic: string
  readonly source: SourceIdentity
  /** Goes on from the position; without it the position is set back to the first row. */
  readonly isResuming: boolean
  readonly clock: Clock
  /** Ends the waiting for an unreachable Kafka. */
  readonly signal: AbortSignal
  readonly say: (line: string) => void
}

export interface PositionedSink extends Sink {
  /** Rows that a run before was done with; null: there is no position. */
  readonly found: number | null
  close(): Promise<void>
}

interface Session {
  readonly worker: Worker
  readonly membership: Membership
}

interface Position {
  readonly rows: number
  readonly note: PositionNote
}

/** The metadata of the offset. */
interface PositionNote {
  readonly version: 1
  /** Hash of the source's key. */
  readonly source: string
  /** Owner token of the worker that wrote it. */
  readonly owner: string
  readonly file: FileVersion | null
}

const memberName = 'produce'
const sessionTimeoutMs = 10_000
/** What a killed run leaves open holds readers up for at most this long, or until the next run of the same source. */
const transactionTimeoutMs = 10_000
/** After so long with nothing but failures the run gives up. */
const outageMaxMs = 120_000
const retryFirstMs = 100
const retryMaxMs = 5_000

/**
 * Rejects with `source_changed` where the source is no longer what the position belongs to, with `source_taken` where another run claims
 * it, and with what Kafka fails with for longer than two minutes.
 */
export async function openPositions(options: PositionsOptions): Promise<PositionedSink> {
  const { broker, topic, source, isResuming, clock, signal, say } = options
  const sourceHash = createHash('sha256').update(source.key).digest('hex')
  const group = `${options.groupPrefix}.produce.${sourceHash.slice(0, 12)}`
  const place = { topic, partition: 0 }
  /** Owners whose claim this run may go on from: the one it found and its own. */
  const owners = new Set<string | null>()
  let session: Session | null = null
  /** Rows of the newest position that is known to be committed. */
  let committedRows = 0

  async function open(): Promise<Session> {
    const worker = await broker.worker({
      group,
      worker: memberName,
      stages: [{ stage: 'source', topics: [topic], partitions: 1 }],
      sessionTimeoutMs,
      transactionTimeoutMs,
    })
    try {
      return { worker, membership: await worker.join() }
    } catch (error) {
      await worker.close()
      throw error
    }
  }

  async function drop(): Promise<void> {
    const { worker } = session ?? {}
    session = null
    await worker?.close()
  }

  async function read({ worker }: Session): Promise<Position | null> {
    const [committed] = await worker.committed([place])
    assert(committed, 'one place, one answer')
    return committed.offset === null ? null : { rows: committed.offset, note: noteOf(committed.metadata, group) }
  }

  async function transact({ worker, membership }: Session, records: readonly OutRecord[], rows: number): Promise<void> {
    owners.add(worker.owner)
    const note: PositionNote = {
      version: 1,
      source: sourceHash,
      owner: worker.owner,
      file: source.file?.version ?? null,
    }
    await worker.transact(records, [{ ...place, offset: rows, metadata: JSON.stringify(note) }], membership)
    committedRows = rows
  }

  /** A newer run that was slow to join has no more to show for it than its claim. */
  function requireOwn(position: Position | null): void {
    if (!owners.has(position?.note.owner ?? null)) throw taken()
  }

  function taken(cause?: PipelineError): PipelineError {
    return new PipelineError(
      'source_taken',
      `Another process sends ${source.name} too and has taken it over: this one ends, after ${committedRows} rows.`,
      { cause },
    )
  }

  /** Tries until it is done or fails for good. `attempt` is given an open session. */
  async function persistently(attempt: (session: Session) => Promise<void>): Promise<void> {
    let failingSinceMs: number | null = null
    for (let failures = 0; ; failures++) {
      try {
        session ??= await open()
        return await attempt(session)
      } catch (error) {
        // Whatever failed, its outcome may be unknown: the next session reads it.
        await drop()
        if (error instanceof PipelineError && error.code === 'superseded') throw taken(error)
        failingSinceMs ??= clock.elapsedMs()
        const isOver = clock.elapsedMs() - failingSinceMs > outageMaxMs || signal.aborted
        if (!(error instanceof PipelineError) || !error.retry || isOver) throw error
        say(`${error.message}. It is tried again.`)
        await clock.sleep(Math.min(retryMaxMs, retryFirstMs * 2 ** failures))
      }
    }
  }

  async function findAndClaim(): Promise<number | null> {
    let found: number | null = null
    await persistently(async (session) => {
      const position = await read(session)
      if (owners.size === 0) {
        found = position?.rows ?? null
        owners.add(position?.note.owner ?? null)
      }
      requireOwn(position)
      if (position && isResuming) await requireSameSource(position.note, sourceHash, source)
      await transact(session, [], isResuming ? (found ?? 0) : 0)
    })
    return found
  }

  async function send(records: readonly OutRecord[], rows: number): Promise<void> {
    assert(rows > committedRows, 'a chunk stands for rows')
    let known: Session | null = session
    await persistently(async (session) => {
      if (session !== known) {
        known = session
        const position = await read(session)
        requireOwn(position)
        assert(position, 'the claim is there')
        // The answer to the commit was lost, not the commit.
        if (position.rows === rows) {
          committedRows = rows
          return
        }
        assert.equal(position.rows, committedRows, 'a position moves with its records only')
      }
      await transact(session, records, rows)
    })
  }

  const found = await findAndClaim()
  return { found, send, close: drop }
}

async function requireSameSource(note: PositionNote, sourceHash: string, source: SourceIdentity): Promise<void> {
  assert.equal(note.source, sourceHash, 'two sources share the beginning of a hash')
  if (note.file === null || source.file === null) return
  const difference = await differenceFrom(note.file, source.file.version, source.file)
  if (difference === null) return
  throw new PipelineError(
    'source_changed',
    `${source.name} was changed since it was sent in part: ${difference}. Where its rows are now is not known.`,
  )
}

function noteOf(metadata: string, group: string): PositionNote {
  try {
    const note = JSON.parse(metadata) as PositionNote
    if (note.version === 1) return note
  } catch (cause) {
    throw new PipelineError('record_unreadable', `The position in group ${group} cannot be read: ${metadata}`, {
      cause,
    })
  }
  throw new PipelineError('record_unreadable', `The position in group ${group} is of another version: ${metadata}`)
}
