/**
 * Challengers and a batch's outputs in, shadow scores on the outputs: the part of step 5 that must never stop scoring. A challenger that
 * throws or gives no finite number is dropped for as long as this process runs. Made by `run-worker.ts`.
 */
import type { Log } from '../../runtime/log.ts'
import type { ProcessingMetrics } from '../metrics.ts'
import type { Output } from './outputs.ts'
import type { ShadowModel } from './scoring.ts'

export interface ShadowScoring {
  /** Outputs without a vector are passed over; a challenger that is dropped midway keeps the scores that it gave. */
  score(shadows: readonly ShadowModel[], outputs: readonly Output[]): void
}

export function createShadowScoring(log: Log, metrics: Pick<ProcessingMetrics, 'shadowDropped'>): ShadowScoring {
  /** Versions never change, so that a version that failed is the one that would fail again. */
  const dropped = new Set<string>()

  function scoreOf(model: ShadowModel, vector: Float64Array): number | null {
    const { version } = model
    let reason: string
    try {
      const value = model.score(vector)
      if (Number.isFinite(value)) return value
      reason = `its score is ${value}`
    } catch (error) {
      reason = error instanceof Error ? error.message : String(error)
    }
    dropped.add(version)
    metrics.shadowDropped(version)
    log.warn({ model: version, reason }, `challenger ${version} is not asked again by this process: ${reason}`)
    return null
  }

  return {
    score(shadows, outputs) {
      for (const output of outputs) {
        if (!output.vector) continue
        const scores: Array<{ version: string; score: number }> = []
        for (const shadow of shadows) {
          if (dropped.has(shadow.version)) continue
          const score = scoreOf(shadow, output.vector)
          if (score !== null) scores.push({ version: shadow.version, score })
        }
        output.shadow = scores
      }
    },
  }
}
