/** A score of one vector in, a model that scores batches out: for `currentModel`, and the challengers in its `shadows`. */
import type { Reasons, ShadowModel } from '../processors/batch/scoring.ts'

export interface OneByOne {
  readonly version: string
  /** NaN in the vector is missing. Called once a vector, in order. */
  score(vector: Float64Array): number
  /** Left out: none. */
  reasons?(vector: Float64Array): Reasons
}

export function oneByOne(model: OneByOne): ShadowModel {
  return {
    version: model.version,
    scoreBatch(vectors, count, scores, reasons) {
      const width = vectors.length / count
      for (let row = 0; row < count; row++) {
        const vector = vectors.slice(row * width, (row + 1) * width)
        scores[row] = model.score(vector)
        if (reasons !== null) reasons[row] = model.reasons?.(vector) ?? []
      }
    },
  }
}
