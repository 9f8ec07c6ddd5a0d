/**
 * What a run left in its topics, read to the end once its process has stopped: every event predicted once, none rejected. Wrong results
 * throw: they are no figures. Called by every job that runs a pipeline.
 */
import assert from 'node:assert/strict'
import type { BrokerData, LogRecord } from '../runtime/broker.ts'
import { readSpans, wholeLog } from '../runtime/read-log.ts'
import type { Plan } from '../schemas/plan/plan.ts'
import type { ExpectedRows } from './expected-rows.ts'

export interface Outcome {
  /** Of every prediction, ms since 1970. */
  readonly appendedAtMs: Float64Array
  /** Keys, values and headers in all topics of the pipeline, without what batches and replicas add. */
  readonly bytes: number
  /** Of these, those of the predictions. */
  readonly predictionBytes: number
  readonly counts: {
    readonly predictions: number
    readonly doubled: number
    readonly rejected: number
    readonly unscored: number
    /** Vectors that are not those of the replay, where they are compared. */
    readonly wrong?: number
  }
}

export interface ExpectedOutcome {
  /** Of the scored stream that were sent. */
  readonly events: number
  readonly isScored: boolean
  /** With what the vectors are compared. */
  readonly rows?: ExpectedRows
  /** Events were late or released early, so that some vectors are not those of the replay: these are counted, and no failure. */
  readonly isOutOfOrder?: boolean
}

export async function readOutcome(
  broker: BrokerData,
  plan: Plan,
  { events, isScored, rows, isOutOfOrder = false }: ExpectedOutcome,
): Promise<Outcome> {
  const appended: number[] = []
  const ids = new Set<string>()
  let [bytes, predictionBytes, unscored, rejected, wrong] = [0, 0, 0, 0, 0]
  const fetcher = await broker.fetcher()
  try {
    const spans = await wholeLog(
      broker,
      plan.topics.map(({ topic }) => topic),
    )
    await readSpans(fetcher, spans, (record, { topic }) => {
      bytes += bytesOf(record)
      if (topic === plan.rejected.topic) rejected++
      if (topic !== plan.predictions.topic) return
      predictionBytes += bytesOf(record)
      const { id, score, features } = plan.predictions.codec.decode(record.value!)
      ids.add(id)
      if (score === null) unscored++
      if (rows?.isRight(id, features) === false) wrong++
      appended.push(record.appendedAtMs)
    })
  } finally {
    await fetcher.close()
  }
  const compared = (count: number) => (rows === undefined ? {} : { wrong: count })
  const counts = {
    predictions: appended.length,
    doubled: appended.length - ids.size,
    rejected,
    unscored,
    ...compared(wrong),
  }
  const right = {
    predictions: events,
    doubled: 0,
    rejected: 0,
    unscored: isScored ? 0 : events,
    ...compared(isOutOfOrder ? wrong : 0),
  }
  assert.deepEqual(
    counts,
    right,
    `${plan.predictions.topic} should hold each event once, with the vector of the replay: expected ${JSON.stringify(right)}, ` +
      `found ${JSON.stringify(counts)}`,
  )
  return { appendedAtMs: Float64Array.from(appended), bytes, predictionBytes, counts }
}

function bytesOf({ key, value, headers }: LogRecord): number {
  const named = Object.entries(headers).reduce((sum, [name, header]) => sum + name.length + header.length, 0)
  return (key?.length ?? 0) + (value?.length ?? 0) + named
}
