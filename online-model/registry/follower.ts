/**
 * The registry topic in, the scorers of the champion and its challengers out: read to its end at start, followed in the background, asked
 * once per batch.
 */
import type { BrokerData } from '../../runtime/broker.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import { misfitOf } from '../models/fits.ts'
import { createScorer, type Scorer } from '../models/scorer.ts'
import { createRegistryReader, type RegistryReader } from './reader.ts'
import { challengers, champion, type RegistryState } from './registry.ts'

export interface RegistryFollowerOptions {
  readonly broker: BrokerData
  readonly plan: Pick<Plan, 'models' | 'features' | 'fingerprint' | 'model'>
  /** The registry topic under its full name. One partition. */
  readonly topic: string
  /** Called with one line when the champion or the challengers change; a warning where events stay without a score. */
  readonly printLine: (line: string, level: 'info' | 'warn') => void
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
  /** What is to be done where there is a champion that cannot score here, in one sentence; null otherwise. */
  misfit(): string | null
}

/** Constructing starts nothing. */
export function createRegistryFollower(options: RegistryFollowerOptions): RegistryFollower {
  const { broker, plan, topic, printLine, reasonsMax = 3 } = options
  let current: ChampionScorer | null = null
  let misfit: string | null = null
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
    const why = misfitOf(version, plan)
    const scorer = why === null ? (former.get(version.version) ?? createScorer(version, plan, reasonsMax)) : null
    scorers.set(version.version, scorer)
    for (const other of others) {
      const known = former.get(other.version)
      scorers.set(other.version, known === undefined ? shadowOf(other) : known)
    }
    current = scorer && { ...scorer, shadows: others.flatMap((other) => scorers.get(other.version) ?? []) }
    if (version.version !== championVersion) {
      misfit = why && misfitSentence(version.version, why)
      printLine(misfit ?? `champion is ${version.version}`, misfit === null ? 'info' : 'warn')
    }
    if (names !== challengerVersions)
      printLine(names === '' ? 'there is no challenger any more' : `challengers are ${names}`, 'info')
    championVersion = version.version
    challengerVersions = names
  }

  /** A challenger that cannot score does not stop the champion. */
  const shadowOf = (version: ModelVersion): Scorer | null => {
    try {
      const why = misfitOf(version, plan)
      if (why === null) return createScorer(version, plan, reasonsMax)
      printLine(`challenger ${version.version} does not score: ${why}`, 'warn')
    } catch (error) {
      printLine(
        `challenger ${version.version} does not score: ${error instanceof Error ? error.message : String(error)}`,
        'warn',
      )
    }
    return null
  }

  const reader = createRegistryReader({ broker, codec: plan.models.codec, topic, changed: take })
  return { ...reader, current: () => current, misfit: () => misfit }
}

/** Also of `doctor`. */
export function misfitSentence(version: string, why: string): string {
  return (
    `champion ${version} does not fit this definition: ${why}. Predictions carry no score until a model is trained on it ` +
    '(docs/evolving.md: how to train it before the switch)'
  )
}
