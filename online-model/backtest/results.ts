/** Lines of a backtest and the week that they scored in, their figures out. Called by the backtest when the last label has come. */
import assert from 'node:assert/strict'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { ModelWeights } from '../../schemas/models/models.ts'
import type { QualityMetric } from '../../schemas/models/quality-metrics.ts'
import { evaluate } from '../evaluation/evaluate.ts'
import type { GateDecision } from '../evaluation/gates.ts'
import type { EvaluationReport, Quality } from '../evaluation/report.ts'
import { gateDecisionOf } from './gate.ts'
import type { Line, LineSurroundings } from './lines.ts'
import { dayMs, measuredRows, type Protocol } from './protocol.ts'

export interface BacktestResult {
  readonly lines: readonly LineResult[]
  /** Events of the test week, before entities known as positive are left out. */
  readonly testRows: number
  /** Lines that the model allows no version of, and why. */
  readonly skipped: readonly string[]
}

export interface LineResult {
  readonly name: string
  readonly what: string
  /** On the rows that are measured; its `all` group is the table's line. */
  readonly report: EvaluationReport
  readonly measured: Quality
  /** On all events of the week. */
  readonly wholeWeek: Quality
  /** Against the first line, on the rows that are measured; null for that line. */
  readonly gate: (GateDecision & { readonly against: string }) | null
  readonly taughtRows: number
  readonly taughtPositives: number
  readonly note: string
  readonly learnMicros: number
  readonly predictMicros: number
}

export interface ResultOptions
  extends Pick<LineSurroundings, 'history' | 'features' | 'seed' | 'elapsedMs' | 'labelOf'> {
  readonly protocol: Protocol
  readonly metric: QualityMetric
  readonly recordBytesOf: (weights: ModelWeights) => number
}

/** Of each day, as in the Handbook's tables. */
const k = 100
const threshold = 0.5

/** Scores of the whole week, by the version that had been published last, as a live scorer does. */
interface Scored {
  readonly line: Line
  readonly scores: Float64Array
  /** Index in the line's versions. */
  readonly versions: Int32Array
  readonly predictMicros: number
}

export function resultsOf(lines: readonly Line[], options: ResultOptions): Omit<BacktestResult, 'skipped'> {
  const { history, protocol, labelOf } = options
  const { test } = protocol
  const [begin, end] = [history.rowAt(test.fromMs), history.rowAt(test.untilMs)]
  assert(end > begin, 'the test week has no rows')
  const measured = measuredRows(history, protocol, labelOf)
  const whole = Array.from({ length: end - begin }, (_, i) => begin + i)
  const labelled = whole.filter((row) => labelOf(row) !== null)
  if (measured.length === 0) {
    const text =
      'No event of the test week has a label, so that nothing can be measured: expected another week, or reports.'
    throw new PipelineError('usage', text)
  }
  const scored = lines.map((line) => scoreRows(line, whole, options))
  const results = scored.map((one): LineResult => {
    const { line, predictMicros } = one
    const { rows, positives, ms, note } = line.taught
    const report = reportOf(one, measured, begin, options)
    return {
      name: line.name,
      what: line.what,
      report,
      measured: report.groups[0]!.quality,
      wholeWeek: reportOf(one, labelled, begin, options).groups[0]!.quality,
      gate: one === scored[0] ? null : gateOf(one, scored[0]!, measured, begin, options),
      taughtRows: rows,
      taughtPositives: positives,
      note,
      learnMicros: (ms * 1_000) / Math.max(1, rows),
      predictMicros,
    }
  })
  return { lines: results, testRows: whole.length }
}

function scoreRows(line: Line, rows: readonly number[], { history, protocol, elapsedMs }: ResultOptions): Scored {
  const { versions } = line
  const [first] = versions
  if (first === undefined || first.fromMs > protocol.test.fromMs) {
    const day = new Date(protocol.test.fromMs).toISOString().slice(0, 10)
    throw new PipelineError('model_untrainable', `${line.name} had no version by ${day}: it had learned no positive.`)
  }
  const scores = new Float64Array(rows.length)
  const versionIndexes = new Int32Array(rows.length)
  const began = elapsedMs()
  let at = 0
  rows.forEach((row, i) => {
    while (at + 1 < versions.length && versions[at + 1]!.fromMs <= history.timeOf(row)) at++
    scores[i] = versions[at]!.predict(history.vectorOf(row))
    versionIndexes[i] = at
  })
  const predictMicros = ((elapsedMs() - began) * 1_000) / rows.length
  return { line, scores, versions: versionIndexes, predictMicros }
}

/** `begin`: the row of the first score. */
function reportOf(
  { line, scores, versions }: Scored,
  rows: readonly number[],
  begin: number,
  { history, labelOf }: ResultOptions,
): EvaluationReport {
  return evaluate(
    {
      labels: Uint8Array.from(rows, (row) => labelOf(row)!),
      scores: Float64Array.from(rows, (row) => scores[row - begin]!),
      times: Float64Array.from(rows, history.timeOf),
      versions: Int32Array.from(rows, (row) => versions[row - begin]!),
      versionNames: line.versions.map((_, i) => `v${i + 1}`),
      keys: Int32Array.from(rows, history.keyOf),
      labelDelays: Float64Array.from(rows, (row) => history.labelledAt(row) - history.timeOf(row)),
      weights: null,
    },
    { threshold, k, rollingMs: 7 * dayMs },
  )
}

function gateOf(
  candidate: Scored,
  champion: Scored,
  rows: readonly number[],
  begin: number,
  options: ResultOptions,
): LineResult['gate'] {
  const contender = ({ line, scores }: Scored) => {
    const { weights, predict } = line.versions.at(-1)!
    return { name: line.name, scores: Float64Array.from(rows, (row) => scores[row - begin]!), weights, predict }
  }
  const { features, ...rest } = options
  const decision = gateDecisionOf(contender(candidate), contender(champion), { ...rest, rows, width: features.length })
  return { ...decision, against: champion.line.name }
}
