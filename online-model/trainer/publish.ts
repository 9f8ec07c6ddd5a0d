/** Step 3 of the trainer: the continuous learner's weights into the registry as a candidate, and through the gates. Called by step 2. */
import { identitiesOf } from '../../schemas/plan/feature-identity.ts'
import { measure } from '../evaluation/metrics.ts'
import { type FittingPlan, isFor } from '../models/fits.ts'
import type { RegistryState } from '../registry/registry.ts'
import type { VersionDraft } from '../registry/writer.ts'
import { submitCandidate } from './candidates.ts'
import type { ContinuousLearning } from './continuous.ts'
import { evaluateLearnt } from './evaluate-candidate.ts'
import { positionsOf, saveSchedule, type TrainerState } from './state.ts'

/** `learntMs`: event time of the newest row learnt from. */
export async function publishLearnt(
  state: TrainerState,
  continuous: ContinuousLearning,
  learntMs: number,
): Promise<void> {
  const { plan, registry, seed } = state
  const recent = continuous.recent()
  const draft: VersionDraft = {
    fingerprint: plan.fingerprint,
    identities: identitiesOf(plan.features),
    seed,
    model: continuous.weights(),
    origin: 'continuous',
    parent: lastContinuous(registry.state(), plan),
    metrics: {
      rows: recent.rowCount,
      ...finite(measure(recent.labels, recent.candidate, { weights: recent.weights })),
    },
    trainedOn: positionsOf(state),
  }
  await continuous.save()
  await submitCandidate(state, draft, evaluateLearnt(state, recent, continuous.vectors()))
  await saveSchedule(state, { ...state.schedule, publishedMs: learntMs })
}

function lastContinuous({ versions }: RegistryState, plan: FittingPlan): string | null {
  const last = [...versions.values()].findLast((version) => version.origin === 'continuous' && isFor(version, plan))
  return last?.version ?? null
}

/** A measure that the rows do not allow is left out. */
function finite(measures: object): Record<string, number> {
  return Object.fromEntries(Object.entries(measures).filter(([, value]) => Number.isFinite(value)))
}
