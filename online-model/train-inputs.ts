/** The logged predictions and the label stream in, a filled label join and its watermark out; called by the trainer. */
import assert from 'node:assert/strict'
import type { Broker, LogRecord, TopicPartition } from '../runtime/broker.ts'
import { PipelineError } from '../schemas/errors.ts'
import type { ModelVersion, Plan, StreamPlan } from '../schemas/plan.ts'
import { createLabelJoin, type LabelJoin } from './label-join.ts'
import { readSpans, wholeLog } from './read-log.ts'

type InputPlan = Pick<Plan, 'predictions' | 'features' | 'fingerprint' | 'streams' | 'label'>

/** Records read that taught nothing. */
export interface Skipped {
  /** Predictions of another definition. */
  readonly foreign: number
  /** Label records that are no valid event. */
  readonly rejectedLabels: number
  /** Label events dated further ahead of their append time than the stream allows. */
  readonly labelsAhead: number
}

export interface TrainInputs {
  readonly join: LabelJoin
  /** Event time that both inputs have passed, ms; −∞ while one of them is empty. */
  readonly watermarkMs: number
  readonly skipped: Skipped
  /** Where reading ended, for the version's lineage. */
  readonly positions: ModelVersion['trainedOn']
}

/** `topics` are full names. Rejects with `topic_missing`, `record_unreadable` and the broker's codes. */
export async function readTrainInputs(
  broker: Pick<Broker, 'partitionCounts' | 'bounds' | 'fetcher'>,
  plan: InputPlan,
  topics: { readonly predictions: string; readonly label: string },
  rowsMax: number,
): Promise<TrainInputs> {
  const labelStream = plan.streams.find(({ index }) => index === plan.label.stream)
  assert(labelStream !== undefined, `the label's stream ${plan.label.stream} is not in the plan`)
  const { value, otherwise } = plan.label
  const join = createLabelJoin({
    featureCount: plan.features.length,
    afterMs: otherwise.afterMs,
    value,
    otherwise: otherwise.value,
    rowsMax,
  })
  const predictions = takePredictions(plan, join)
  const labels = takeLabels(labelStream, join)
  const spans = await wholeLog(broker, [topics.predictions, topics.label])
  const fetcher = await broker.fetcher()
  try {
    await readSpans(fetcher, spans, (record, from) => {
      if (from.topic === topics.predictions) predictions.take(record, from)
      else labels.take(record)
    })
  } finally {
    await fetcher.close()
  }
  return {
    join,
    // Labels may still come as much out of order as their stream declares.
    watermarkMs: Math.min(predictions.timeMs(), labels.timeMs() - labelStream.disorderMs),
    skipped: { foreign: predictions.foreign(), rejectedLabels: labels.rejected(), labelsAhead: labels.ahead() },
    positions: spans.map(({ topic, partition, end }) => ({ topic, partition, offset: end })),
  }
}

function takePredictions(plan: InputPlan, join: LabelJoin) {
  let timeMs = Number.NEGATIVE_INFINITY
  let foreign = 0
  return {
    take: (record: LogRecord, from: TopicPartition): void => {
      const place = `${from.topic} partition ${from.partition} offset ${record.offset}`
      if (record.value === null) {
        throw new PipelineError('record_unreadable', `The prediction at ${place} has no value.`, { details: { place } })
      }
      const prediction = plan.predictions.codec.decode(record.value)
      timeMs = Math.max(timeMs, prediction.time)
      // The same feature names may mean something else under another definition, so its vectors teach nothing about
      // this one.
      if (prediction.fingerprint === plan.fingerprint) join.addPrediction(prediction)
      else foreign++
    },
    timeMs: () => timeMs,
    foreign: () => foreign,
  }
}

function takeLabels(stream: StreamPlan, join: LabelJoin) {
  let timeMs = Number.NEGATIVE_INFINITY
  let rejected = 0
  let ahead = 0
  return {
    take: (record: LogRecord): void => {
      const decoded = stream.codec.decode(record.value)
      if (!decoded.ok) {
        rejected++
        return
      }
      const time = decoded.event[stream.timeField]
      const id = decoded.event[stream.idField]
      assert(typeof time === 'number' && id !== null && id !== undefined, `a valid ${stream.name} without id or time`)
      // One label dated far ahead would ripen everything as negative.
      if (time > record.appendedAtMs + stream.aheadMs) {
        ahead++
        return
      }
      timeMs = Math.max(timeMs, time)
      join.addLabel({ id: String(id), time })
    },
    timeMs: () => timeMs,
    rejected: () => rejected,
    ahead: () => ahead,
  }
}
