/** What the batch loop asks of a model; handed in, so that processing knows nothing of learning. */
export interface ScoringModel {
  readonly version: string
  /** Changes nothing, awaits nothing; NaN in the vector is missing. */
  score(vector: ArrayLike<number>): number
  reasons(vector: ArrayLike<number>): ReadonlyArray<{ readonly feature: string; readonly contribution: number }>
  /** Challengers: they score the same vectors, and nothing but the record of the prediction knows of it. Left out: none. */
  readonly shadows?: readonly ShadowModel[]
}

export type ShadowModel = Pick<ScoringModel, 'version' | 'score'>

/** Asked once a batch: a new model is taken up at a batch boundary. Null while there is none. */
export type CurrentModel = () => ScoringModel | null
