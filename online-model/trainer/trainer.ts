/**
 * The trainer: logged predictions and late labels in, better models out, for as long as its process runs.
 *
 *   1 follow the logs into the training store · 2 learn from the rows that mature (`learn.ts`) · 3 publish what was learnt (`publish.ts`) ·
 *   4 retrain when due, beside this loop (`retrain.ts`) · 5 evaluate what was served, roll back what got worse (`evaluate.ts`) · 6 next
 *
 * Every step continues from what the previous one has saved, so that a crash between any two repeats work and loses none. Processes that
 * score need nothing from this one but its registry records. Called by `millrace trainer` and an embedded `start`.
 */
import { createOutage, processRetry } from '../../runtime/retry.ts'
import { modelOf } from '../models/model-of.ts'
import { createStoreFollower, type StoreFollower } from '../training-store/follow.ts'
import { type ContinuousLearning, openContinuous } from './continuous.ts'
import { evaluateIfDue, snapshotIfDue } from './evaluate.ts'
import { learnMatured } from './learn.ts'
import { retrain } from './retrain.ts'
import { begun } from './schedule.ts'
import type { ServedEvaluation } from './served-evaluation.ts'
import {
  createTrainerState,
  loadSchedule,
  maturedBy,
  saveSchedule,
  type TrainerOptions,
  type TrainerState,
} from './state.ts'

export { defaultTrainerLimits, type TrainerLimits, type TrainerOptions } from './state.ts'

export interface Trainer {
  /** The latest evaluation; null before the first. */
  evaluation(): ServedEvaluation | null
  /** The retraining that is running; null where none is. */
  retraining(): { readonly reason: string } | null
  /** Requests a retraining as soon as none is running; several requests are one. */
  requestRetraining(by: string): void
  /** Resolves after a stop, once the running step has ended and is saved; rejects with the failure that ended the trainer. */
  readonly done: Promise<void>
}

export function startTrainer(options: TrainerOptions): Trainer {
  const state = createTrainerState(options)
  return {
    evaluation: () => state.evaluation,
    retraining: () => state.retraining && { reason: state.retraining.reason },
    requestRetraining(by) {
      state.requestedBy ??= by
    },
    done: run(state),
  }
}

async function run(state: TrainerState): Promise<void> {
  const { clock, random, limits, log, signal, store, metrics } = state
  const outage = createOutage({
    policy: { ...processRetry, outageMaxMs: limits.outageMaxMs },
    clock,
    random,
    signal,
    onRetry: ({ error, failures, pauseMs }) => log.warn({ code: error.code, failures, pauseMs }, error.message),
  })
  await loadSchedule(state)
  const continuous = await openLearning(state)
  const follower = openFollower(state, continuous)
  const stopFit = new AbortController()
  const stop = AbortSignal.any([signal, stopFit.signal])
  try {
    while (!signal.aborted) {
      try {
        // 1 follow; 2 learn and 3 publish, for the rows that mature by it
        const { isAtEnd } = await follower.step()
        await saveSchedule(state, begun(state.schedule, maturedBy(state), null))

        // 4 retrain
        await retrain(state, stop)

        // 5 evaluate
        await evaluateIfDue(state)
        await snapshotIfDue(state)
        metrics.status(store.status())
        outage.succeeded()

        // 6 next
        await (isAtEnd ? clock.sleep(limits.pollMs) : clock.turn())
      } catch (error) {
        await outage.failed(error)
      }
    }
    await continuous?.save()
  } finally {
    stopFit.abort()
    await state.retraining?.done
    await follower.close()
    continuous?.close()
  }
}

/** Null where the definition requests none, or its model is only trained as a whole. */
async function openLearning({ plan, store, seed, limits }: TrainerState): Promise<ContinuousLearning | null> {
  const { learner } = modelOf(plan.model)
  return plan.learn.continuous && learner ? openContinuous({ ...limits, store, learner, seed }) : null
}

function openFollower(state: TrainerState, continuous: ContinuousLearning | null): StoreFollower {
  const { broker, plan, store, clock, log, random, limits } = state
  return createStoreFollower({
    broker,
    plan,
    store,
    clock,
    log,
    random,
    handOut: continuous && {
      afterSeq: continuous.upToSeq,
      rowsMax: limits.matureRowsMax,
      onMatured: (rows) => learnMatured(state, continuous, rows),
    },
  })
}
