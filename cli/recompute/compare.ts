/** A recomputed vector and score beside those that were published in, how many differ and how much out. Called by `recompute`. */
import type { Published } from './history.ts'

export interface Comparison {
  /** What the row of the file says. */
  add(vector: Float64Array, score: number | null, version: string | null, published: Published | null): RowStatus
  figures(): ComparisonFigures
}

/** `vector` and `score`: what differs first; `unpublished`: there is nothing to compare with. */
export type RowStatus = 'same' | 'vector' | 'score' | 'unpublished'

export interface ComparisonFigures {
  readonly compared: number
  /** Vectors with a bit that differs. */
  readonly differing: number
  readonly unpublished: number
  /**
   * Of the features that differ somewhere: in how many vectors, in how many of these one of both is missing, and by how much at most the
   * others differ.
   */
  readonly features: Readonly<
    Record<string, { readonly differing: number; readonly missing: number; readonly greatest: number }>
  >
  /** Where the same model version had scored. */
  readonly scores: {
    readonly compared: number
    readonly differing: number
    readonly greatest: number
    readonly mean: number
  }
}

export function createComparison(features: readonly string[]): Comparison {
  const [counts, missing, greatest] = [features.map(() => 0), features.map(() => 0), features.map(() => 0)]
  const scores = { compared: 0, differing: 0, greatest: 0, sum: 0 }
  let [compared, differing, unpublished] = [0, 0, 0]

  function compareVector(vector: Float64Array, before: Float64Array): boolean {
    let isSame = true
    for (let i = 0; i < vector.length; i++) {
      if (Object.is(vector[i], before[i])) continue
      isSame = false
      counts[i]!++
      const difference = Math.abs(vector[i]! - before[i]!)
      if (Number.isNaN(difference)) missing[i]!++
      else if (difference > greatest[i]!) greatest[i] = difference
    }
    return isSame
  }

  function compareScore(score: number, before: number): boolean {
    scores.compared++
    const difference = Math.abs(score - before)
    scores.sum += difference
    if (difference > scores.greatest) scores.greatest = difference
    if (Object.is(score, before)) return true
    scores.differing++
    return false
  }

  return {
    add(vector, score, version, published) {
      if (published === null) {
        unpublished++
        return 'unpublished'
      }
      compared++
      const isSame = compareVector(vector, published.features)
      if (!isSame) differing++
      const isComparable = score !== null && published.score !== null && published.modelVersion === version
      const hasSameScore = isComparable ? compareScore(score, published.score!) : true
      if (!isSame) return 'vector'
      return hasSameScore ? 'same' : 'score'
    },
    figures: () => ({
      compared,
      differing,
      unpublished,
      features: Object.fromEntries(
        features.flatMap((name, i) =>
          counts[i] === 0 ? [] : [[name, { differing: counts[i]!, missing: missing[i]!, greatest: greatest[i]! }]],
        ),
      ),
      scores: {
        compared: scores.compared,
        differing: scores.differing,
        greatest: scores.greatest,
        mean: scores.compared === 0 ? 0 : scores.sum / scores.compared,
      },
    }),
  }
}
