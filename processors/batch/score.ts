/**
 * Step 5 of a batch: the vectors of the last stage in, their scores on the outputs. The champion that was current when the batch began
 * scores all of it, and its challengers score the same vectors in shadow. Called by the batch loop.
 */
import type { ProcessingMetrics } from '../metrics.ts'
import type { ActiveBatch } from './active-batch.ts'
import type { Output } from './outputs.ts'
import type { ScoringModel } from './scoring.ts'
import type { ShadowScoring } from './shadow-scoring.ts'

export interface ScoreParts {
  readonly shadowScoring: ShadowScoring
  readonly metrics: Pick<ProcessingMetrics, 'time'>
}

/** Without a model the scores stay missing. What is restored was scored before. */
export function score(parts: ScoreParts, batches: readonly ActiveBatch[], model: ScoringModel | null): void {
  if (!model) return
  const { shadows = [] } = model
  const live = batches.flatMap(({ batch, outputs }) => (batch.isRestore ? [] : outputs))
  for (const output of live) scoreOutput(model, output)
  if (shadows.length > 0) parts.metrics.time('shadow', () => parts.shadowScoring.score(shadows, live))
}

function scoreOutput(model: ScoringModel, output: Output): void {
  if (!output.vector) return
  output.score = model.score(output.vector)
  output.modelVersion = model.version
  output.reasons = model.reasons(output.vector)
}
