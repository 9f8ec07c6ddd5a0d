/**
 * Weights of every kind of model as one Avro union, and back: a part of the registry's record of a version. Records of before the union,
 * which held the weights of a logistic regression and nothing else, are read as its first branch.
 */

import type { ModelWeights } from '../plan/model-plan.ts'
import type { AvroSchema } from './avro-types.ts'

export interface WeightsCodec {
  readonly schema: readonly AvroSchema[]
  /** Avro tells the branches of a union apart by the names of their records. */
  wrap(weights: ModelWeights): Readonly<Record<string, unknown>>
  unwrap(wrapped: unknown): ModelWeights
}

export function createWeightsCodec(namespace: string): WeightsCodec {
  const list = (items: unknown) => ({ type: 'array', items })
  const record = (name: string, fields: Readonly<Record<string, unknown>>): AvroSchema => ({
    type: 'record',
    name,
    namespace,
    fields: Object.entries(fields).map(([field, type]) => ({ name: field, type })),
  })
  const [names, doubles, floats] = [list('string'), list('double'), list('float')]
  const layer = record('layer', { weights: floats, biases: floats })
  const schema = [
    record('logistic', {
      kind: { type: 'enum', name: 'logistic_kind', namespace, symbols: ['logistic'] },
      features: names,
      means: doubles,
      scales: doubles,
      weights: doubles,
      intercept: 'double',
    }),
    record('mlp', { features: names, units: doubles, means: doubles, scales: doubles, layers: list(layer) }),
    record('prior', { features: names, probability: 'double' }),
    record('own', { name: 'string', features: names, json: 'string' }),
  ]
  return {
    schema,
    wrap: (weights) => ({ [`${namespace}.${weights.kind}`]: weights }),
    unwrap(wrapped) {
      const [[name, fields]] = Object.entries(wrapped as Record<string, object>) as [[string, object]]
      return { ...fields, kind: name.slice(namespace.length + 1) } as unknown as ModelWeights
    },
  }
}
