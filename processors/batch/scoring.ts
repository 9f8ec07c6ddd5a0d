/** What the batch loop asks of a model; handed in, so that processing knows nothing of learning. */
import type { ReasonRows } from '../../schemas/wire/reason-rows.ts'

export interface ScoringModel extends ShadowModel {
  /** Challengers: they score the same vectors, and nothing but the record of the prediction knows of it. Left out: none. */
  readonly shadows?: readonly ShadowModel[]
}

export interface ShadowModel {
  readonly version: string
  /**
   * The scores of `vectors`, which holds `count` of them one after the other, NaN where missing; unless `reasons` is null, theirs are added
   * to it. Changes nothing else, awaits nothing, keeps none of the arrays. Scores come in the order of the vectors, and those that were
   * written before something is thrown stand.
   */
  scoreBatch(vectors: Float64Array, count: number, scores: Float64Array, reasons: ReasonRows | null): void
}

/** Asked once a batch: a new model is taken up at a batch boundary. Null while there is none. */
export type CurrentModel = () => ScoringModel | null
