/** What every fit requires of its rows before it begins, and how it yields to the event loop. Called by the models. */
import assert from 'node:assert/strict'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { TrainingRows } from './model.ts'

export interface ClassCounts {
  readonly positives: number
  /** Summed sample weights of either class. */
  readonly positiveWeight: number
  readonly negativeWeight: number
}

/** Throws `model_untrainable` without rows or with one class only; `what` names the model in the message. */
export function requireBothClasses(training: TrainingRows, what: string): ClassCounts {
  const counts = countClasses(training)
  const { rowCount } = training
  if (counts.positives > 0 && counts.positives < rowCount) return counts
  throw new PipelineError(
    'model_untrainable',
    `${what} needs labelled rows of both classes, but got ${rowCount} rows with ${counts.positives} positives ` +
      `and ${rowCount - counts.positives} negatives.`,
    { details: { rows: rowCount, positives: counts.positives } },
  )
}

export function countClasses({ rows, labels, rowCount, weights, features }: TrainingRows): ClassCounts {
  const values = rowCount * features.length
  assert(rows.length >= values, `rows hold ${rows.length} values, expected ${rowCount} × ${features.length}`)
  assert(labels.length >= rowCount, `${labels.length} labels for ${rowCount} rows`)
  assert(weights === null || weights.length >= rowCount, `${weights?.length} weights for ${rowCount} rows`)
  const counts = { positives: 0, positiveWeight: 0, negativeWeight: 0 }
  for (let row = 0; row < rowCount; row++) {
    const label = labels[row]!
    if (label > 1) assert.fail(`label of row ${row} is ${label}, expected 0 or 1`)
    const weight = weights === null ? 1 : weights[row]!
    if (!(weight > 0 && weight < Number.POSITIVE_INFINITY)) assert.fail(`weight of row ${row} is ${weight}`)
    counts.positives += label
    if (label === 1) counts.positiveWeight += weight
    else counts.negativeWeight += weight
  }
  return counts
}

/** Gives the event loop a turn, so that an abort is noticed; rejects with its reason. */
export function giveWay(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    setImmediate(() => {
      if (signal?.aborted) reject(signal.reason)
      else resolve()
    })
  })
}
