/**
 * The registry topic in, the scorers of the champion and its challengers out: read to its end at start, followed in the background, asked
 * once per batch.
 */
import type { BrokerData } from '../../runtime/broker.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import { createScorer, isFor, type Scorer } from '../models/scorer.ts'
import { createRegistryReader, type RegistryReader } from './reader.ts'
import { challengers, champion, type RegistryState } from './registry.ts'

export interface RegistryFollowerOptions {
  readonly broker: BrokerData
  readonly plan: Pick<Plan, 'models' | 'features' | 'fingerprint' | 'model'>
  /** The registry topic under its full name. One partition. */
  readonly topic: string
  /** Called with one line when the champion or the challengers change. */
  readonly printLine: (line: string) => void
  /** How many reasons a scorer names; 3 unless given. */
  readonly reasonsMax?: number
}

/** The champion, with the challengers that score the same vectors in shadow. */
export interface ChampionScorer extends Scorer {
  readonly shadows: readonly Scorer[]
}

/** `loadToEnd` also rejects with `state_foreign` where a champion's weights contradict the definition that it names. */
export interface RegistryFollower extends RegistryReader {
  /**
   * The champion's scorer; null while there is no champion made for this definition. Synchronous: read at a batch
   * boundary.
   */
  current(): ChampionScorer | null
}

/** Constructing starts nothing. */
export function createRegistryFollower(options: RegistryFollowerOptions): RegistryFollower {
  const { broker, plan, topic, printLine, reasonsMax = 3 } = options
  let current: ChampionScorer | null = null
  let championVersion: string | null = null
  let challengerVersions = ''
  /** Of the versions in use: null is one that cannot score here. */
  let scorers = new Map<string, Scorer | null>()

  const take = (state: RegistryState): void => {
    const version = champion(state)
    if (version === null) return
    const others = challengers(state)
    const names = others.map((other) => other.version).join(', ')
    if (version.version === championVersion && names === challengerVersions) return
    const former = scorers
    scorers = new Map()
    const fits = isFor(version, plan)
    const scorer = fits ? (former.get(version.version) ?? createScorer(version, plan, reasonsMax)) : null
    scorers.set(version.version, scorer)
    for (const other of others) {
      const known = former.get(other.version)
      scorers.set(other.version, known === undefined ? shadowOf(other) : known)
    }
    current = scorer && { ...scorer, shadows: others.flatMap((other) => scorers.get(other.version) ?? []) }
    if (version.version !== championVersion) {
      printLine(
        fits
          ? `champion is ${version.version}`
          : `champion ${version.version} was trained on definition ${version.fingerprint}, this one is ` +
              `${plan.fingerprint}: events are not scored until a model is trained on it`,
      )
    }
    if (names !== challengerVersions)
      printLine(names === '' ? 'there is no challenger any more' : `challengers are ${names}`)
    championVersion = version.version
    challengerVersions = names
  }

  /** A challenger that cannot score does not stop the champion. */
  const shadowOf = (version: ModelVersion): Scorer | null => {
    try {
      if (isFor(version, plan)) return createScorer(version, plan, reasonsMax)
      printLine(`challenger ${version.version} does not score: it was trained on definition ${version.fingerprint}`)
    } catch (error) {
      printLine(
        `challenger ${version.version} does not score: ${error instanceof Error ? error.message : String(error)}`,
      )
    }
    return null
  }

  const reader = createRegistryReader({ broker, codec: plan.models.codec, topic, changed: take })
  return { ...reader, current: () => current }
}
