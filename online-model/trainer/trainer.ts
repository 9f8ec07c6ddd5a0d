/**
 * The trainer: logged predictions and late labels in, better models out, for as long as its process runs.
 *
 *   1 follow the logs into the training store · 2 learn from what matured · 3 publish what was learnt · 4 retrain when due, beside this
 *   loop · 5 evaluate what was served, take back what got worse · 6 next
 *
 * Every step goes on from what the one before has saved, so that a crash between any two repeats work and loses none. Processes that score
 * need nothing of this one but its registry records. Called by `millrace trainer` and an embedded `start`.
 */
import assert from 'node:assert/strict'
import type { Broker } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import { measure } from '../evaluation/metrics.ts'
import type { Fitted } from '../models/model.ts'
import { modelOf } from '../models/model-of.ts'
import { isFor } from '../models/scorer.ts'
import type { RegistryWriter, VersionDraft } from '../registry/writer.ts'
import { createStoreFollower } from '../training-store/follow.ts'
import type { MatureRows, TrainingStore } from '../training-store/store.ts'
import { type CandidateOutcome, championOf, createCandidates } from './candidates.ts'
import { type ContinuousLearning, openContinuous } from './continuous.ts'
import { createGateEvaluators } from './evaluate-candidate.ts'
import type { TrainerMetrics } from './metrics.ts'
import { type Fit, type RetrainRows, retrainRows } from './retraining.ts'
import { begun, type Matured, nothingScheduled, publishFrom, retrainDue, retrained, type Schedule } from './schedule.ts'
import { type Watched, watch } from './watch.ts'

export interface TrainerOptions {
  readonly plan: Plan
  readonly broker: Pick<Broker, 'partitionCounts' | 'bounds' | 'fetcher'>
  readonly store: TrainingStore
  readonly registry: RegistryWriter
  /** The fit of a retraining, where it holds nothing up. */
  readonly fit: Fit
  /** Of everything that is drawn. */
  readonly seed: number
  readonly clock: Clock
  readonly log: Log
  readonly metrics: TrainerMetrics
  /** File for the copies of the store; null: none are made. */
  readonly snapshotFile: string | null
  readonly limits: TrainerLimits
  readonly signal: AbortSignal
}

export interface TrainerLimits {
  /** Mature rows learnt from between two looks at whether to publish. */
  readonly matureRowsMax: number
  readonly saveRows: number
  readonly recentRowsMax: number
  /** Time of day between two evaluations. */
  readonly evaluateEveryMs: number
  /** Time of day between two copies of the store for other processes. */
  readonly snapshotEveryMs: number
  /** Longest pause where there is nothing to read. */
  readonly pollMs: number
  /** After so long with nothing but failures the trainer gives up: whoever restarts it should look. */
  readonly outageMaxMs: number
}

export const defaultTrainerLimits: TrainerLimits = {
  matureRowsMax: 512,
  saveRows: 20_000,
  recentRowsMax: 100_000,
  evaluateEveryMs: 10_000,
  snapshotEveryMs: 600_000,
  pollMs: 250,
  outageMaxMs: 300_000,
}

export interface Trainer {
  /** The latest evaluation; null before the first. */
  watched(): Watched | null
  /** A retraining under way, and how far it is. */
  retraining(): { readonly reason: string } | null
  /** Asks for a retraining as soon as none is under way; several requests are one. */
  requestRetraining(by: string): void
  /** Resolves after a stop, with what is under way ended and saved; rejects with what ended it. */
  readonly done: Promise<void>
}

const backoffFirstMs = 100
const backoffMaxMs = 5_000

/** The name under which the store keeps the schedule. */
const scheduleName = 'schedule'

export function startTrainer(options: TrainerOptions): Trainer {
  const { plan, broker, store, registry, fit: fitRows, seed, clock, log, metrics, limits, signal } = options
  const candidates = createCandidates(registry, log)
  const evaluators = createGateEvaluators({ plan, state: registry.state, clock, seed })
  let schedule: Schedule = nothingScheduled
  let watched: Watched | null = null
  let evaluatedMs = Number.NEGATIVE_INFINITY
  let evaluatedSeq = 0
  let snapshotMs = Number.NEGATIVE_INFINITY
  let snapshotSeq = 0
  let requested: string | null = null
  /** `outcome`: null while it is under way. */
  let retraining: { readonly reason: string; readonly matured: Matured; outcome: RetrainOutcome | null } | null = null
  let underWay: Promise<void> = Promise.resolve()
  let failing: { readonly sinceMs: number; readonly failures: number } | null = null

  return {
    watched: () => watched,
    retraining: () => retraining && { reason: retraining.reason },
    requestRetraining(by) {
      requested ??= by
    },
    done: run(),
  }

  async function run(): Promise<void> {
    schedule = await savedSchedule(store)
    const { learner } = modelOf(plan.model)
    const continuous =
      plan.learn.continuous && learner ? await openContinuous({ ...limits, store, learner, seed }) : null
    const follower = createStoreFollower({
      broker,
      plan,
      store,
      clock,
      log,
      handOut: continuous && {
        afterSeq: continuous.upToSeq,
        rowsMax: limits.matureRowsMax,
        onMatured: (rows) => learn(continuous, rows),
      },
    })
    const stopFit = new AbortController()
    try {
      while (!signal.aborted) {
        try {
          // 1 follow; 2 learn and 3 publish, for what matures by it
          const { isAtEnd } = await follower.step()
          await keep(begun(schedule, matured(), null))

          // 4 retrain
          if (retraining?.outcome) await settle(retraining.outcome, retraining.matured)
          else if (!retraining) begin(AbortSignal.any([signal, stopFit.signal]))

          // 5 evaluate
          if (isEvaluationDue()) await evaluateServed()
          if (isSnapshotDue()) await writeSnapshot()
          metrics.status(store.status())
          failing = null
          await (isAtEnd ? clock.sleep(limits.pollMs) : clock.turn())
        } catch (error) {
          await waitOut(error)
        }
      }
      await continuous?.save()
    } finally {
      stopFit.abort()
      await underWay
      await follower.close()
      continuous?.close()
    }
  }

  /** What may pass is waited out: every step goes on from what it had done. */
  async function waitOut(error: unknown): Promise<void> {
    if (!(error instanceof PipelineError) || !error.retry) throw error
    failing = { sinceMs: failing?.sinceMs ?? clock.elapsedMs(), failures: (failing?.failures ?? 0) + 1 }
    if (clock.elapsedMs() - failing.sinceMs > limits.outageMaxMs) throw error
    const delayMs = Math.min(backoffMaxMs, backoffFirstMs * 2 ** (failing.failures - 1))
    log.warn({ code: error.code, failures: failing.failures, delayMs }, error.message)
    await clock.sleep(delayMs)
  }

  /** The cadence is the rows' own, so that a backlog gives the versions that its time would have given. */
  async function learn(continuous: ContinuousLearning, rows: MatureRows): Promise<void> {
    // After a failure to publish, the rows that were learnt from by then are handed out again.
    const known = rows.seqs.findIndex((seq) => seq > continuous.upToSeq)
    for (let row = known === -1 ? rows.rowCount : known; row < rows.rowCount; ) {
      // 2 learn
      const firstMs = rows.times[row]!
      await keep(begun(schedule, matured(), firstMs))
      const dueMs = publishFrom(plan.learn.continuous, schedule, firstMs)
      const from = row
      row = await continuous.learn(rows, from, dueMs)
      metrics.learnt(row - from)

      // 3 publish
      const newestMs = rows.times[row - 1]!
      if (newestMs >= dueMs) await publishLearnt(continuous, newestMs)
    }
  }

  function matured(): Matured {
    const { maturedUntilMs: untilMs, maturedSeq: rows } = store.status()
    return { untilMs, rows }
  }

  /** What the store stands for: everything before these offsets. */
  function positions(): VersionDraft['trainedOn'] {
    const topics = { predictions: plan.predictions.topic, label: plan.streams[plan.label.stream]!.topic }
    return store
      .status()
      .partitions.map(({ input, partition, next }) => ({ topic: topics[input], partition, offset: next }))
  }

  async function keep(next: Schedule): Promise<void> {
    if (next === schedule) return
    await store.saveState(scheduleName, { upToSeq: 0, bytes: Buffer.from(JSON.stringify(next)) })
    schedule = next
  }

  async function publishLearnt(continuous: ContinuousLearning, learntMs: number): Promise<void> {
    const recent = continuous.recent()
    const weights = continuous.weights()
    const state = registry.state()
    const draft: VersionDraft = {
      fingerprint: plan.fingerprint,
      seed,
      model: weights,
      origin: 'continuous',
      parent: lastOf(state.versions.values(), 'continuous', plan.fingerprint),
      metrics: {
        rows: recent.rowCount,
        ...finite(measure(recent.labels, recent.candidate, { weights: recent.weights })),
      },
      trainedOn: positions(),
    }
    await continuous.save()
    tell(await candidates.submit(draft, evaluators.learnt(recent, continuous.vectors())))
    await keep({ ...schedule, publishedMs: learntMs })
  }

  function begin(stop: AbortSignal): void {
    const now = matured()
    const due = requested === null ? retrainDue(plan.learn.retrain, schedule, now) : `asked for by ${requested}`
    if (due === null || now.rows === 0) return
    requested = null
    const current: NonNullable<typeof retraining> = { reason: due, matured: now, outcome: null }
    retraining = current
    log.info({ reason: due }, `retraining: ${due}`)
    const beganMs = clock.elapsedMs()
    underWay = retrain(now, stop).then(
      (outcome) => {
        current.outcome = { ...outcome, seconds: (clock.elapsedMs() - beganMs) / 1_000 }
      },
      (error: unknown) => {
        current.outcome = { kind: 'failed', error, seconds: (clock.elapsedMs() - beganMs) / 1_000 }
      },
    )
  }

  async function retrain({ untilMs }: Matured, stop: AbortSignal): Promise<Omit<Trained, 'seconds'>> {
    const trainedOn = positions()
    const rows = await retrainRows(store, untilMs, plan.learn.retrain?.overMs ?? null)
    assert(rows, 'a retraining begins once rows are mature')
    const facts = { rows: rows.training.rowCount, positives: rows.positives }
    const fitted = await fitRows(rows.training, { seed, signal: stop })
    return { kind: 'trained', fitted, rows, facts, trainedOn }
  }

  async function settle(outcome: RetrainOutcome, at: Matured): Promise<void> {
    if (outcome.kind === 'failed') {
      // By the stop. What the schedule asks for is due again after the next start.
      if (signal.aborted && outcome.error === signal.reason) return
      // The next one has other rows; what is broken for good ends the trainer.
      if (!(outcome.error instanceof PipelineError) || outcome.error.code !== 'model_untrainable') throw outcome.error
      log.warn({ code: outcome.error.code }, `nothing came of the retraining: ${outcome.error.message}`)
      return settled(outcome, at)
    }
    const { fitted, rows, facts, trainedOn } = outcome
    const draft: VersionDraft = {
      fingerprint: plan.fingerprint,
      seed,
      model: fitted.weights,
      origin: 'retrain',
      parent: championOf(registry.state(), plan.fingerprint)?.version ?? null,
      metrics: facts,
      trainedOn,
    }
    tell(await candidates.submit(draft, evaluators.trained(rows.heldOut)))
    await settled(outcome, at)
  }

  /** Only now: until then an outage would lose what the training gave. */
  async function settled({ kind, seconds }: RetrainOutcome, at: Matured): Promise<void> {
    await keep(retrained(schedule, at))
    metrics.retrained(kind, seconds)
    retraining = null
  }

  function tell(outcome: CandidateOutcome | null): void {
    if (outcome) metrics.submitted(outcome === 'promoted')
  }

  function isEvaluationDue(): boolean {
    return clock.elapsedMs() - evaluatedMs >= limits.evaluateEveryMs && store.status().maturedSeq > evaluatedSeq
  }

  function isSnapshotDue(): boolean {
    const { maturedSeq } = store.status()
    return maturedSeq > snapshotSeq && clock.elapsedMs() - snapshotMs >= limits.snapshotEveryMs
  }

  async function writeSnapshot(): Promise<void> {
    snapshotSeq = store.status().maturedSeq
    if (options.snapshotFile !== null) await store.snapshot(options.snapshotFile)
    snapshotMs = clock.elapsedMs()
  }

  async function evaluateServed(): Promise<void> {
    const { maturedUntilMs, maturedSeq } = store.status()
    const state = await registry.refresh()
    watched = await watch(store, plan, state, maturedUntilMs)
    evaluatedMs = clock.elapsedMs()
    evaluatedSeq = maturedSeq
    metrics.evaluated(watched)
    await store.saveQuality('champion', watched.served)
    const newest = [...watched.shadows.values()].at(-1)
    if (newest) await store.saveQuality('challenger', newest)
    const champion = championOf(state, plan.fingerprint)
    if (!champion) return
    const { rollBack, reasons } = evaluators.standing(watched.mature, champion)
    if (!rollBack) return
    const reason = reasons.join(' ')
    const fits = (version: ModelVersion) => isFor(version, plan)
    const outcome = await registry.rollback({ by: 'trainer', reason, from: champion.version, fits })
    metrics.rolledBack(outcome.accepted)
    log.warn(
      { version: champion.version },
      outcome.accepted ? `${champion.version} is taken back: ${reason}` : outcome.why,
    )
  }
}

interface Trained {
  readonly kind: 'trained'
  readonly fitted: Fitted
  readonly rows: RetrainRows
  readonly facts: { readonly rows: number; readonly positives: number }
  readonly trainedOn: VersionDraft['trainedOn']
  readonly seconds: number
}

type RetrainOutcome = Trained | { readonly kind: 'failed'; readonly error: unknown; readonly seconds: number }

async function savedSchedule(store: Pick<TrainingStore, 'state'>): Promise<Schedule> {
  const saved = await store.state(scheduleName)
  return saved === null ? nothingScheduled : (JSON.parse(Buffer.from(saved.bytes).toString()) as Schedule)
}

function lastOf(
  versions: Iterable<{ readonly version: string; readonly origin: string; readonly fingerprint: string }>,
  origin: VersionDraft['origin'],
  fingerprint: string,
): string | null {
  let last: string | null = null
  for (const one of versions) if (one.origin === origin && one.fingerprint === fingerprint) last = one.version
  return last
}

/** A measure that the rows do not allow is left out. */
function finite(measures: object): Record<string, number> {
  return Object.fromEntries(Object.entries(measures).filter(([, value]) => Number.isFinite(value)))
}
