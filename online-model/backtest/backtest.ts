/**
 * Vectors and labels in event time in, the table of a backtest out: a week is scored by models that learned from what was known
 * by then. Called by `millrace backtest`, which replays a source into it; nothing here reads a clock or a file.
 */
import assert from 'node:assert/strict'
import type { ModelPlan, ModelWeights } from '../../schemas/models/models.ts'
import type { Outcome } from '../../schemas/plan/label-outcome.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { codeOf } from '../models/model-of.ts'
import { createHistory, type HistoryRow } from './history.ts'
import {
  type ContinuousLine,
  createContinuousLine,
  createTrainedLine,
  type Line,
  type LineSurroundings,
  type TrainedLine,
} from './lines.ts'
import { dayMs, type LineName, lineNames, type Protocol } from './protocol.ts'
import { type BacktestResult, resultsOf } from './results.ts'

export interface BacktestOptions {
  /** All of them unless given. */
  readonly lines?: readonly LineName[]
  readonly plan: Pick<Plan, 'features' | 'label' | 'model' | 'learn'>
  readonly protocol: Protocol
  /** Of learners and fits. */
  readonly seed: number
  /** How often a line that learns continuously publishes a version, event time. */
  readonly publishEveryMs: number
  readonly elapsedMs: () => number
  readonly signal: AbortSignal
  readonly printLine: (line: string) => void
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

interface BacktestState {
  readonly options: BacktestOptions
  readonly surroundings: LineSurroundings
  readonly trained: readonly TrainedLine[]
  /** Learns from every label once it counts: a label delay after the event. */
  readonly atDelay: ContinuousLine | null
  /** Learns from a positive as soon as it is reported. */
  readonly onArrival: ContinuousLine | null
  /** Rows before this one are mature: their label counts. */
  matureRows: number
  nextPublishMs: number
  isTrained: boolean
}

const reportsKeptMs = 28 * dayMs
const logistic: ModelPlan = { kind: 'logistic', l2: 1 }

export async function createBacktest(options: BacktestOptions): Promise<Backtest> {
  const { plan, protocol, seed, elapsedMs, signal, printLine } = options
  const { test, trainWeek, trainMonth } = protocol
  const wanted = options.lines ?? lineNames
  const history = createHistory(plan.features.length)
  const labelOf = (row: number) => history.outcomeOf(row) ?? plan.label.otherwise.value
  const features = plan.features.map(({ name }) => name)
  const surroundings: LineSurroundings = { history, features, seed, elapsedMs, signal, printLine, labelOf }
  const trainings = [
    { name: 'split', days: 7, model: logistic, window: trainWeek },
    { name: 'retrained', days: 28, model: plan.model, window: trainMonth },
  ] as const
  const trained = trainings
    .filter(({ name }) => wanted.includes(name))
    .map(({ name, days, model, window }) =>
      createTrainedLine(
        { name, what: `${codeOf(model).title(model)}, trained on ${days} days`, model, window },
        surroundings,
      ),
    )
  const continuous = async (name: LineName, how: string) => {
    const what = `${codeOf(plan.model).title(plan.model)}, ${how}`
    const line = { name, what, model: plan.model, testFromMs: test.fromMs }
    return wanted.includes(name) ? createContinuousLine(line, surroundings) : null
  }
  const state: BacktestState = {
    options,
    surroundings,
    trained,
    atDelay: await continuous('continuous', 'label by label, each when it counts'),
    onArrival: await continuous('arriving', 'label by label, positives as they are reported'),
    matureRows: 0,
    nextPublishMs: Number.NEGATIVE_INFINITY,
    isTrained: false,
  }
  return {
    needsFromMs: wanted.includes('retrained') ? trainMonth.fromMs : trainWeek.fromMs,
    row: (next) => addRow(state, next),
    label: (id, outcome, timeMs) => addLabel(state, id, outcome, timeMs),
    finish: () => finish(state, wanted),
    close() {
      state.atDelay?.close()
      state.onArrival?.close()
    },
  }
}

async function addRow(state: BacktestState, next: HistoryRow): Promise<void> {
  const { history } = state.surroundings
  const { plan, protocol } = state.options
  const { labelDelayMs, trainMonth } = protocol
  // Where there is no time by which a report has to come, those of the last weeks are waited for.
  const keptMs = Math.max(2 * labelDelayMs, plan.label.otherwise.value === null ? reportsKeptMs : 0)
  await advance(state, next.time)
  if (history.end % 4_096 === 0) history.forgetBefore(Math.min(next.time - keptMs, trainMonth.fromMs))
  history.add(next)
}

async function addLabel(state: BacktestState, id: string, outcome: Outcome, timeMs: number): Promise<void> {
  await advance(state, timeMs)
  const labelled = state.surroundings.history.label(id, outcome, timeMs)
  if (labelled === null || outcome === null) return
  if (outcome !== labelled.before) state.onArrival?.learn(labelled.row, outcome)
  // Its event was due without a label, so that nothing was learnt from it yet.
  const isFirst = labelled.before === null && labelled.row < state.matureRows
  if (isFirst && state.options.plan.label.otherwise.value === null) state.atDelay?.learn(labelled.row, outcome)
}

/** Does everything that is due before that event time: learning, publishing, and the training when the test week begins. */
async function advance(state: BacktestState, timeMs: number): Promise<void> {
  const { publishEveryMs, protocol } = state.options
  if (state.nextPublishMs === Number.NEGATIVE_INFINITY)
    state.nextPublishMs = Math.floor(timeMs / publishEveryMs) * publishEveryMs + publishEveryMs
  for (; state.nextPublishMs <= timeMs; state.nextPublishMs += publishEveryMs) {
    matureBefore(state, state.nextPublishMs)
    state.atDelay?.publish(state.nextPublishMs)
    state.onArrival?.publish(state.nextPublishMs)
  }
  matureBefore(state, timeMs)
  if (state.isTrained || timeMs < protocol.test.fromMs) return
  state.isTrained = true
  for (const line of state.trained) await line.train(protocol.test.fromMs)
}

function matureBefore(state: BacktestState, timeMs: number): void {
  const { history, labelOf } = state.surroundings
  const { protocol } = state.options
  for (; state.matureRows < history.end; state.matureRows++) {
    const row = state.matureRows
    if (history.timeOf(row) + protocol.labelDelayMs >= timeMs) return
    const label = labelOf(row)
    if (label === null) continue
    state.atDelay?.learn(row, label)
    // A row that has a label was learned from when that came.
    if (history.outcomeOf(row) === null) state.onArrival?.learn(row, label)
  }
}

function finish(state: BacktestState, wanted: readonly LineName[]): BacktestResult {
  const { options, surroundings, trained, atDelay, onArrival } = state
  const { plan, protocol, recordBytesOf } = options
  assert(state.isTrained, 'nothing came from the test week')
  const lines: Line[] = [...trained]
  const skipped: string[] = []
  for (const [name, line] of [
    ['continuous', atDelay],
    ['arriving', onArrival],
  ] as const) {
    if (line !== null) lines.push(line)
    else if (wanted.includes(name))
      skipped.push(`${name}: ${codeOf(plan.model).title(plan.model)} is only trained as a whole`)
  }
  const { metric } = plan.learn.promoteIf
  return { ...resultsOf(lines, { ...surroundings, protocol, metric, recordBytesOf }), skipped }
}
