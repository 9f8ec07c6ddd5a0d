/** The logged predictions and the label stream in, a filled label join and its watermark out; called by `train.ts`. */
import assert from 'node:assert/strict'
import type { BrokerData, Fetcher, LogRecord, TopicPartition } from '../../runtime/broker.ts'
import { createDefinitionLog, type DefinitionLog } from '../../runtime/definition-log.ts'
import { type LogSpan, readSpans, wholeLog } from '../../runtime/read-log.ts'
import { vectorFor } from '../../schemas/plan/feature-identity.ts'
import type { LabelPlan, Plan, SchemasPlan, StreamPlan } from '../../schemas/plan/plan.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import { createLabelJoin, type LabelJoin } from '../labels/label-join.ts'
import { readLabel } from '../labels/read-label.ts'
import { loggedPrediction } from '../training-store/logged-prediction.ts'

export type InputPlan = Pick<Plan, 'predictions' | 'features' | 'fingerprint' | 'streams' | 'label'> & {
  readonly schemas: Pick<SchemasPlan, 'topic'>
}

/** Records read that gave no row and no label. */
export interface Skipped {
  /** Predictions of another definition, of whose features this one has none. */
  readonly foreign: number
  /** Label records that are no valid event. */
  readonly rejectedLabels: number
  /** Reports of anything but 0, 1, true, false or nothing. */
  readonly rejectedValues: number
  /** Label events dated further ahead of their append time than the stream allows. */
  readonly labelsAhead: number
}

/** Hands over all vectors that are trained on; called again where they must be read a second time. */
export type ReadVectors = (take: (row: LoggedVector) => void) => Promise<void>

interface LoggedVector {
  readonly id: string
  readonly time: number
  /** NaN where missing; null where nothing of it is of use. */
  readonly features: ArrayLike<number> | null
}

export interface TrainInputs {
  readonly join: LabelJoin
  /** Event time that both inputs have passed, ms; −∞ while one of them is empty. */
  readonly watermarkMs: number
  /** Predictions of earlier definitions among those read, which lack the features that they had not or that meant something else. */
  readonly earlier: number
  readonly skipped: Skipped
  /** Offsets at which reading ended, for the version's lineage. */
  readonly positions: ModelVersion['trainedOn']
}

/**
 * `topics` are full names. Reads the labels twice, so that only rows are held, and the predictions once, or twice where
 * the labels are ahead of them; records that retention removes meanwhile are skipped. `vectors`: in place of the predictions.
 * Rejects with `topic_missing`, `record_unreadable` and the broker's codes.
 */
export async function readTrainInputs(
  broker: BrokerData,
  plan: InputPlan,
  topics: { readonly predictions: string; readonly label: string },
  rowsMax: number,
  vectors: ReadVectors | null = null,
): Promise<TrainInputs> {
  const labelStream = plan.streams.find(({ index }) => index === plan.label.stream)
  assert(labelStream !== undefined, `the label's stream ${plan.label.stream} is not in the plan`)
  const spans = await wholeLog(broker, vectors === null ? [topics.predictions, topics.label] : [topics.label])
  const predictionSpans = spans.filter(({ topic }) => topic === topics.predictions)
  const labelSpans = spans.filter(({ topic }) => topic === topics.label)
  const fetcher = await broker.fetcher()
  try {
    // 1. The event time of the labels bounds which predictions can be mature.
    const labels = await surveyLabels(fetcher, labelSpans, labelStream, plan.label)
    // Labels may still be as much out of order as their stream declares.
    const labelWatermarkMs = labels.timeMs - labelStream.disorderMs

    // 2. The newest mature predictions.
    const definitions = createDefinitionLog(broker, plan.schemas.topic)
    await definitions.refresh()
    const counts = { foreign: 0, earlier: 0 }
    const read = vectors ?? loggedVectors({ fetcher, spans: predictionSpans, plan, definitions }, counts)
    const { join, watermarkMs } = await keepMature(read, plan, {
      rowsMax,
      boundMs: labelWatermarkMs,
      isWhole: vectors !== null,
    })
    const { foreign, earlier } = counts

    // 3. The labels again, now that it is known whose are needed.
    const name = (record: LogRecord, { partition }: TopicPartition) => {
      const label = readLabel(record, labelStream, plan.label)
      if (typeof label === 'object') join.addLabel(label.id, { ...label, partition, offset: record.offset })
    }
    await readSpans(fetcher, labelSpans, name, { isLossy: true })
    return {
      join,
      watermarkMs,
      earlier,
      skipped: { foreign, rejectedLabels: labels.invalid, rejectedValues: labels.value, labelsAhead: labels.ahead },
      positions: spans.map(({ topic, partition, end }) => ({ topic, partition, offset: end })),
    }
  } finally {
    await fetcher.close()
  }
}

interface LogReading {
  readonly fetcher: Fetcher
  readonly spans: readonly LogSpan[]
  readonly plan: InputPlan
  readonly definitions: DefinitionLog
}

/** `counts`: of what was read last. */
function loggedVectors(
  { fetcher, spans, plan, definitions }: LogReading,
  counts: { foreign: number; earlier: number },
): ReadVectors {
  return async (take) => {
    counts.foreign = 0
    counts.earlier = 0
    const takeRecord = (record: LogRecord, from: TopicPartition) => {
      const prediction = loggedPrediction(record, from, plan.predictions)
      const row = vectorFor(prediction, plan, definitions.identitiesOf(prediction.fingerprint))
      if (row === null) counts.foreign++
      else if (row !== prediction) counts.earlier++
      // Of one that is foreign the time alone is of use.
      take(row ?? { ...prediction, features: null })
    }
    await readSpans(fetcher, spans, takeRecord, { isLossy: true })
  }
}

interface MaturePredictions {
  readonly join: LabelJoin
  readonly watermarkMs: number
}

/**
 * `boundMs`: the labels' watermark, which is an upper bound of the watermark of both inputs. `isWhole`: no vectors come after those that are
 * read, so that the labels alone say what is mature.
 */
async function keepMature(
  read: ReadVectors,
  plan: InputPlan,
  { rowsMax, boundMs, isWhole }: { readonly rowsMax: number; readonly boundMs: number; readonly isWhole: boolean },
): Promise<MaturePredictions> {
  const { otherwise, learn } = plan.label
  const join = createLabelJoin({
    featureCount: plan.features.length,
    matureUntilMs: learn === 'on-arrival' ? boundMs : boundMs - otherwise.afterMs,
    dueUntilMs: boundMs - otherwise.afterMs,
    otherwise: otherwise.value,
    rowsMax,
  })
  let timeMs = Number.NEGATIVE_INFINITY
  await read(({ id, time, features }) => {
    timeMs = Math.max(timeMs, time)
    if (features !== null) join.addPrediction({ id, time, features })
  })
  // The predictions turned out to be the slower input, which is only known at their end: once more, with the watermark known.
  // Not awaited here, so that this join can be freed before the next one grows.
  if (timeMs < boundMs && !isWhole) return keepMature(read, plan, { rowsMax, boundMs: timeMs, isWhole })
  return { join, watermarkMs: boundMs }
}

async function surveyLabels(fetcher: Fetcher, spans: readonly LogSpan[], stream: StreamPlan, plan: LabelPlan) {
  let timeMs = Number.NEGATIVE_INFINITY
  const left = { invalid: 0, value: 0, ahead: 0 }
  const survey = (record: LogRecord) => {
    const label = readLabel(record, stream, plan)
    if (typeof label === 'string') left[label]++
    else timeMs = Math.max(timeMs, label.time)
  }
  await readSpans(fetcher, spans, survey, { isLossy: true })
  return { timeMs, ...left }
}
