/**
 * Step 5 of a batch: the vectors of the last stage in, their scores on the outputs. The champion that was current when the batch began
 * scores all of it, and its challengers score the same vectors in shadow. Called by the batch loop.
 */
import type { ProcessingMetrics } from '../metrics.ts'
import type { ActiveBatch } from './active-batch.ts'
import type { Output } from './outputs.ts'
import type { Reasons, ScoringModel } from './scoring.ts'
import type { ShadowScoring } from './shadow-scoring.ts'

export interface ScoreParts {
  readonly shadowScoring: ShadowScoring
  readonly metrics: Pick<ProcessingMetrics, 'time'>
  readonly scoreBlock: ScoreBlock
}

/** Vectors that are scored together; one is made for the life of a loop. */
export interface ScoreBlock {
  readonly width: number
  readonly vectors: Float64Array
  readonly scores: Float64Array
  readonly reasons: Reasons[]
}

/** Enough that what a call costs does not count, and few enough to stay in the cache. */
const blockRowsMax = 1_024

/** `width`: numbers of a vector. */
export function createScoreBlock(width: number): ScoreBlock {
  return {
    width,
    vectors: new Float64Array(blockRowsMax * width),
    scores: new Float64Array(blockRowsMax),
    reasons: new Array<Reasons>(blockRowsMax),
  }
}

/** Without a model the scores stay missing. What is restored was scored before. */
export function score(parts: ScoreParts, { batch, outputs }: ActiveBatch, model: ScoringModel | null): void {
  if (!model || batch.isRestore) return
  const { shadowScoring, metrics, scoreBlock } = parts
  const { shadows = [] } = model
  const scored = outputs.filter(({ vector }) => vector !== null)
  inBlocks(scoreBlock, scored, (vectors, outputs) => scoreOutputs(scoreBlock, model, vectors, outputs))
  if (shadows.length === 0) return
  metrics.time('shadow', () =>
    inBlocks(scoreBlock, scored, (vectors, outputs) => shadowScoring.score(shadows, vectors, outputs)),
  )
}

type BlockWork = (vectors: Float64Array, outputs: readonly Output[]) => void

function inBlocks(block: ScoreBlock, scored: readonly Output[], work: BlockWork): void {
  for (let from = 0; from < scored.length; from += blockRowsMax) {
    const outputs = scored.slice(from, from + blockRowsMax)
    work(gather(block, outputs), outputs)
  }
}

/** Vectors of outputs lie here and there: in the block they lie one after the other. */
function gather({ vectors, width }: ScoreBlock, outputs: readonly Output[]): Float64Array {
  for (let row = 0; row < outputs.length; row++) vectors.set(outputs[row]!.vector!, row * width)
  return vectors.subarray(0, outputs.length * width)
}

function scoreOutputs(
  { scores, reasons }: ScoreBlock,
  model: ScoringModel,
  vectors: Float64Array,
  outputs: readonly Output[],
): void {
  model.scoreBatch(vectors, outputs.length, scores, reasons)
  for (let row = 0; row < outputs.length; row++) {
    const output = outputs[row]!
    output.score = scores[row]!
    output.modelVersion = model.version
    output.reasons = reasons[row]!
  }
}
