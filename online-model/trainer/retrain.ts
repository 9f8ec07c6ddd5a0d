/**
 * Step 4 of the trainer: a full training starts when it is due, runs beside the loop, and becomes a candidate once it is done. Called with
 * every turn of the loop.
 */
import assert from 'node:assert/strict'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { identitiesOf } from '../../schemas/plan/feature-identity.ts'
import { championFor } from '../registry/registry.ts'
import type { VersionDraft } from '../registry/writer.ts'
import { submitCandidate } from './candidates.ts'
import { evaluateTrained } from './evaluate-candidate.ts'
import { retrainRows } from './retraining-rows.ts'
import { type Matured, retrainDue, retrained } from './schedule.ts'
import {
  maturedBy,
  positionsOf,
  type Retraining,
  type RetrainOutcome,
  saveSchedule,
  type Trained,
  type TrainerState,
} from './state.ts'

/** `stop`: ends the fit. */
export async function retrain(state: TrainerState, stop: AbortSignal): Promise<void> {
  if (state.retraining === null) startRetraining(state, stop)
  else if (state.retraining.outcome !== null) await settleRetraining(state, state.retraining, state.retraining.outcome)
}

function startRetraining(state: TrainerState, stop: AbortSignal): void {
  const { plan, clock, log, requestedBy } = state
  const matured = maturedBy(state)
  const reason =
    requestedBy === null ? retrainDue(plan.learn.retrain, state.schedule, matured) : `requested by ${requestedBy}`
  if (reason === null || matured.rows === 0) return
  state.requestedBy = null
  log.info({ reason }, `retraining: ${reason}`)
  const startedMs = clock.elapsedMs()
  const seconds = () => (clock.elapsedMs() - startedMs) / 1_000
  const finish = (outcome: RetrainOutcome) => {
    retraining.outcome = outcome
  }
  const done = train(state, matured, stop).then(
    (trained) => finish({ ...trained, seconds: seconds() }),
    (error: unknown) => finish({ kind: 'failed', error, seconds: seconds() }),
  )
  const retraining: Retraining = { reason, matured, outcome: null, done }
  state.retraining = retraining
}

async function train(state: TrainerState, { untilMs }: Matured, stop: AbortSignal): Promise<Omit<Trained, 'seconds'>> {
  const { store, plan, fit: fitRows, seed } = state
  const trainedOn = positionsOf(state)
  const rows = await retrainRows(store, untilMs, plan.learn.retrain?.overMs ?? null)
  assert(rows, 'a retraining starts once rows are mature')
  const fitted = await fitRows(rows.training, { seed, signal: stop })
  return { kind: 'trained', fitted, rows, trainedOn }
}

/** The schedule moves on last: until then an outage would lose what the training gave. */
async function settleRetraining(state: TrainerState, retraining: Retraining, outcome: RetrainOutcome): Promise<void> {
  if (outcome.kind === 'trained') {
    await submitTrained(state, outcome)
  } else {
    // Ended by the stop: it is due again after the next start.
    if (state.signal.aborted && outcome.error === state.signal.reason) return
    // The next retraining has other rows; any other failure would repeat itself and ends the trainer.
    if (!(outcome.error instanceof PipelineError) || outcome.error.code !== 'model_untrainable') throw outcome.error
    state.log.warn({ code: outcome.error.code }, `the retraining gave no model: ${outcome.error.message}`)
  }
  await saveSchedule(state, retrained(state.schedule, retraining.matured, state.plan.fingerprint))
  state.metrics.retrained(outcome.kind, outcome.seconds)
  state.retraining = null
}

async function submitTrained(state: TrainerState, { fitted, rows, trainedOn }: Trained): Promise<void> {
  const { plan, registry, seed } = state
  const draft: VersionDraft = {
    fingerprint: plan.fingerprint,
    identities: identitiesOf(plan.features),
    seed,
    model: fitted.weights,
    origin: 'retrain',
    parent: championFor(registry.state(), plan)?.version ?? null,
    metrics: { rows: rows.training.rowCount, positives: rows.positives },
    trainedOn,
  }
  await submitCandidate(state, draft, evaluateTrained(state, rows.heldOut))
}
