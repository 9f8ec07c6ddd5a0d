/**
 * Vectors and labels in event time in, the table of a backtest out: a week is scored by models that learned from what had come to count
 * by then. Called by `millrace backtest`, which replays a source into it; nothing here reads a clock or a file.
 */
import assert from 'node:assert/strict'
import type { Outcome } from '../../schemas/plan/label-outcome.ts'
import type { ModelPlan, ModelWeights } from '../../schemas/plan/model-plan.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { createHistory, type HistoryRow } from './history.ts'
import {
  type ContinuousLine,
  createContinuousLine,
  createTrainedLine,
  type Line,
  type LineSurroundings,
  type TrainedLine,
} from './lines.ts'
import { type LineName, lineNames, type Protocol } from './protocol.ts'
import { type BacktestResult, resultsOf } from './results.ts'

export interface BacktestOptions {
  /** All of them unless told. */
  readonly lines?: readonly LineName[]
  readonly plan: Pick<Plan, 'features' | 'label' | 'model' | 'learn'>
  readonly protocol: Protocol
  /** Of learners and fits. */
  readonly seed: number
  /** How often a line that learns continuously publishes a version, event time. */
  readonly publishEveryMs: number
  readonly elapsedMs: () => number
  readonly signal: AbortSignal
  readonly say: (line: string) => void
  /** Size that a version with these weights has in the registry, for the gate. */
  readonly recordBytesOf: (weights: ModelWeights) => number
}

export interface Backtest {
  /** Event time from which on events are trained on. */
  readonly needsFromMs: number
  /** A scored event, in event-time order; of one instant before its labels. */
  row(row: HistoryRow): Promise<void>
  /** A label event of the event of that id. */
  label(id: string, outcome: Outcome, timeMs: number): Promise<void>
  /** Once all labels of the test week have come, which has a row at least. Throws `model_untrainable` where a line had learned nothing. */
  finish(): BacktestResult
  close(): void
}

const logistic: ModelPlan = { kind: 'logistic', l2: 1 }

export async function createBacktest(options: BacktestOptions): Promise<Backtest> {
  const { plan, protocol, seed, publishEveryMs, elapsedMs, signal, say, recordBytesOf } = options
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

  /** Rows before this one are mature: their label counts. */
  let mature = 0
  let nextPublishMs = Number.NEGATIVE_INFINITY
  let isTrained = false

  /** Everything that is due before that event time. */
  async function advance(timeMs: number): Promise<void> {
    if (nextPublishMs === Number.NEGATIVE_INFINITY)
      nextPublishMs = Math.floor(timeMs / publishEveryMs) * publishEveryMs + publishEveryMs
    for (; nextPublishMs <= timeMs; nextPublishMs += publishEveryMs) {
      matureBefore(nextPublishMs)
      atDelay?.publish(nextPublishMs)
      asTheyCome?.publish(nextPublishMs)
    }
    matureBefore(timeMs)
    if (!isTrained && timeMs >= test.fromMs) {
      isTrained = true
      for (const line of trained) await line.train(test.fromMs)
    }
  }

  function matureBefore(timeMs: number): void {
    for (; mature < history.end; mature++) {
      if (history.timeOf(mature) + labelDelayMs >= timeMs) return
      atDelay?.learn(mature, labelOf(mature))
      // A row that has a label was learned from when that came.
      if (history.outcomeOf(mature) === null) asTheyCome?.learn(mature, otherwise)
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
    assert(isTrained, 'nothing came from the test week')
    const { metric } = plan.learn.promoteIf
    return { ...resultsOf(lines, { ...surroundings, protocol, metric, recordBytesOf }), skipped }
  }

  return {
    needsFromMs: asked.includes('retrained') ? trainMonth.fromMs : trainWeek.fromMs,
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
