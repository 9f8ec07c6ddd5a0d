/**
 * The logged predictions and the label stream in, a new champion in the registry out; called by the `train` command.
 * Step by step below.
 */
import type { BrokerData } from '../../runtime/broker.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { identitiesOf } from '../../schemas/plan/feature-identity.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import { type Measures, measure } from '../evaluation/metrics.ts'
import type { LabelJoinCounts, LabelledRows } from '../labels/label-join.ts'
import type { Fitted } from '../models/model.ts'
import { modelOf } from '../models/model-of.ts'
import { predictor } from '../models/scorer.ts'
import { champion } from '../registry/registry.ts'
import { createRegistryWriter } from '../registry/writer.ts'
import { type InputPlan, type ReadVectors, readTrainInputs, type Skipped, type TrainInputs } from './train-inputs.ts'

export type TrainingPlan = InputPlan & Pick<Plan, 'models' | 'model'>

export interface TrainOptions {
  readonly broker: BrokerData
  readonly plan: TrainingPlan
  /** Full topic names: logged predictions, raw topic of the label stream, registry. */
  readonly topics: { readonly predictions: string; readonly label: string; readonly models: string }
  /** Seed of the fit; recorded with the version. */
  readonly seed: number
  readonly clock: () => number
  readonly printLine: (line: string) => void
  /** Who requested the training: recorded with the alias change. */
  readonly by: string
  /** Most predictions trained on, the newest mature ones; 1,000,000 unless given. About 150 bytes each plus 16 for every feature. */
  readonly rowsMax?: number
  /** Vectors in place of the logged predictions; absent: those. */
  readonly vectors?: ReadVectors
  readonly signal?: AbortSignal
}

export interface TrainSummary {
  readonly version: ModelVersion
  readonly previous: string | null
  /** False when another change of the champion came in between: this version is not the champion then. */
  readonly promoted: boolean
  readonly rows: number
  readonly positives: number
  /** Predictions whose label is not due yet. */
  readonly waiting: number
  /** Event time that both inputs have passed, ms. */
  readonly watermarkMs: number
  readonly counts: LabelJoinCounts
  /** See `TrainInputs`. */
  readonly earlier: number
  readonly skipped: Skipped
  /** Measured on the training rows themselves. */
  readonly metrics: Measures
  /** How it was fitted, for people. */
  readonly note: string
  readonly seconds: number
}

/**
 * Reads both logs from start to stable end as they are at call time. Rejects with `model_untrainable` when the mature
 * rows are not of both classes or the fit does not converge, `topic_missing`, `record_unreadable` and the broker's
 * codes; nothing is published then.
 */
export async function trainFromLog(options: TrainOptions): Promise<TrainSummary> {
  const { broker, plan, topics, seed, clock, printLine, by, rowsMax = 1_000_000 } = options
  const startedMs = clock()

  // 1. Read predictions and labels: those whose label is due by the slower input become rows.
  const inputs = await readTrainInputs(broker, plan, topics, rowsMax, options.vectors)
  const counts = inputs.join.counts()
  printLine(`read ${counts.predictions} predictions and ${counts.labels} labels`)

  // 2. Join.
  const mature = inputs.join.labelledRows()

  // 3. Fit and measure.
  const fit = await fitOrExplain(options, mature, inputs)
  const metrics = measureOn(mature, fit, plan)
  const positives = mature.labels.reduce((sum, label) => sum + label, 0)
  printLine(
    `fitted ${mature.rowCount} rows (${positives} positive, ${counts.waiting} more wait for their label), ` +
      `${fit.note}: average precision ${metrics.averagePrecision.toFixed(4)}, ` +
      `AUC ${metrics.auc.toFixed(4)}, log-loss ${metrics.logLoss.toFixed(4)}`,
  )

  // 4. Publish and promote: only the registry knows whether the alias moved.
  const registry = createRegistryWriter({ broker, codec: plan.models.codec, topic: topics.models, clock })
  try {
    const previous = champion(await registry.refresh())?.version ?? null
    const version = await registry.publish({
      fingerprint: plan.fingerprint,
      identities: identitiesOf(plan.features),
      seed,
      model: fit.weights,
      metrics: { rows: mature.rowCount, positives, ...metrics },
      trainedOn: inputs.positions,
      parent: previous,
      origin: 'manual',
    })
    const reason = `trained on ${mature.rowCount} rows with ${positives} positives`
    const promoted = await registry.promote(version.version, { by, reason, instead: previous })
    if (!promoted.accepted) printLine(`${version.version} is not the champion; ${promoted.why}`)
    return {
      version,
      previous,
      promoted: promoted.accepted,
      rows: mature.rowCount,
      positives,
      waiting: counts.waiting,
      watermarkMs: inputs.watermarkMs,
      counts,
      earlier: inputs.earlier,
      skipped: inputs.skipped,
      metrics,
      note: fit.note,
      seconds: (clock() - startedMs) / 1000,
    }
  } finally {
    await registry.close()
  }
}

async function fitOrExplain(options: TrainOptions, mature: LabelledRows, inputs: TrainInputs): Promise<Fitted> {
  const { plan, seed, printLine, signal } = options
  const { rows, labels, rowCount } = mature
  const features = plan.features.map(({ name }) => name)
  let reportedTenths = 0
  const onProgress = (done: number, note: string) => {
    if (Math.floor(done * 10) <= reportedTenths) return
    reportedTenths = Math.floor(done * 10)
    printLine(`fitting: ${Math.round(done * 100)} %, ${note}`)
  }
  const training = { rows, labels, rowCount, features, weights: null }
  try {
    return await modelOf(plan.model).fit(training, { seed, onProgress, ...(signal ? { signal } : {}) })
  } catch (error) {
    const isOneClass = labels.every((label) => label === labels[0])
    throw error instanceof PipelineError && error.code === 'model_untrainable' && isOneClass
      ? explained(error, plan, inputs)
      : error
  }
}

/** The fit only knows its rows; why there are so few of them follows from what the logs hold. */
function explained(cause: PipelineError, plan: TrainingPlan, inputs: TrainInputs): PipelineError {
  const counts = inputs.join.counts()
  const watermark = Number.isFinite(inputs.watermarkMs) ? new Date(inputs.watermarkMs).toISOString() : 'not known yet'
  return new PipelineError(
    'model_untrainable',
    `${cause.message} The logs hold ${counts.predictions} predictions of this definition and ` +
      `${counts.labels} labels; ${counts.waiting} predictions wait for their label, ${dueText(plan.label)}, ` +
      `and the watermark of both streams is ${watermark}.`,
    { cause, details: { ...cause.details, ...counts, ...inputs.skipped } },
  )
}

function dueText({ otherwise: { value, afterMs } }: TrainingPlan['label']): string {
  const due = `which is due ${afterMs} ms of event time after the event`
  return value === null ? `${due}; those that nothing was reported of are unknown` : due
}

function measureOn(mature: LabelledRows, fit: Fitted, plan: TrainingPlan): Measures {
  const width = plan.features.length
  const score = predictor(fit.weights, plan)
  const scores = new Float64Array(mature.rowCount)
  for (let row = 0; row < mature.rowCount; row++)
    scores[row] = score(mature.rows.subarray(row * width, (row + 1) * width))
  return measure(mature.labels, scores)
}
