/** Records of the registry topic in, the state of the registry out: a pure fold, called by the registry follower. */
import type { AliasChange, ModelVersion, RegistryRecord } from '../schemas/plan.ts'

/** The alias that scores. */
export const championAlias = 'champion'
/** Accepted alias changes kept in memory; the topic keeps all of them. */
export const historyMax = 1_000

export interface RegistryState {
  /** In the order of their first record. A version never changes. */
  readonly versions: ReadonlyMap<string, ModelVersion>
  readonly aliases: ReadonlyMap<string, string>
  /** Accepted alias changes, newest last. */
  readonly history: readonly AliasChange[]
  /**
   * Records that changed nothing: versions that existed, and alias changes from another version than the alias's or to
   * none known.
   */
  readonly ignoredVersions: number
  readonly ignoredAliases: number
}

export function emptyRegistry(): RegistryState {
  return { versions: new Map(), aliases: new Map(), history: [], ignoredVersions: 0, ignoredAliases: 0 }
}

export function applyRegistryRecord(state: RegistryState, record: RegistryRecord): RegistryState {
  return foldRegistry(state, [record])
}

/** Applies records in topic order. The state handed in stays as it is; its maps are copied once for all records. */
export function foldRegistry(state: RegistryState, records: readonly RegistryRecord[]): RegistryState {
  if (records.length === 0) return state
  const versions = new Map(state.versions)
  const aliases = new Map(state.aliases)
  const history = [...state.history]
  let { ignoredVersions, ignoredAliases } = state
  for (const record of records) {
    if (record.kind === 'version') {
      if (versions.has(record.version)) ignoredVersions++
      else versions.set(record.version, record)
    } else if (versions.has(record.version) && record.previous === (aliases.get(record.alias) ?? null)) {
      aliases.set(record.alias, record.version)
      history.push(record)
    } else {
      ignoredAliases++
    }
  }
  return { versions, aliases, history: history.slice(-historyMax), ignoredVersions, ignoredAliases }
}

/** The version that scores; null before the first promotion. */
export function champion(state: RegistryState): ModelVersion | null {
  const version = state.aliases.get(championAlias)
  return version === undefined ? null : (state.versions.get(version) ?? null)
}

/** `v<n>`, n being the number of versions + 1, or the next that is free where versions were named otherwise. */
export function nextVersionName(state: RegistryState): string {
  let n = state.versions.size + 1
  while (state.versions.has(`v${n}`)) n++
  return `v${n}`
}
