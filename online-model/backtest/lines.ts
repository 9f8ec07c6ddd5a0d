/**
 * The ways of learning that a backtest compares, each a line of its table: trained once on a window, or taught label by label with a
 * version published every so often. They see what live learning sees, at the event time at which it would.
 */
import type { ModelPlan, ModelWeights } from '../../schemas/models/models.ts'
import type { Predict, TrainingRows } from '../models/model.ts'
import { modelOf, scoringOf } from '../models/model-of.ts'
import type { History } from './history.ts'
import type { Window } from './protocol.ts'

export interface Line {
  readonly name: string
  /** For people: which model, taught how. */
  readonly what: string
  readonly versions: Version[]
  readonly taught: Taught
}

/** As published: from that event time on it scores. */
export interface Version {
  readonly fromMs: number
  readonly weights: ModelWeights
  readonly predict: Predict
}

/** What a line has learned from, so far. */
export interface Taught {
  rows: number
  positives: number
  /** Spent in learning alone. */
  ms: number
  /** For people; empty until something was fitted. */
  note: string
}

export interface LineSurroundings {
  readonly history: History
  readonly features: readonly string[]
  readonly seed: number
  readonly elapsedMs: () => number
  readonly signal: AbortSignal
  readonly printLine: (line: string) => void
  /** As far as labels have come; null: unknown. */
  readonly labelOf: (row: number) => 0 | 1 | null
}

export interface TrainedLine extends Line {
  readonly window: Window
  /** At that event time, from the labels that have come by then. */
  train(atMs: number): Promise<void>
}

export interface ContinuousLine extends Line {
  learn(row: number, label: 0 | 1): void
  publish(atMs: number): void
  close(): void
}

export function createTrainedLine(
  {
    name,
    what,
    model: plan,
    window,
  }: Pick<Line, 'name' | 'what'> & { readonly model: ModelPlan; readonly window: Window },
  surroundings: LineSurroundings,
): TrainedLine {
  const { seed, elapsedMs, signal, printLine } = surroundings
  const taught: Taught = { rows: 0, positives: 0, ms: 0, note: '' }
  const versions: Version[] = []

  async function train(atMs: number): Promise<void> {
    const training = trainingRows(window, surroundings)
    const began = elapsedMs()
    const onProgress = (_: number, note: string) => printLine(`  ${name}: ${note}`)
    const { weights, note } = await modelOf(plan).fit(training, { seed, signal, onProgress })
    taught.ms += elapsedMs() - began
    taught.rows += training.rowCount
    taught.positives += training.labels.reduce((sum, label) => sum + label, 0)
    taught.note = note
    versions.push({ fromMs: atMs, weights, predict: scoringOf(weights, plan).predict })
  }

  return { name, what, window, versions, taught, train }
}

export interface ContinuousOptions {
  readonly model: ModelPlan
  /** Of versions from before this event time only the last is kept. */
  readonly testFromMs: number
}

/** Null: the model is only trained as a whole. */
export async function createContinuousLine(
  { name, what, model: plan, testFromMs }: Pick<Line, 'name' | 'what'> & ContinuousOptions,
  { history, features, seed, elapsedMs }: LineSurroundings,
): Promise<ContinuousLine | null> {
  const learner = await modelOf(plan).learner?.(features, { seed, state: null })
  if (!learner) return null
  const taught: Taught = { rows: 0, positives: 0, ms: 0, note: '' }
  const versions: Version[] = []
  let published = 0
  let publishedRows = 0

  function learn(row: number, label: 0 | 1): void {
    const began = elapsedMs()
    learner!.learn(history.vectorOf(row), label)
    taught.ms += elapsedMs() - began
    taught.rows++
    taught.positives += label
  }

  function publish(atMs: number): void {
    // Without a positive there is nothing to learn yet, and without a new row nothing new.
    if (taught.positives === 0 || taught.rows === publishedRows) return
    publishedRows = taught.rows
    const began = elapsedMs()
    const weights: ModelWeights = learner!.weights()
    taught.ms += elapsedMs() - began
    if (atMs <= testFromMs) versions.length = 0
    versions.push({ fromMs: atMs, weights, predict: scoringOf(weights, plan).predict })
    taught.note = `${++published} versions`
  }

  return { name, what, versions, taught, learn, publish, close: () => learner.close() }
}

function trainingRows({ fromMs, untilMs }: Window, { history, features, labelOf }: LineSurroundings): TrainingRows {
  const [begin, end] = [history.rowAt(fromMs), history.rowAt(untilMs)]
  const width = features.length
  const rows = new Float64Array((end - begin) * width)
  const labels = new Uint8Array(end - begin)
  let rowCount = 0
  for (let row = begin; row < end; row++) {
    const label = labelOf(row)
    if (label === null) continue
    rows.set(history.vectorOf(row), rowCount * width)
    labels[rowCount++] = label
  }
  return {
    features,
    rows: rows.subarray(0, rowCount * width),
    rowCount,
    labels: labels.subarray(0, rowCount),
    weights: null,
  }
}
