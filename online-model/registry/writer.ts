/**
 * A change of the registry in, whether it was accepted out: versions, aliases and notes are appended, and the topic is read again, since
 * only its order decides between several writers. Called by the trainer and by `millrace models`.
 */
import type { BrokerData, Producer } from '../../runtime/broker.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { RecordCodec } from '../../schemas/wire/codec.ts'
import type { AliasChange, ModelVersion, RegistryRecord, VersionNote } from '../../schemas/wire/records.ts'
import { createRegistryReader, type RegistryReader } from './reader.ts'
import {
  challengerAliases,
  challengerAliasOf,
  champion,
  championAlias,
  freeChallengerAlias,
  isRolledBack,
  lastChange,
  nextVersionName,
  type RegistryState,
  rejectedNote,
  rollbackTarget,
} from './registry.ts'

/** Largest registry record, bytes: with the envelope of a batch below Kafka's default of 1,048,588. */
export const registryRecordBytesMax = 1_000_000
/** Attempts of a writer that another one overtook, each with the newer state. */
export const attemptsMax = 8

export interface RegistryWriterOptions {
  readonly broker: BrokerData
  readonly codec: RecordCodec<RegistryRecord>
  /** The registry topic under its full name. */
  readonly topic: string
  readonly clock: () => number
}

/** Who changes something and why; kept with the change. */
export interface Cause {
  readonly by: string
  readonly reason: string
}

/** A version before it has a name. */
export type VersionDraft = Omit<ModelVersion, 'kind' | 'version' | 'createdAtMs'>

/** `first`: the other writer's change that came first; null where there was none, and the change was not allowed. */
export type AliasOutcome =
  | { readonly accepted: true; readonly change: AliasChange }
  | { readonly accepted: false; readonly first: AliasChange | null; readonly why: string }

export interface PromoteOptions extends Cause {
  /** Champion that the decision was made against; the current one unless given. */
  readonly instead?: string | null
  /** A person's decision, which may also promote a version that was rolled back. */
  readonly isExplicit?: boolean
  /** The former champion continues scoring in shadow, if an alias is free. */
  readonly keepsFormer?: boolean
}

export interface ChallengeOptions extends Cause {
  /** Challenger whose alias is taken over; a free alias unless given. */
  readonly instead?: string
}

export type RejectOptions = Cause & Pick<VersionNote, 'against' | 'figures'>

export interface RollbackOptions extends Cause {
  readonly from: string
  readonly fits: (version: ModelVersion) => boolean
}

/** One at a time: no call before the last one has settled. All reject with the broker's codes. */
export interface RegistryWriter {
  /** As of the last read. */
  state(): RegistryState
  /** Reads to the end. */
  refresh(): Promise<RegistryState>
  /**
   * Publishes under the next free name, or the one after it where another writer takes that first. Rejects with `model_too_large`
   * and, after `attemptsMax` tries, with `model_conflict`.
   */
  publish(draft: VersionDraft): Promise<ModelVersion>
  promote(version: string, options: PromoteOptions): Promise<AliasOutcome>
  /** Gives the version a challenger alias; nothing changes where it has one already. */
  challenge(version: string, options: ChallengeOptions): Promise<AliasOutcome>
  /** Takes a version's challenger alias away. */
  dismiss(version: string, cause: Cause): Promise<AliasOutcome>
  /** Replaces the champion `from` by the latest former champion that `fits`: one of another definition could not score. */
  rollback(options: RollbackOptions): Promise<AliasOutcome>
  /** Records why a candidate was not promoted. */
  reject(version: string, rejection: RejectOptions): Promise<VersionNote>
  close(): Promise<void>
}

interface WriterState extends RegistryWriterOptions {
  readonly reader: RegistryReader
  /** Null before the first record was written. */
  producer: Producer | null
}

/** Opens its connections with the first call. */
export function createRegistryWriter(options: RegistryWriterOptions): RegistryWriter {
  const state: WriterState = { ...options, reader: createRegistryReader(options), producer: null }
  return {
    state: state.reader.state,
    refresh: () => refresh(state),
    publish: (draft) => publish(state, draft),
    promote: (version, more) => promote(state, version, more),
    challenge: (version, more) => challenge(state, version, more),
    dismiss: (version, cause) => dismiss(state, version, cause),
    rollback: (more) => rollback(state, more),
    reject: (version, rejection) => reject(state, version, rejection),
    close: async () => {
      await Promise.all([state.reader.close(), state.producer?.close()])
    },
  }
}

async function refresh({ reader }: WriterState): Promise<RegistryState> {
  await reader.loadToEnd()
  return reader.state()
}

async function append(writer: WriterState, record: RegistryRecord): Promise<RegistryState> {
  const { broker, codec, topic } = writer
  const value = codec.encode(record)
  if (value.length > registryRecordBytesMax) throw tooLarge(record, value.length)
  writer.producer ??= await broker.producer()
  await writer.producer.send([{ topic, partition: 0, key: Buffer.from(record.version ?? ''), value }])
  return refresh(writer)
}

function isSame({ codec }: WriterState, a: RegistryRecord | undefined, b: RegistryRecord): boolean {
  return a !== undefined && codec.encode(a).equals(codec.encode(b))
}

async function publish(writer: WriterState, draft: VersionDraft): Promise<ModelVersion> {
  const { clock, topic } = writer
  let state = await refresh(writer)
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const version: ModelVersion = { kind: 'version', version: nextVersionName(state), createdAtMs: clock(), ...draft }
    state = await append(writer, version)
    if (isSame(writer, state.versions.get(version.version), version)) return version
  }
  throw new PipelineError(
    'model_conflict',
    `No version could be published in ${topic}: ${attemptsMax} times another writer took the name first.`,
    { details: { topic } },
  )
}

/** Accepted where the history has the very change after it was appended; otherwise another writer's change came first. */
async function changeAlias(
  writer: WriterState,
  wanted: Omit<AliasChange, 'kind' | 'changedAtMs'>,
): Promise<AliasOutcome> {
  const change: AliasChange = { kind: 'alias', ...wanted, changedAtMs: writer.clock() }
  const state = await append(writer, change)
  if (state.history.some((one) => isSame(writer, one, change))) return { accepted: true, change }
  return overtaken(state, change.alias)
}

async function refreshWith(writer: WriterState, version: string): Promise<RegistryState> {
  const state = await refresh(writer)
  if (!state.versions.has(version)) throw unknownVersion(state, version, writer.topic)
  return state
}

async function promote(writer: WriterState, version: string, options: PromoteOptions): Promise<AliasOutcome> {
  const { by, reason, instead, isExplicit = false, keepsFormer = false } = options
  const state = await refreshWith(writer, version)
  const current = champion(state)?.version ?? null
  const previous = instead === undefined ? current : instead
  if (previous !== current) return overtaken(state, championAlias)
  if (version === current) return rejected(`${version} is the champion already`)
  const wasRolledBack = isRolledBack(state, version)
  if (wasRolledBack && !isExplicit) return rejected(`${version} was rolled back; only a command promotes it again`)
  const alias = challengerAliasOf(state, version) ?? freeChallengerAlias(state)
  const action = wasRolledBack ? 'restore' : 'set'
  const outcome = await changeAlias(writer, { alias: championAlias, version, previous, by, reason, action })
  if (outcome.accepted && alias !== null) await reuseAlias(writer, alias, keepsFormer ? previous : null, version, by)
  return outcome
}

/**
 * After a promotion the new champion's challenger alias is cleared, or set to the former champion. A change by another writer in between
 * is left as it is.
 */
async function reuseAlias(
  writer: WriterState,
  alias: string,
  former: string | null,
  version: string,
  by: string,
): Promise<void> {
  const state = writer.reader.state()
  const previous = state.aliases.get(alias) ?? null
  const isTaken = previous !== null && previous !== version
  const hasAlias = former !== null && challengerAliasOf(state, former) !== null
  const next = hasAlias ? null : former
  if (isTaken || previous === next) return
  const reason = next === null ? `${version} is the champion now` : `was the champion before ${version}`
  await changeAlias(writer, { alias, version: next, previous, by, reason, action: 'set' })
}

async function challenge(writer: WriterState, version: string, options: ChallengeOptions): Promise<AliasOutcome> {
  const { by, reason, instead } = options
  let outcome: AliasOutcome | null = null
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    const state = await refreshWith(writer, version)
    if (champion(state)?.version === version) return rejected(`${version} is the champion`)
    const current = challengerAliasOf(state, version)
    if (current !== null) return { accepted: true, change: lastChange(state, current)! }
    const alias = instead === undefined ? freeChallengerAlias(state) : challengerAliasOf(state, instead)
    if (alias === null) return rejected(noAlias(state, instead))
    const previous = state.aliases.get(alias) ?? null
    outcome = await changeAlias(writer, { alias, version, previous, by, reason, action: 'set' })
    if (outcome.accepted || instead !== undefined) return outcome
  }
  return outcome!
}

async function dismiss(writer: WriterState, version: string, { by, reason }: Cause): Promise<AliasOutcome> {
  const state = await refreshWith(writer, version)
  const alias = challengerAliasOf(state, version)
  if (alias === null) return rejected(`${version} is no challenger`)
  return changeAlias(writer, { alias, version: null, previous: version, by, reason, action: 'set' })
}

async function rollback(writer: WriterState, { by, reason, from, fits }: RollbackOptions): Promise<AliasOutcome> {
  const state = await refresh(writer)
  if (champion(state)?.version !== from) return overtaken(state, championAlias)
  const target = rollbackTarget(state, fits)
  if (target === null) return rejected(`there is no version before ${from} to roll back to`)
  const { version } = target
  return changeAlias(writer, { alias: championAlias, version, previous: from, by, reason, action: 'rollback' })
}

async function reject(writer: WriterState, version: string, rejection: RejectOptions): Promise<VersionNote> {
  await refreshWith(writer, version)
  const note: VersionNote = { kind: 'note', note: rejectedNote, version, notedAtMs: writer.clock(), ...rejection }
  await append(writer, note)
  return note
}

function rejected(why: string): AliasOutcome {
  return { accepted: false, first: null, why }
}

function overtaken(state: RegistryState, alias: string): AliasOutcome {
  const first = lastChange(state, alias)
  if (first === null) return rejected(`${alias} points to nothing`)
  const { version, changedAtMs, by, reason } = first
  const now = version === null ? 'to nothing' : `to ${version}`
  const when = new Date(changedAtMs).toISOString()
  return { accepted: false, first, why: `another change came first: ${by} set ${alias} ${now} at ${when} (${reason})` }
}

function noAlias(state: RegistryState, instead: string | undefined): string {
  if (instead !== undefined) return `${instead} is no challenger`
  const taken = challengerAliases.map((alias) => state.aliases.get(alias)).join(', ')
  return `there are ${challengerAliases.length} challengers already (${taken}): dismiss one of them, or name the one to replace`
}

function unknownVersion(state: RegistryState, version: string, topic: string): PipelineError {
  const newest = [...state.versions.keys()].slice(-5).reverse()
  const has = newest.length === 0 ? 'it has none yet' : `its newest are ${newest.join(', ')}`
  return new PipelineError('model_unknown', `The registry ${topic} has no version ${version}; ${has}.`, {
    details: { version },
  })
}

function tooLarge(record: RegistryRecord, bytes: number): PipelineError {
  return new PipelineError(
    'model_too_large',
    `The registry record of ${record.version ?? 'an alias'} takes ${bytes} bytes, and the registry takes ${registryRecordBytesMax} at most. ` +
      'Train a smaller model: fewer hidden units, or fewer features.',
    { details: { bytes, bytesMax: registryRecordBytesMax } },
  )
}
