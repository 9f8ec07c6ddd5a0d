/**
 * Challengers and a block of vectors in, shadow scores of each out: the part of step 5 that must never stop scoring. A challenger that
 * throws or gives no finite number is dropped for as long as this process runs. Made by `run-worker.ts`.
 */
import type { Log } from '../../runtime/log.ts'
import type { ProcessingMetrics } from '../metrics.ts'
import type { Shadows } from './folded-events.ts'
import type { ShadowModel } from './scoring.ts'

export interface ShadowScoring {
  /** The scores of each of the `count` vectors; a challenger that is dropped midway keeps the scores that it gave before. */
  score(shadows: readonly ShadowModel[], vectors: Float64Array, count: number): Shadows[]
}

export function createShadowScoring(log: Log, metrics: Pick<ProcessingMetrics, 'shadowDropped'>): ShadowScoring {
  /** Versions never change, so that a version that failed is the one that would fail again. */
  const dropped = new Set<string>()
  let scores = new Float64Array(0)

  function drop(version: string, reason: string): void {
    dropped.add(version)
    metrics.shadowDropped(version)
    log.warn({ model: version, reason }, `challenger ${version} is not asked again by this process: ${reason}`)
  }

  /** How many scores are good, from the first on. */
  function scoreAll(shadow: ShadowModel, vectors: Float64Array, count: number): number {
    // What a challenger that throws has not scored stays no number.
    scores.fill(Number.NaN, 0, count)
    let failure: string | null = null
    try {
      shadow.scoreBatch(vectors, count, scores, null)
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error)
    }
    let good = 0
    while (good < count && Number.isFinite(scores[good]!)) good++
    if (failure !== null || good < count) drop(shadow.version, failure ?? `its score is ${scores[good]}`)
    return good
  }

  return {
    score(shadows, vectors, count) {
      if (scores.length < count) scores = new Float64Array(count)
      const lists = Array.from({ length: count }, (): Shadows => [])
      for (const shadow of shadows) {
        if (dropped.has(shadow.version)) continue
        const good = scoreAll(shadow, vectors, count)
        for (let row = 0; row < good; row++) lists[row]!.push({ version: shadow.version, score: scores[row]! })
      }
      return lists
    },
  }
}
