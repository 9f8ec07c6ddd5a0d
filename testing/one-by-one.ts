/** A score of one vector in, a model that scores batches out: for `currentModel`, and the challengers in its `shadows`. */
import type { ShadowModel } from '../processors/batch/scoring.ts'
import { addReasons } from '../schemas/wire/reason-rows.ts'
import type { Prediction } from '../schemas/wire/records.ts'

export interface OneByOne {
  readonly version: string
  /** NaN in the vector is missing. Called once a vector, in order. */
  score(vector: Float64Array): number
  /** Left out: none. */
  reasons?(vector: Float64Array): Prediction['reasons']
}

export function oneByOne(model: OneByOne): ShadowModel {
  return {
    version: model.version,
    scoreBatch(vectors, count, scores, reasons) {
      const width = vectors.length / count
      for (let row = 0; row < count; row++) {
        const vector = vectors.slice(row * width, (row + 1) * width)
        scores[row] = model.score(vector)
        if (reasons !== null) addReasons(reasons, model.reasons?.(vector) ?? [])
      }
    },
  }
}
