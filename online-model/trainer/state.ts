/**
 * What the trainer works with and what it remembers between two steps, as one value. Made by `trainer.ts`; every numbered step is a plain
 * function over it.
 */
import type { BrokerData } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { Fitted } from '../models/model.ts'
import type { RegistryWriter, VersionDraft } from '../registry/writer.ts'
import type { TrainingStore } from '../training-store/store.ts'
import type { TrainerMetrics } from './metrics.ts'
import type { Fit, RetrainRows } from './retraining-rows.ts'
import { type Matured, nothingScheduled, type Schedule } from './schedule.ts'
import type { ServedEvaluation } from './served-evaluation.ts'

export interface TrainerOptions {
  readonly plan: Plan
  readonly broker: BrokerData
  readonly store: TrainingStore
  readonly registry: RegistryWriter
  /** The fit of a retraining; runs where it does not block the loop. */
  readonly fit: Fit
  /** Source of all randomness. */
  readonly seed: number
  readonly clock: Clock
  /** From 0 to 1, for the jitter of retries. */
  readonly random: () => number
  readonly log: Log
  readonly metrics: TrainerMetrics
  /** File for snapshots of the store; null: none are written. */
  readonly snapshotFile: string | null
  readonly limits: TrainerLimits
  readonly signal: AbortSignal
}

export interface TrainerLimits {
  /** Mature rows that one step of learning takes before it checks whether to publish. */
  readonly matureRowsMax: number
  /** Rows learnt between two saves of the learner. */
  readonly saveRows: number
  /** Newest rows that a learnt version is evaluated on. */
  readonly recentRowsMax: number
  /** Processing time between two evaluations. */
  readonly evaluateEveryMs: number
  /** Processing time between two snapshots of the store for other processes. */
  readonly snapshotEveryMs: number
  /** Pause where there is nothing to read. */
  readonly pollMs: number
  /** The trainer gives up after this long with nothing but failures. */
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

/** A retraining that has begun. */
export interface Retraining {
  readonly reason: string
  /** How far the training set had come when it began. */
  readonly matured: Matured
  /** Null while it is running. */
  outcome: RetrainOutcome | null
  /** Resolves when `outcome` is set; never rejects. */
  readonly done: Promise<void>
}

export interface Trained {
  readonly kind: 'trained'
  readonly fitted: Fitted
  readonly rows: RetrainRows
  readonly trainedOn: VersionDraft['trainedOn']
  readonly seconds: number
}

export type RetrainOutcome = Trained | { readonly kind: 'failed'; readonly error: unknown; readonly seconds: number }

export interface TrainerState extends TrainerOptions {
  /** As saved in the store. */
  schedule: Schedule
  /** Who requested a retraining that has not begun yet. */
  requestedBy: string | null
  retraining: Retraining | null
  /** The latest evaluation; null before the first. */
  evaluation: ServedEvaluation | null
  /** When the last evaluation and the last snapshot were made (`elapsedMs`), and the last mature row that each covers. */
  evaluatedAtMs: number
  evaluatedSeq: number
  snapshotAtMs: number
  snapshotSeq: number
}

export function createTrainerState(options: TrainerOptions): TrainerState {
  return {
    ...options,
    schedule: nothingScheduled,
    requestedBy: null,
    retraining: null,
    evaluation: null,
    evaluatedAtMs: Number.NEGATIVE_INFINITY,
    evaluatedSeq: 0,
    snapshotAtMs: Number.NEGATIVE_INFINITY,
    snapshotSeq: 0,
  }
}

/** The name under which the store keeps the schedule. */
const scheduleName = 'schedule'

/** After a change of a definition that asks for retraining, one is requested, again with every start until one was. */
export async function loadSchedule(state: TrainerState): Promise<void> {
  const { store, plan, log } = state
  const saved = await store.state(scheduleName)
  if (saved !== null) state.schedule = JSON.parse(Buffer.from(saved.bytes).toString()) as Schedule
  const { earlierDefinition } = store
  if (earlierDefinition !== null) {
    log.info(
      { earlierDefinition },
      'the training store was of an earlier definition: its rows are kept, without what has changed',
    )
  }
  const before = state.schedule.definition ?? earlierDefinition ?? plan.fingerprint
  const definition = plan.learn.retrain === null ? plan.fingerprint : before
  if (definition !== state.schedule.definition) await saveSchedule(state, { ...state.schedule, definition })
  if (definition !== plan.fingerprint) state.requestedBy = `a changed definition (${definition} before)`
}

export async function saveSchedule(state: TrainerState, next: Schedule): Promise<void> {
  if (next === state.schedule) return
  await state.store.saveState(scheduleName, { upToSeq: 0, bytes: Buffer.from(JSON.stringify(next)) })
  state.schedule = next
}

/** How far the training set has come. */
export function maturedBy({ store }: Pick<TrainerState, 'store'>): Matured {
  const { maturedUntilMs: untilMs, maturedSeq: rows } = store.status()
  return { untilMs, rows }
}

/** The offsets up to which the store has read its inputs, for a version's lineage. */
export function positionsOf({ plan, store }: Pick<TrainerState, 'plan' | 'store'>): VersionDraft['trainedOn'] {
  const topics = { predictions: plan.predictions.topic, label: plan.streams[plan.label.stream]!.topic }
  return store
    .status()
    .partitions.map(({ input, partition, next }) => ({ topic: topics[input], partition, offset: next }))
}
