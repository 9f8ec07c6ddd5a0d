/**
 * Step 5 of a batch: the vectors of the last stage in, their scores beside them. The champion that was current when the batch began
 * scores all of it, and its challengers score the same vectors in shadow. Called by the batch loop.
 */
import type { ProcessingMetrics } from '../metrics.ts'
import type { ActiveBatch } from './active-batch.ts'
import type { FoldedEvents } from './folded-events.ts'
import type { ScoringModel, ShadowModel } from './scoring.ts'
import type { ShadowScoring } from './shadow-scoring.ts'

export interface ScoreParts {
  readonly shadowScoring: ShadowScoring
  readonly metrics: Pick<ProcessingMetrics, 'time'>
  readonly folded: FoldedEvents
}

/** Vectors that are scored together: enough that what a call costs does not count, and few enough to stay in the cache. */
const blockRowsMax = 1_024

/** Without a model the scores stay missing. What is restored was scored before. */
export function score(parts: ScoreParts, { open, batch }: ActiveBatch, model: ScoringModel | null): void {
  if (!model || batch.isRestore || open.task.stage.repartitionOut !== null) return
  const { shadowScoring, metrics, folded } = parts
  const { shadows = [] } = model
  scoreAll(folded, model)
  if (shadows.length > 0) metrics.time('shadow', () => scoreShadows(folded, shadowScoring, shadows))
}

function scoreAll(folded: FoldedEvents, model: ScoringModel): void {
  const { scored, scores, reasons } = folded
  for (let from = 0; from < scored; from += blockRowsMax) {
    const count = Math.min(blockRowsMax, scored - from)
    model.scoreBatch(vectorsOf(folded, from, count), count, scores.subarray(from, from + count), reasons)
  }
  folded.modelVersion = model.version
}

function scoreShadows(folded: FoldedEvents, shadowScoring: ShadowScoring, models: readonly ShadowModel[]): void {
  for (let from = 0; from < folded.scored; from += blockRowsMax) {
    const count = Math.min(blockRowsMax, folded.scored - from)
    for (const shadow of shadowScoring.score(models, vectorsOf(folded, from, count), count)) folded.shadows.push(shadow)
  }
}

function vectorsOf({ numbers, width }: FoldedEvents, from: number, count: number): Float64Array {
  return numbers.subarray(from * width, (from + count) * width)
}
