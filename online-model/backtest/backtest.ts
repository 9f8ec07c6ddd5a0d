/**
 * Vectors and labels in event time in, the table of a backtest out: a week is scored by models that learned from what had come to count
 * by then. Called by `millrace backtest`, which replays a source into it; nothing here reads a clock or a file.
 */
import assert from 'node:assert/strict'
import { PipelineError } from '../../schemas/errors.ts'
import type { Outcome } from '../../schemas/label-outcome.ts'
import type { ModelPlan } from '../../schemas/model-plan.ts'
import type { Plan } from '../../schemas/plan.ts'
import { evaluate } from '../evaluation/evaluate.ts'
import type { EvaluationReport, Quality } from '../evaluation/report.ts'
import { createHistory, type History, type HistoryRow } from './history.ts'
import {
  type ContinuousLine,
  createContinuousLine,
  createTrainedLine,
  type Line,
  type LineSurroundings,
  type TrainedLine,
} from './lines.ts'
import { dayMs, type LineName, lineNames, measuredRows, type Protocol } from './protocol.ts'

export interface BacktestOptions {
  /** All of them unless told. */
  readonly lines?: readonly LineName[]
  readonly plan: Pick<Plan, 'features' | 'label' | 'model'>
  readonly protocol: Protocol
  /** Of learners and fits. */
  readonly seed: number
  /** How often a line that learns continuously publishes a version, event time. */
  readonly publishEveryMs: number
  readonly elapsedMs: () => number
  readonly signal: AbortSignal
  readonly say: (line: string) => void
}

export interface Backtest {
  /** Event time from which on events are trained on. */
  readonly needsFromMs: number
  readonly history: Pick<History, 'begin' | 'end' | 'labelsWithoutRow'>
  /** A scored event, in event-time order; of one instant before its labels. */
  row(row: HistoryRow): Promise<void>
  /** A label event of the event of that id. */
  label(id: string, outcome: Outcome, timeMs: number): Promise<void>
  /** Once all labels of the test week have come, which has a row at least. Throws `model_untrainable` where a line had learned nothing. */
  finish(): BacktestResult
  close(): void
}

export interface BacktestResult {
  readonly lines: readonly LineResult[]
  /** Events of the test week, before entities known as positive are left out. */
  readonly testRows: number
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
  readonly taughtRows: number
  readonly taughtPositives: number
  readonly note: string
  readonly learnMicros: number
  readonly predictMicros: number
}

/** Of each day, as in the Handbook's tables. */
const k = 100
const threshold = 0.5
const logistic: ModelPlan = { kind: 'logistic', l2: 1 }

export async function createBacktest(options: BacktestOptions): Promise<Backtest> {
  const { plan, protocol, seed, publishEveryMs, elapsedMs, signal, say } = options
  const { test, trainWeek, trainMonth, labelDelayMs } = protocol
  const asked = options.lines ?? lineNames
  const history = createHistory(plan.features.length)
  const otherwise = plan.label.otherwise.value as 0 | 1
  const labelOf = (row: number) => history.outcomeOf(row) ?? otherwise
  const features = plan.features.map(({ name }) => name)
  const surroundings: LineSurroundings = { history, features, seed, elapsedMs, signal, say, labelOf }

  const trainings = [
    { name: 'split', days: 7, model: logistic, window: trainWeek },
    { name: 'retrained', days: 28, model: plan.model, window: trainMonth },
  ] as const
  const trained: TrainedLine[] = trainings
    .filter(({ name }) => asked.includes(name))
    .map(({ name, days, model, window }) =>
      createTrainedLine({ name, what: `${modelWords(model)}, trained on ${days} days`, model, window }, surroundings),
    )
  const lines: Line[] = [...trained]
  const skipped: string[] = []
  const atDelay = await continuous('continuous', 'label by label, each when it counts')
  const asTheyCome = await continuous('arriving', 'label by label, positives as they are reported')

  async function continuous(name: LineName, how: string): Promise<ContinuousLine | null> {
    if (!asked.includes(name)) return null
    const what = `${modelWords(plan.model)}, ${how}`
    const line = await createContinuousLine({ name, what, model: plan.model, testFromMs: test.fromMs }, surroundings)
    if (line) lines.push(line)
    else skipped.push(`${name}: ${modelWords(plan.model)} is only trained as a whole`)
    return line
  }

  /** Rows before this one are ripe: their label counts. */
  let ripe = 0
  let nextPublishMs = Number.NEGATIVE_INFINITY
  let isTrained = false

  /** Everything that is due before that event time. */
  async function advance(timeMs: number): Promise<void> {
    if (nextPublishMs === Number.NEGATIVE_INFINITY)
      nextPublishMs = Math.floor(timeMs / publishEveryMs) * publishEveryMs + publishEveryMs
    for (; nextPublishMs <= timeMs; nextPublishMs += publishEveryMs) {
      ripenBefore(nextPublishMs)
      atDelay?.publish(nextPublishMs)
      asTheyCome?.publish(nextPublishMs)
    }
    ripenBefore(timeMs)
    if (!isTrained && timeMs >= test.fromMs) {
      isTrained = true
      for (const line of trained) await line.train(test.fromMs)
    }
  }

  function ripenBefore(timeMs: number): void {
    for (; ripe < history.end; ripe++) {
      if (history.timeOf(ripe) + labelDelayMs >= timeMs) return
      atDelay?.learn(ripe, labelOf(ripe))
      // A row that has a label was learned from when that came.
      if (history.outcomeOf(ripe) === null) asTheyCome?.learn(ripe, otherwise)
    }
  }

  async function row(next: HistoryRow): Promise<void> {
    await advance(next.time)
    if (history.end % 4_096 === 0) history.forgetBefore(Math.min(next.time - 2 * labelDelayMs, trainMonth.fromMs))
    history.add(next)
  }

  async function label(id: string, outcome: Outcome, timeMs: number): Promise<void> {
    await advance(timeMs)
    const labelled = history.label(id, outcome, timeMs)
    if (labelled !== null && outcome !== null && outcome !== labelled.before) asTheyCome?.learn(labelled.row, outcome)
  }

  function finish(): BacktestResult {
    const [begin, end] = [history.rowAt(test.fromMs), history.rowAt(test.untilMs)]
    assert(isTrained && end > begin, 'the test week has no rows')
    const measured = measuredRows(history, protocol, labelOf)
    const whole = Array.from({ length: end - begin }, (_, i) => begin + i)
    return {
      lines: lines.map((line) => resultOf(line, measured, whole)),
      testRows: whole.length,
      skipped,
    }
  }

  function resultOf(line: Line, measured: readonly number[], whole: readonly number[]): LineResult {
    const { name, what, taught } = line
    const first = line.versions[0]
    if (first === undefined || first.fromMs > test.fromMs) {
      throw new PipelineError(
        'model_untrainable',
        `${name} had no version by ${day(test.fromMs)}: it had learned no positive.`,
      )
    }
    const began = elapsedMs()
    const scores = scoreRows(line, whole)
    const predictMicros = ((elapsedMs() - began) * 1_000) / whole.length
    const report = reportOf(line, measured, scores)
    return {
      name,
      what,
      report,
      measured: report.groups[0]!.quality,
      wholeWeek: reportOf(line, whole, scores).groups[0]!.quality,
      taughtRows: taught.rows,
      taughtPositives: taught.positives,
      note: taught.note,
      learnMicros: (taught.ms * 1_000) / Math.max(1, taught.rows),
      predictMicros,
    }
  }

  /** By the version that had been published last, as a live scorer does. */
  function scoreRows(
    { versions }: Line,
    rows: readonly number[],
  ): { score: Float64Array; version: Int32Array; first: number } {
    const score = new Float64Array(rows.length)
    const version = new Int32Array(rows.length)
    let at = 0
    rows.forEach((row, i) => {
      while (at + 1 < versions.length && versions[at + 1]!.fromMs <= history.timeOf(row)) at++
      score[i] = versions[at]!.predict(history.vectorOf(row))
      version[i] = at
    })
    return { score, version, first: rows[0]! }
  }

  function reportOf(line: Line, rows: readonly number[], scored: ReturnType<typeof scoreRows>): EvaluationReport {
    const places = rows.map((row) => row - scored.first)
    return evaluate(
      {
        labels: Uint8Array.from(rows, (row) => labelOf(row)),
        scores: Float64Array.from(places, (place) => scored.score[place]!),
        times: Float64Array.from(rows, history.timeOf),
        versions: Int32Array.from(places, (place) => scored.version[place]!),
        versionNames: line.versions.map((_, i) => `v${i + 1}`),
        keys: Int32Array.from(rows, history.keyOf),
        labelDelays: Float64Array.from(rows, (row) => history.labelledAt(row) - history.timeOf(row)),
        weights: null,
      },
      { threshold, k, rollingMs: 7 * dayMs },
    )
  }

  return {
    needsFromMs: asked.includes('retrained') ? trainMonth.fromMs : trainWeek.fromMs,
    history,
    row,
    label,
    finish,
    close() {
      atDelay?.close()
      asTheyCome?.close()
    },
  }
}

export function modelWords(plan: ModelPlan): string {
  if (plan.kind === 'mlp') return `perceptron ${plan.hidden.join('-')}`
  if (plan.kind === 'logistic') return 'logistic regression'
  return plan.kind === 'prior' ? 'prior' : `own model ${plan.own.name}`
}

function day(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 10)
}
