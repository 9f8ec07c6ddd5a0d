/**
 * What is to change in the registry in, what became of it out: versions, aliases and notes are written, and the topic is read again, since
 * only it knows which of several writers came first. Called by the trainer and by `millrace models`.
 */
import type { Broker, Producer } from '../../runtime/broker.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { RecordCodec } from '../../schemas/wire/codec.ts'
import type { AliasChange, ModelVersion, RegistryRecord, VersionNote } from '../../schemas/wire/records.ts'
import { createRegistryReader } from './reader.ts'
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
/** How often a writer that came second tries again with what it read. */
export const attemptsMax = 8

export interface RegistryWriterOptions {
  readonly broker: Pick<Broker, 'bounds' | 'fetcher' | 'producer'>
  readonly codec: RecordCodec<RegistryRecord>
  /** The registry topic under its full name. */
  readonly topic: string
  readonly clock: () => number
}

/** Who changes something and why: kept with the change for ever. */
export interface Cause {
  readonly by: string
  readonly reason: string
}

/** A version before it has a name. */
export type VersionDraft = Omit<ModelVersion, 'kind' | 'version' | 'createdAtMs'>

/** `first`: the change that came in between; null where there was none, and the change was not allowed. */
export type AliasOutcome =
  | { readonly accepted: true; readonly change: AliasChange }
  | { readonly accepted: false; readonly first: AliasChange | null; readonly why: string }

export interface PromoteOptions extends Cause {
  /** Champion that the decision was made against; as the registry is now unless told. */
  readonly instead?: string | null
  /** Somebody says so: a version that was rolled back is taken, too. */
  readonly isExplicit?: boolean
  /** The former champion scores on in shadow, if an alias is free. */
  readonly keepsFormer?: boolean
}

export interface RollbackOptions extends Cause {
  readonly from: string
  readonly fits: (version: ModelVersion) => boolean
}

/** One at a time: no call before the last one has settled. All reject with the broker's codes. */
export interface RegistryWriter {
  /** As far as it was read. */
  state(): RegistryState
  /** Reads to the end. */
  refresh(): Promise<RegistryState>
  /**
   * Under the next free name, which another writer may take first: then under the one after it. Rejects with `model_too_large` and, after
   * `attemptsMax` tries, with `model_conflict`.
   */
  publish(draft: VersionDraft): Promise<ModelVersion>
  promote(version: string, options: PromoteOptions): Promise<AliasOutcome>
  /** `instead`: challenger that gives its alias up; a free alias unless told. Of the version that has one already, nothing changes. */
  challenge(version: string, options: Cause & { readonly instead?: string }): Promise<AliasOutcome>
  /** Ends a version's being a challenger. */
  dismiss(version: string, cause: Cause): Promise<AliasOutcome>
  /** Takes the champion `from` back and sets the one before it that `fits`, for one of another definition scores nothing. */
  rollback(options: RollbackOptions): Promise<AliasOutcome>
  /** Records why a candidate was not promoted. */
  reject(version: string, rejection: Cause & Pick<VersionNote, 'against' | 'figures'>): Promise<VersionNote>
  close(): Promise<void>
}

/** Opens its connections with the first call. */
export function createRegistryWriter(options: RegistryWriterOptions): RegistryWriter {
  const { broker, codec, topic, clock } = options
  const reader = createRegistryReader({ broker, codec, topic })
  let producer: Producer | null = null

  async function refresh(): Promise<RegistryState> {
    await reader.loadToEnd()
    return reader.state()
  }

  async function append(record: RegistryRecord): Promise<RegistryState> {
    const value = codec.encode(record)
    if (value.length > registryRecordBytesMax) throw tooLarge(record, value.length)
    producer ??= await broker.producer()
    await producer.send([{ topic, partition: 0, key: Buffer.from(record.version ?? ''), value }])
    return refresh()
  }

  const isSame = (a: RegistryRecord | undefined, b: RegistryRecord) =>
    a !== undefined && codec.encode(a).equals(codec.encode(b))

  async function publish(draft: VersionDraft): Promise<ModelVersion> {
    let state = await refresh()
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const version: ModelVersion = {
        kind: 'version',
        version: nextVersionName(state),
        createdAtMs: clock(),
        ...draft,
      }
      state = await append(version)
      if (isSame(state.versions.get(version.version), version)) return version
    }
    throw new PipelineError(
      'model_conflict',
      `No version could be published in ${topic}: ${attemptsMax} times another writer took the name first.`,
      { details: { topic } },
    )
  }

  async function change(wanted: Omit<AliasChange, 'kind' | 'changedAtMs'>): Promise<AliasOutcome> {
    const change: AliasChange = { kind: 'alias', ...wanted, changedAtMs: clock() }
    const state = await append(change)
    if (state.history.some((one) => isSame(one, change))) return { accepted: true, change }
    return lost(state, change.alias)
  }

  function known(state: RegistryState, version: string): void {
    if (!state.versions.has(version)) throw unknownVersion(state, version, topic)
  }

  async function promote(version: string, { by, reason, ...told }: PromoteOptions): Promise<AliasOutcome> {
    const state = await refresh()
    known(state, version)
    const standing = champion(state)?.version ?? null
    const previous = told.instead === undefined ? standing : told.instead
    if (previous !== standing) return lost(state, championAlias)
    if (version === standing) return rejected(`${version} is the champion already`)
    const wasRolledBack = isRolledBack(state, version)
    if (wasRolledBack && !told.isExplicit)
      return rejected(`${version} was rolled back; only a command promotes it again`)
    const slot = challengerAliasOf(state, version) ?? freeChallengerAlias(state)
    const action = wasRolledBack ? 'restore' : 'set'
    const outcome = await change({ alias: championAlias, version, previous, by, reason, action })
    if (outcome.accepted && slot !== null)
      await settleSlot(slot, told.keepsFormer === true ? previous : null, version, by)
    return outcome
  }

  /** After a promotion the alias of the new champion is free, or goes to the former one. What comes in between is left as it is. */
  async function settleSlot(alias: string, former: string | null, version: string, by: string): Promise<void> {
    const state = reader.state()
    const previous = state.aliases.get(alias) ?? null
    const isTaken = previous !== null && previous !== version
    const hasOne = former !== null && challengerAliasOf(state, former) !== null
    const to = hasOne ? null : former
    if (isTaken || previous === to) return
    const reason = to === null ? `${version} is the champion now` : `was the champion before ${version}`
    await change({ alias, version: to, previous, by, reason, action: 'set' })
  }

  async function challenge(version: string, { by, reason, instead }: Cause & { readonly instead?: string }) {
    let outcome: AliasOutcome | null = null
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const state = await refresh()
      known(state, version)
      if (champion(state)?.version === version) return rejected(`${version} is the champion`)
      const own = challengerAliasOf(state, version)
      if (own !== null) return { accepted: true as const, change: lastChange(state, own)! }
      const alias = instead === undefined ? freeChallengerAlias(state) : challengerAliasOf(state, instead)
      if (alias === null) return rejected(noAlias(state, instead))
      const previous = state.aliases.get(alias) ?? null
      outcome = await change({ alias, version, previous, by, reason, action: 'set' })
      if (outcome.accepted || instead !== undefined) return outcome
    }
    return outcome!
  }

  async function dismiss(version: string, { by, reason }: Cause): Promise<AliasOutcome> {
    const state = await refresh()
    known(state, version)
    const alias = challengerAliasOf(state, version)
    if (alias === null) return rejected(`${version} is no challenger`)
    return change({ alias, version: null, previous: version, by, reason, action: 'set' })
  }

  async function rollback({ by, reason, from, fits }: RollbackOptions): Promise<AliasOutcome> {
    const state = await refresh()
    if (champion(state)?.version !== from) return lost(state, championAlias)
    const target = rollbackTarget(state, fits)
    if (target === null) return rejected(`there is no version before ${from} to go back to`)
    return change({ alias: championAlias, version: target.version, previous: from, by, reason, action: 'rollback' })
  }

  async function reject(version: string, rejection: Cause & Pick<VersionNote, 'against' | 'figures'>) {
    known(await refresh(), version)
    const note: VersionNote = { kind: 'note', note: rejectedNote, version, notedAtMs: clock(), ...rejection }
    await append(note)
    return note
  }

  return {
    state: reader.state,
    refresh,
    publish,
    promote,
    challenge,
    dismiss,
    rollback,
    reject,
    close: async () => {
      await Promise.all([reader.close(), producer?.close()])
    },
  }
}

function rejected(why: string): AliasOutcome {
  return { accepted: false, first: null, why }
}

function lost(state: RegistryState, alias: string): AliasOutcome {
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
