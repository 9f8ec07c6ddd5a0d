/**
 * Step 5 of the trainer: the scores that were served against the labels that have matured, a rollback of a champion that turned out worse
 * than its predecessor, and a snapshot of the store for other processes. Called with every turn of the loop.
 */
import type { ModelVersion } from '../../schemas/wire/records.ts'
import { isFor } from '../models/fits.ts'
import { champion } from '../registry/registry.ts'
import { evaluateChampion } from './evaluate-candidate.ts'
import { evaluateServed } from './served-evaluation.ts'
import type { TrainerState } from './state.ts'

/** At most every `evaluateEveryMs`, and only where rows have matured since the last evaluation. */
export async function evaluateIfDue(state: TrainerState): Promise<void> {
  const { plan, store, registry, clock, limits, metrics } = state
  const { maturedUntilMs, maturedSeq } = store.status()
  if (maturedSeq <= state.evaluatedSeq || clock.elapsedMs() - state.evaluatedAtMs < limits.evaluateEveryMs) return
  const evaluation = await evaluateServed(store, plan, await registry.refresh(), maturedUntilMs)
  state.evaluation = evaluation
  state.evaluatedAtMs = clock.elapsedMs()
  state.evaluatedSeq = maturedSeq
  metrics.evaluated(evaluation)
  await store.saveQuality('champion', evaluation.served)
  const newest = [...evaluation.shadows.values()].at(-1)
  if (newest) await store.saveQuality('challenger', newest)
  await rollBackIfWorse(state)
}

async function rollBackIfWorse(state: TrainerState): Promise<void> {
  const { plan, registry, metrics, log, evaluation } = state
  const current = champion(registry.state())
  const fits = (version: ModelVersion) => isFor(version, plan)
  // One of another definition is measured by the trainer of that.
  if (current === null || !fits(current) || evaluation === null) return
  const { rollBack, reasons } = evaluateChampion(state, evaluation.rows, current)
  if (!rollBack) return
  const reason = reasons.join(' ')
  const { version } = current
  const outcome = await registry.rollback({ by: 'trainer', reason, from: version, fits })
  metrics.rolledBack(outcome.accepted)
  log.warn({ version }, outcome.accepted ? `${version} is rolled back: ${reason}` : outcome.why)
}

/** At most every `snapshotEveryMs`, and only where rows have matured since the last snapshot. */
export async function snapshotIfDue(state: TrainerState): Promise<void> {
  const { store, clock, limits, snapshotFile } = state
  const { maturedSeq } = store.status()
  if (maturedSeq <= state.snapshotSeq || clock.elapsedMs() - state.snapshotAtMs < limits.snapshotEveryMs) return
  // Before the attempt: a snapshot that fails is not tried again for the same rows.
  state.snapshotSeq = maturedSeq
  if (snapshotFile !== null) await store.snapshot(snapshotFile)
  state.snapshotAtMs = clock.elapsedMs()
}
