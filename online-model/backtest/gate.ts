/** The gate's verdict on a line's model at the end of the test week, with the first line as the champion. Called by the backtest. */
import type { ModelWeights } from '../../schemas/models/models.ts'
import type { QualityMetric } from '../../schemas/models/quality-metrics.ts'
import { evaluateCandidate, type GateDecision } from '../evaluation/gates.ts'
import { latencyVectorsMax, scoringLatency } from '../evaluation/scoring-latency.ts'
import type { Predict } from '../models/model.ts'
import type { History } from './history.ts'

/** A line's scores of the rows that are measured, with the version that scored last. */
export interface Contender {
  readonly name: string
  readonly scores: Float64Array
  readonly predict: Predict
  readonly weights: ModelWeights
}

export interface GateDecisionOptions {
  readonly history: Pick<History, 'keyOf' | 'vectorOf'>
  readonly rows: readonly number[]
  readonly labelOf: (row: number) => 0 | 1 | null
  readonly width: number
  readonly metric: QualityMetric
  readonly seed: number
  readonly elapsedMs: () => number
  readonly recordBytesOf: (weights: ModelWeights) => number
}

export function gateDecisionOf(candidate: Contender, champion: Contender, options: GateDecisionOptions): GateDecision {
  const { history, rows, labelOf, width, metric, seed, elapsedMs, recordBytesOf } = options
  const timed = rows.slice(0, latencyVectorsMax)
  const vectors = new Float64Array(timed.length * width)
  timed.forEach((row, i) => {
    vectors.set(history.vectorOf(row), i * width)
  })
  return evaluateCandidate({
    rows: {
      labels: Uint8Array.from(rows, (row) => labelOf(row)!),
      weights: null,
      blocks: Int32Array.from(rows, history.keyOf),
    },
    candidate: {
      version: candidate.name,
      scores: candidate.scores,
      latency: scoringLatency(candidate.predict, { rows: vectors, width }, () => elapsedMs() * 1_000),
      recordBytes: recordBytesOf(candidate.weights),
      wasRolledBack: false,
    },
    champion: { version: champion.name, scores: champion.scores },
    metric,
    seed,
  })
}
