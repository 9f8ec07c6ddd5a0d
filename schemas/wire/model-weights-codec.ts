/**
 * Weights of every kind of model as one Avro union, and back: a part of the registry's record of a version. Records of before the union,
 * which held the weights of a logistic regression and nothing else, are read as its first branch.
 */

import { type ModelWeights, modelKinds } from '../models/models.ts'
import type { AvroSchema } from './avro-types.ts'

export interface WeightsCodec {
  readonly schema: readonly AvroSchema[]
  /** Avro distinguishes the branches of a union by their record names. */
  wrap(weights: ModelWeights): Readonly<Record<string, unknown>>
  unwrap(wrapped: unknown): ModelWeights
}

export function createWeightsCodec(namespace: string): WeightsCodec {
  const schema = Object.entries(modelKinds).map(([name, { weightsFields }]): AvroSchema => {
    const fields = Object.entries(weightsFields(namespace)).map(([field, type]) => ({ name: field, type }))
    return { type: 'record', name, namespace, fields }
  })
  return {
    schema,
    wrap: (weights) => ({ [`${namespace}.${weights.kind}`]: weights }),
    unwrap(wrapped) {
      const [[name, fields]] = Object.entries(wrapped as Record<string, object>) as [[string, object]]
      return { ...fields, kind: name.slice(namespace.length + 1) } as unknown as ModelWeights
    },
  }
}
