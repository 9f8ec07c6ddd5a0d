/**
 * A candidate's way into the registry: published, evaluated against what was served, promoted or rejected with the reasons. Called by the
 * trainer for the weights of its continuous learner and for those of a retraining.
 */
import type { Log } from '../../runtime/log.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import type { GateDecision } from '../evaluation/gates.ts'
import type { FittingPlan } from '../models/fits.ts'
import { challengers, champion, championAlias, championFor, type RegistryState } from '../registry/registry.ts'
import type { RegistryWriter, VersionDraft } from '../registry/writer.ts'
import type { TrainerMetrics } from './metrics.ts'

export type CandidateOutcome = 'promoted' | 'rejected'

export interface CandidateParts {
  readonly plan: FittingPlan
  readonly registry: RegistryWriter
  readonly log: Log
  readonly metrics: Pick<TrainerMetrics, 'submitted'>
}

/** `candidate` is the version as it was published; `champion` the one to compare it with, null where there is none of this definition. */
export type EvaluateCandidate = (candidate: ModelVersion, champion: ModelVersion | null) => GateDecision

const by = 'trainer'

/** Null where the same candidate was decided on before: a trainer that died before it could save that it had submitted it. */
export async function submitCandidate(
  parts: CandidateParts,
  draft: VersionDraft,
  evaluate: EvaluateCandidate,
): Promise<CandidateOutcome | null> {
  const { registry, log, metrics } = parts
  const before = await registry.refresh()
  const known = published(before, draft)
  if (known && isDecided(before, known.version)) return null
  const against = championFor(before, parts.plan)
  const candidate = known ?? (await publishIfItFits(parts, draft))
  let outcome: CandidateOutcome = 'rejected'
  if (candidate !== null) {
    const { version } = candidate
    const { promote, reasons, measures: figures } = evaluate(candidate, against)
    const reason = reasons.join(' ')
    if (promote && (await promoted(parts, version, before, reason))) outcome = 'promoted'
    if (outcome === 'rejected') {
      await registry.reject(version, { by, reason, against: against?.version ?? null, figures })
      await challenge(parts, version, draft)
    }
    const result = outcome === 'promoted' ? 'the champion' : 'rejected'
    log.info({ version, origin: draft.origin, ...figures }, `${version} is ${result}. ${reason}`)
  }
  metrics.submitted(outcome === 'promoted')
  return outcome
}

/** Null where the version is too large for a registry record: that is a rejection like any other, though of a version without a name. */
async function publishIfItFits({ registry, log }: CandidateParts, draft: VersionDraft): Promise<ModelVersion | null> {
  try {
    return await registry.publish(draft)
  } catch (error) {
    if (!(error instanceof PipelineError) || error.code !== 'model_too_large') throw error
    log.warn({ code: error.code, origin: draft.origin }, `a candidate is rejected: ${error.message}`)
    return null
  }
}

async function promoted(
  { registry, log }: CandidateParts,
  version: string,
  before: RegistryState,
  reason: string,
): Promise<boolean> {
  const instead = champion(before)?.version ?? null
  const outcome = await registry.promote(version, { by, reason, instead, keepsFormer: true })
  if (!outcome.accepted) log.warn({ version }, `${version} was not promoted: ${outcome.why}`)
  return outcome.accepted
}

/** A rejected version scores in shadow, to be measured further: instead of the last one of its origin, or where an alias is free. */
async function challenge({ registry, log }: CandidateParts, version: string, { origin }: VersionDraft): Promise<void> {
  const former = challengers(registry.state()).find((other) => other.origin === origin)
  const instead = former ? { instead: former.version } : {}
  const outcome = await registry.challenge(version, { by, reason: `the newest of the ${origin} ones`, ...instead })
  if (!outcome.accepted) log.info({ version }, `${version} does not score in shadow: ${outcome.why}`)
}

/** The same rows and seed give the same weights, by which a candidate that was published before is recognised. */
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
