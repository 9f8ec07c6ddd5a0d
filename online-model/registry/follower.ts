/**
 * The registry topic in, the scorers of the champion and its challengers out: read to its end at start, followed in the background, asked
 * once per batch.
 */
import type { BrokerData } from '../../runtime/broker.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import { type FittingPlan, misfitOf } from '../models/fits.ts'
import { createScorer, type Scorer } from '../models/scorer.ts'
import { createRegistryReader, type RegistryReader } from './reader.ts'
import { challengers, champion, championFor, type RegistryState } from './registry.ts'

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
   * The scorer of the champion, or of the one before it that fits this definition (`championFor`); null while there is none. Synchronous:
   * read at a batch boundary.
   */
  current(): ChampionScorer | null
  /** Where there is a champion that cannot score here: what scores instead, or what is to be done, in one sentence; null otherwise. */
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
    const serving = championFor(state, plan)
    const others = challengers(state).filter((other) => other.version !== serving?.version)
    const names = others.map((other) => other.version).join(', ')
    const isOther = version.version !== championVersion || serving?.version !== current?.version
    if (!isOther && names === challengerVersions) return
    const former = scorers
    scorers = new Map()
    const scorer = serving && (former.get(serving.version) ?? createScorer(serving, plan, reasonsMax))
    if (serving !== null) scorers.set(serving.version, scorer)
    for (const other of others) {
      const known = former.get(other.version)
      scorers.set(other.version, known === undefined ? shadowOf(other) : known)
    }
    current = scorer && { ...scorer, shadows: others.flatMap((other) => scorers.get(other.version) ?? []) }
    if (isOther) {
      misfit = misfitSentence(version, plan, serving)
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

/** `serving`: what scores (`championFor`). Null where that is the champion. */
export function misfitSentence(
  version: ModelVersion,
  plan: FittingPlan,
  serving: Pick<ModelVersion, 'version'> | null,
): string | null {
  const why = misfitOf(version, plan)
  if (why === null) return null
  const sentence = `champion ${version.version} does not fit this definition: ${why}.`
  return serving === null
    ? `${sentence} Predictions carry no score until a model is trained on it (docs/evolving.md: how to train it before the switch)`
    : `${sentence} ${serving.version}, which was the champion before, scores until a process of the other definition takes over, ` +
        'or another model is promoted (docs/evolving.md)'
}
