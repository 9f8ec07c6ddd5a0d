/** Records of the registry topic in, the state of the registry out: a pure fold, called by the registry reader. */

import type { AliasChange, ModelVersion, RegistryRecord, VersionNote } from '../../schemas/wire/records.ts'
import { type FittingPlan, isFor } from '../models/fits.ts'

/** The alias that scores. */
export const championAlias = 'champion'
/** The aliases that score in shadow. Each costs every event one more score, so there are few. */
export const challengerAliases: readonly string[] = ['challenger-1', 'challenger-2', 'challenger-3']
/** Note of a candidate that was not promoted. */
export const rejectedNote = 'refused'
/** Accepted alias changes kept in memory; the topic keeps all of them. */
export const historyMax = 1_000
/** Newest notes of a version kept in memory. */
export const notesMax = 20

export interface RegistryState {
  /** In the order of their first record. A version never changes. */
  readonly versions: ReadonlyMap<string, ModelVersion>
  readonly aliases: ReadonlyMap<string, string>
  /** Accepted alias changes, newest last. */
  readonly history: readonly AliasChange[]
  /** Versions that were rolled back, each with that change; a `restore` removes it. */
  readonly rolledBack: ReadonlyMap<string, AliasChange>
  /** By version, newest last. */
  readonly notes: ReadonlyMap<string, readonly VersionNote[]>
  /**
   * Records that changed nothing: versions that existed, notes of versions that do not, and alias changes that `isAccepted`
   * does not take.
   */
  readonly ignoredVersions: number
  readonly ignoredAliases: number
  readonly ignoredNotes: number
}

export function emptyRegistry(): RegistryState {
  return {
    versions: new Map(),
    aliases: new Map(),
    history: [],
    rolledBack: new Map(),
    notes: new Map(),
    ignoredVersions: 0,
    ignoredAliases: 0,
    ignoredNotes: 0,
  }
}

export function applyRegistryRecord(state: RegistryState, record: RegistryRecord): RegistryState {
  return foldRegistry(state, [record])
}

/** Applies records in topic order. The state handed in stays as it is; its maps are copied once for all records. */
export function foldRegistry(state: RegistryState, records: readonly RegistryRecord[]): RegistryState {
  if (records.length === 0) return state
  const versions = new Map(state.versions)
  const aliases = new Map(state.aliases)
  const rolledBack = new Map(state.rolledBack)
  const notes = new Map(state.notes)
  const history = [...state.history]
  let { ignoredVersions, ignoredAliases, ignoredNotes } = state
  for (const record of records) {
    if (record.kind === 'version') {
      if (versions.has(record.version)) ignoredVersions++
      else versions.set(record.version, record)
    } else if (record.kind === 'note') {
      if (versions.has(record.version)) {
        notes.set(record.version, [...(notes.get(record.version) ?? []), record].slice(-notesMax))
      } else ignoredNotes++
    } else if (isAccepted(record, { versions, aliases, rolledBack })) {
      if (record.version === null) aliases.delete(record.alias)
      else aliases.set(record.alias, record.version)
      if (record.action === 'rollback') rolledBack.set(record.previous!, record)
      if (record.action === 'restore') rolledBack.delete(record.version!)
      history.push(record)
    } else {
      ignoredAliases++
    }
  }
  return {
    versions,
    aliases,
    history: history.slice(-historyMax),
    rolledBack,
    notes,
    ignoredVersions,
    ignoredAliases,
    ignoredNotes,
  }
}

/**
 * Every reader decides alike: a change counts if its alias still points to the previous version and the new one exists. The champion is
 * never taken away without another, and a version that was rolled back becomes the champion by a `restore` only, so that a writer
 * that does not know of the rollback cannot undo it.
 */
export function isAccepted(
  change: AliasChange,
  { versions, aliases, rolledBack }: Pick<RegistryState, 'versions' | 'aliases' | 'rolledBack'>,
): boolean {
  const { alias, version, previous, action } = change
  if (previous !== (aliases.get(alias) ?? null)) return false
  if (alias !== championAlias) return action === 'set' && (version === null || versions.has(version))
  if (version === null || !versions.has(version)) return false
  if (action === 'rollback' && previous === null) return false
  return action === 'restore' || !rolledBack.has(version)
}

/** The version that scores; null before the first promotion. */
export function champion(state: RegistryState): ModelVersion | null {
  const version = state.aliases.get(championAlias)
  return version === undefined ? null : (state.versions.get(version) ?? null)
}

/**
 * The version that scores the events of one definition: the champion, or, where that does not fit, the champion before it that does. So a
 * version can be promoted for a definition whose processes are not there yet: until then those of the former one score on.
 */
export function championFor(state: RegistryState, plan: FittingPlan): ModelVersion | null {
  const version = champion(state)
  const fits = (one: ModelVersion) => isFor(one, plan)
  return version === null || fits(version) ? version : rollbackTarget(state, fits)
}

/** The versions that score in shadow, in the order of their aliases; the champion is none of them, even if an alias names it. */
export function challengers(state: RegistryState): ModelVersion[] {
  const names = new Set(challengerAliases.flatMap((alias) => state.aliases.get(alias) ?? []))
  names.delete(state.aliases.get(championAlias) ?? '')
  return [...names].map((name) => state.versions.get(name)!)
}

/** The challenger alias of a version; null where it has none. */
export function challengerAliasOf(state: RegistryState, version: string): string | null {
  return challengerAliases.find((alias) => state.aliases.get(alias) === version) ?? null
}

/** A challenger alias that points to nothing, or to the champion, which needs none; null where all are taken. */
export function freeChallengerAlias(state: RegistryState): string | null {
  const champion = state.aliases.get(championAlias)
  const isFree = (alias: string) => {
    const version = state.aliases.get(alias)
    return version === undefined || version === champion
  }
  return challengerAliases.find(isFree) ?? null
}

/** It was rolled back as champion and is promoted again only by an explicit command. */
export function isRolledBack(state: RegistryState, version: string): boolean {
  return state.rolledBack.has(version)
}

/**
 * The champion before this one, by the history: the newest former champion that can score (`fits`) and was not rolled back itself. Null
 * where there is none.
 */
export function rollbackTarget(state: RegistryState, fits: (version: ModelVersion) => boolean): ModelVersion | null {
  const current = state.aliases.get(championAlias)
  for (const { alias, previous } of [...state.history].reverse()) {
    if (alias !== championAlias || previous === null || previous === current || isRolledBack(state, previous)) continue
    const version = state.versions.get(previous)!
    if (fits(version)) return version
  }
  return null
}

/** The last accepted change of an alias; null where there was none, or none of the newest `historyMax`. */
export function lastChange(state: RegistryState, alias: string): AliasChange | null {
  return state.history.findLast((change) => change.alias === alias) ?? null
}

/** Why a version was not promoted the last time; null where it was not rejected. */
export function lastRejection(state: RegistryState, version: string): VersionNote | null {
  return state.notes.get(version)?.findLast(({ note }) => note === rejectedNote) ?? null
}

export function aliasesOf(state: RegistryState, version: string): string[] {
  return [...state.aliases].flatMap(([alias, points]) => (points === version ? [alias] : []))
}

/** `v<n>`, n being the number of versions + 1, or the next that is free where versions were named otherwise. */
export function nextVersionName(state: RegistryState): string {
  let n = state.versions.size + 1
  while (state.versions.has(`v${n}`)) n++
  return `v${n}`
}
