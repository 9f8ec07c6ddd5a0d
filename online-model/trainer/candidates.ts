/**
 * A candidate's way into the registry: published, judged against what was served, promoted or refused with the reason. Called by the
 * trainer for what was learnt continuously and for what a retraining gave.
 */
import type { Log } from '../../runtime/log.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import type { GateDecision } from '../evaluation/gates.ts'
import { challengers, champion, championAlias, type RegistryState } from '../registry/registry.ts'
import type { RegistryWriter, VersionDraft } from '../registry/writer.ts'

export type CandidateOutcome = 'promoted' | 'rejected'

export interface Candidates {
  /**
   * `judge` is asked with the version as it was published and the champion that it is judged against. Null: a trainer that died before it
   * could say so had done all this already.
   */
  submit(
    draft: VersionDraft,
    judge: (candidate: ModelVersion, against: ModelVersion | null) => GateDecision,
  ): Promise<CandidateOutcome | null>
}

const by = 'trainer'

export function createCandidates(registry: RegistryWriter, log: Log): Candidates {
  async function submit(
    draft: VersionDraft,
    judge: (candidate: ModelVersion, against: ModelVersion | null) => GateDecision,
  ): Promise<CandidateOutcome | null> {
    const before = await registry.refresh()
    const known = published(before, draft)
    if (known && isDecided(before, known.version)) return null
    const against = championOf(before, draft.fingerprint)
    const candidate = known ?? (await publishable(draft))
    if (candidate === null) return 'rejected'
    const { version } = candidate
    const { promote, reasons, measures: figures } = judge(candidate, against)
    const reason = reasons.join(' ')
    const isPromoted = promote && (await promoted(version, before, reason))
    if (!isPromoted) {
      await registry.reject(version, { by, reason, against: against?.version ?? null, figures })
      await challenge(version, draft)
    }
    log.info(
      { version, origin: draft.origin, ...figures },
      `${version} is ${isPromoted ? 'the champion' : 'rejected'}. ${reason}`,
    )
    return isPromoted ? 'promoted' : 'rejected'
  }

  /** What is too large today is so tomorrow: it is refused like any other candidate, though without a name. */
  async function publishable(draft: VersionDraft): Promise<ModelVersion | null> {
    try {
      return await registry.publish(draft)
    } catch (error) {
      if (!(error instanceof PipelineError) || error.code !== 'model_too_large') throw error
      log.warn({ code: error.code, origin: draft.origin }, `a candidate is refused: ${error.message}`)
      return null
    }
  }

  async function promoted(version: string, before: RegistryState, reason: string): Promise<boolean> {
    const instead = champion(before)?.version ?? null
    const outcome = await registry.promote(version, { by, reason, instead, keepsFormer: true })
    if (!outcome.accepted) log.warn({ version }, `${version} was not promoted: ${outcome.why}`)
    return outcome.accepted
  }

  /** It scores in shadow, so that its figures go on: in the place of the last one of its origin, or where an alias is free. */
  async function challenge(version: string, { origin }: VersionDraft): Promise<void> {
    const former = challengers(registry.state()).find((other) => other.origin === origin)
    const instead = former ? { instead: former.version } : {}
    const outcome = await registry.challenge(version, { by, reason: `the newest of the ${origin} ones`, ...instead })
    if (!outcome.accepted) log.info({ version }, `${version} does not score in shadow: ${outcome.why}`)
  }

  return { submit }
}

/** A champion of another definition scores nothing, and is nobody to be compared with. */
export function championOf(state: RegistryState, fingerprint: string): ModelVersion | null {
  const version = champion(state)
  return version?.fingerprint === fingerprint ? version : null
}

/** The same rows and seed give the same weights: they tell a candidate that was published before. */
function published({ versions }: RegistryState, draft: VersionDraft): ModelVersion | undefined {
  const weights = JSON.stringify(draft.model)
  return [...versions.values()].findLast(
    ({ origin, fingerprint, model }) =>
      origin === draft.origin && fingerprint === draft.fingerprint && JSON.stringify(model) === weights,
  )
}

function isDecided({ notes, history }: RegistryState, version: string): boolean {
  return notes.has(version) || history.some((change) => change.alias === championAlias && change.version === version)
}
