/**
 * The reasons of a batch of scores, in columns: of each vector the features that moved its score most. Filled by scorers, written into
 * predictions by `prediction-writer.ts`; a list with names is made only for those who ask.
 */
import type { Prediction } from './records.ts'

export interface ReasonRows {
  /** Of the features that are numbered below. */
  names: readonly string[]
  /** Vectors. */
  count: number
  /** Where the reasons of each vector end among those of all; they begin where those of the vector before end. */
  ends: Int32Array
  features: Int32Array
  contributions: Float64Array
}

const firstRows = 256

export function createReasonRows(): ReasonRows {
  return {
    names: [],
    count: 0,
    ends: new Int32Array(firstRows),
    features: new Int32Array(firstRows),
    contributions: new Float64Array(firstRows),
  }
}

export function clearReasons(reasons: ReasonRows): void {
  reasons.names = []
  reasons.count = 0
}

/** Room for the reasons of `count` vectors more, each with at most `reasonsMax`. */
export function reserveReasons(reasons: ReasonRows, count: number, reasonsMax: number): void {
  const vectors = reasons.count + count
  if (vectors > reasons.ends.length) {
    const ends = new Int32Array(Math.max(vectors, 2 * reasons.ends.length))
    ends.set(reasons.ends.subarray(0, reasons.count))
    reasons.ends = ends
  }
  const used = firstReasonOf(reasons, reasons.count)
  const needed = used + count * reasonsMax
  if (needed <= reasons.features.length) return
  const capacity = Math.max(needed, 2 * reasons.features.length)
  const features = new Int32Array(capacity)
  features.set(reasons.features.subarray(0, used))
  reasons.features = features
  const contributions = new Float64Array(capacity)
  contributions.set(reasons.contributions.subarray(0, used))
  reasons.contributions = contributions
}

export function firstReasonOf({ ends }: ReasonRows, vector: number): number {
  return vector === 0 ? 0 : ends[vector - 1]!
}

/** Largest magnitude first. */
export function reasonsOf(reasons: ReasonRows, vector: number): Prediction['reasons'] {
  const from = firstReasonOf(reasons, vector)
  return Array.from({ length: reasons.ends[vector]! - from }, (_, i) => ({
    feature: reasons.names[reasons.features[from + i]!]!,
    contribution: reasons.contributions[from + i]!,
  }))
}

/** Of the next vector, by name. */
export function addReasons(reasons: ReasonRows, list: Prediction['reasons']): void {
  reserveReasons(reasons, 1, list.length)
  reasons.names = [...new Set([...reasons.names, ...list.map(({ feature }) => feature)])]
  let end = firstReasonOf(reasons, reasons.count)
  for (const { feature, contribution } of list) {
    reasons.features[end] = reasons.names.indexOf(feature)
    reasons.contributions[end++] = contribution
  }
  reasons.ends[reasons.count++] = end
}
