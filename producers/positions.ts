/**
 * A sink that stores how far one source, or each of several that are merged, has been sent: records and the numbers of completed rows
 * are written in one transaction, so a later run resumes where this one stopped, however it stopped. Opened by `millrace produce`, used
 * by `produce.ts`.
 *
 * The position is an offset committed in a consumer group that belongs to the source: the rows of all its files together. Its metadata
 * hold the rows and the version of each. A run claims the position in a transaction when it opens the sink; a run that finds the claim
 * of a newer one ends.
 */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import type { Broker, Membership, OutRecord, TopicPartition, Worker } from '../runtime/broker.ts'
import type { Clock } from '../runtime/clock.ts'
import { processRetry, type RetryNotice, type RetryPolicy, retry } from '../runtime/retry.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import { differenceFrom, type FileVersion } from './file-version.ts'
import type { Sink } from './produce.ts'

/** What a position belongs to. */
export interface SourceIdentity {
  /** For messages. */
  readonly name: string
  /** Everything that determines the rows and their order; equal keys mean the same source. */
  readonly key: string
  /** Those that are merged, at least one and at most `partsMax`. */
  readonly parts: readonly SourcePart[]
}

export interface SourcePart {
  /** For messages. */
  readonly name: string
  /** Null where the rows come from no file. */
  readonly file: { readonly path: string; readonly canGrow: boolean; readonly version: FileVersion } | null
}

/** Their positions have to fit into the 4,096 bytes that Kafka takes as metadata of an offset (`offset.metadata.max.bytes`). */
export const partsMax = 32

export interface PositionsOptions {
  readonly broker: Broker
  /** Prefix of the consumer group's name. */
  readonly groupPrefix: string
  /** A topic that the source writes to: the offset is committed for its partition 0. */
  readonly topic: string
  readonly source: SourceIdentity
  /** Continues from the position; otherwise the position is reset to the first row. */
  readonly isResuming: boolean
  readonly clock: Clock
  /** From 0 to 1, for the jitter of retries. */
  readonly random: () => number
  /** Stops waiting for an unreachable Kafka. */
  readonly signal: AbortSignal
  readonly printLine: (line: string) => void
}

export interface PositionedSink extends Sink {
  /** Rows of each part completed by an earlier run; null: there is no position. */
  readonly found: readonly number[] | null
  close(): Promise<void>
}

interface Session {
  readonly worker: Worker
  readonly membership: Membership
}

/** The metadata of the offset. */
interface PositionNote {
  readonly version: 2
  /** Hash of the source's key. */
  readonly source: string
  /** Owner token of the worker that wrote it. */
  readonly owner: string
  readonly parts: readonly PartNote[]
}

/** Completed rows and, of a file, its version: bytes, modification time, digest. */
type PartNote = readonly [rows: number] | readonly [rows: number, bytes: number, modifiedMs: number, digest: string]

const memberName = 'produce'
const sessionTimeoutMs = 10_000
/** The open transaction of a killed run blocks readers for at most this long, or until the next run of the same source. */
const transactionTimeoutMs = 10_000
/** The run gives up after failing for two minutes without a success. */
const policy: RetryPolicy = { ...processRetry, outageMaxMs: 120_000 }

/** What `openPositions` keeps while the sink is open. */
interface PositionsState {
  readonly options: PositionsOptions
  readonly sourceHash: string
  readonly group: string
  readonly topicPartition: TopicPartition
  /** Owners whose claim this run may continue: the one it found, and its own. */
  readonly owners: Set<string | null>
  session: Session | null
  /** Rows of the newest position that is known to be committed. */
  committedRows: readonly number[]
}

/**
 * Rejects with `source_changed` where the source is no longer the one that the position belongs to, with `source_taken` where another run
 * claims it, and with Kafka's failure where that lasts longer than two minutes.
 */
export async function openPositions(options: PositionsOptions): Promise<PositionedSink> {
  const sourceHash = createHash('sha256').update(options.source.key).digest('hex')
  const state: PositionsState = {
    options,
    sourceHash,
    group: `${options.groupPrefix}.produce.${sourceHash.slice(0, 12)}`,
    topicPartition: { topic: options.topic, partition: 0 },
    owners: new Set(),
    session: null,
    committedRows: options.source.parts.map(() => 0),
  }
  const found = await claim(state)
  return { found, send: (records, rows) => sendChunk(state, records, rows), close: () => closeSession(state) }
}

async function openSession({ options, group }: PositionsState): Promise<Session> {
  const worker = await options.broker.groups.worker({
    group,
    worker: memberName,
    stages: [{ stage: 'source', topics: [options.topic], partitions: 1 }],
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

async function closeSession(state: PositionsState): Promise<void> {
  const { worker } = state.session ?? {}
  state.session = null
  await worker?.close()
}

/** Repeats the attempt, with a new session after each failure, until it succeeds or fails for good. */
function withRetries(state: PositionsState, attempt: (session: Session) => Promise<void>): Promise<void> {
  const { clock, random, signal, printLine } = state.options
  const inSession = async () => {
    try {
      state.session ??= await openSession(state)
      await attempt(state.session)
    } catch (error) {
      // The outcome of a failed attempt may be unknown: the next session reads the position.
      await closeSession(state)
      throw error instanceof PipelineError && error.code === 'superseded' ? sourceTaken(state, error) : error
    }
  }
  const onRetry = ({ error }: RetryNotice) => printLine(`${error.message}. Trying again.`)
  return retry(inSession, { policy, clock, random, signal, onRetry })
}

/** Claims the position for this run. Returns the rows that it found there, null where there was none. */
async function claim(state: PositionsState): Promise<readonly number[] | null> {
  const { isResuming, source } = state.options
  let found: readonly number[] | null = null
  await withRetries(state, async (session) => {
    const position = await readPosition(state, session)
    if (state.owners.size === 0) {
      found = position && rowsOf(position)
      state.owners.add(position?.owner ?? null)
    }
    requireOwnClaim(state, position)
    if (position && isResuming) await requireSameSource(position, state.sourceHash, source)
    const none = source.parts.map(() => 0)
    await commitRows(state, session, [], isResuming ? (found ?? none) : none)
  })
  return found
}

async function sendChunk(state: PositionsState, records: readonly OutRecord[], rows: readonly number[]): Promise<void> {
  assert(sumOf(rows) > sumOf(state.committedRows), 'a chunk has rows')
  let known: Session | null = state.session
  await withRetries(state, async (session) => {
    if (session !== known) {
      known = session
      const position = await readPosition(state, session)
      requireOwnClaim(state, position)
      assert(position, 'the position was claimed')
      // The commit succeeded and only its answer was lost.
      if (areEqual(rowsOf(position), rows)) {
        state.committedRows = rows
        return
      }
      assert.deepEqual(rowsOf(position), state.committedRows, 'a position moves with its records only')
    }
    await commitRows(state, session, records, rows)
  })
}

async function readPosition(
  { topicPartition, group }: PositionsState,
  { worker }: Session,
): Promise<PositionNote | null> {
  const [committed] = await worker.committed([topicPartition])
  assert(committed, 'one partition was requested')
  return committed.offset === null ? null : noteOf(committed.metadata, group)
}

async function commitRows(
  state: PositionsState,
  { worker, membership }: Session,
  records: readonly OutRecord[],
  rows: readonly number[],
): Promise<void> {
  state.owners.add(worker.owner)
  const note: PositionNote = {
    version: 2,
    source: state.sourceHash,
    owner: worker.owner,
    parts: state.options.source.parts.map(({ file }, part) => partNote(rows[part]!, file?.version ?? null)),
  }
  const offset = { ...state.topicPartition, offset: sumOf(rows), metadata: JSON.stringify(note) }
  await worker.transact(records, [offset], membership)
  state.committedRows = rows
}

/** Detects a newer run even where it has not yet sent anything: its claim is enough. */
function requireOwnClaim(state: PositionsState, position: PositionNote | null): void {
  if (!state.owners.has(position?.owner ?? null)) throw sourceTaken(state)
}

function sourceTaken({ options, committedRows }: PositionsState, cause?: PipelineError): PipelineError {
  return new PipelineError(
    'source_taken',
    `Another process is sending ${options.source.name} and has taken over: this one stops after ${sumOf(committedRows)} rows.`,
    { cause },
  )
}

async function requireSameSource(note: PositionNote, sourceHash: string, source: SourceIdentity): Promise<void> {
  assert.equal(note.source, sourceHash, 'two sources share the first digits of a hash')
  for (const [i, { name, file }] of source.parts.entries()) {
    const part = note.parts[i]!
    if (part.length === 1 || file === null) continue
    const [, bytes, modifiedMs, digest] = part
    const difference = await differenceFrom({ bytes, modifiedMs, digest }, file.version, file)
    if (difference === null) continue
    throw new PipelineError(
      'source_changed',
      `${name} has changed since a part of it was sent: ${difference}. The position no longer matches its rows.`,
    )
  }
}

function partNote(rows: number, version: FileVersion | null): PartNote {
  return version === null ? [rows] : [rows, version.bytes, version.modifiedMs, version.digest]
}

function rowsOf({ parts }: PositionNote): number[] {
  return parts.map(([rows]) => rows)
}

function sumOf(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0)
}

function areEqual(left: readonly number[], right: readonly number[]): boolean {
  return left.every((count, i) => count === right[i])
}

function noteOf(metadata: string, group: string): PositionNote {
  try {
    const note = JSON.parse(metadata) as PositionNote
    if (note.version === 2) return note
  } catch (cause) {
    throw new PipelineError('record_unreadable', `The position in group ${group} cannot be read: ${metadata}`, {
      cause,
    })
  }
  throw new PipelineError('record_unreadable', `The position in group ${group} is of another version: ${metadata}`)
}
