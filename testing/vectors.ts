/** What tests compare: the vectors that the pure core gives for some events, and those that were predicted, both by id and bit for bit. */
import { createReplay, type Replayed } from '../processors/replay.ts'
import type { Plan } from '../schemas/plan/plan.ts'
import type { Prediction } from '../schemas/wire/records.ts'
import type { StreamEvent } from './pipeline-runner.ts'

/** What the pure core gives for events in event-time order. */
export function replayed(plan: Plan, partitions: number, events: readonly StreamEvent[]): Replayed[] {
  const indexes = new Map(plan.streams.map(({ name, index }) => [name, index]))
  const replay = createReplay(plan, { partitions })
  const all = events.flatMap(({ stream, values, partition }) => replay.push(indexes.get(stream)!, values, partition))
  return [...all, ...replay.flush()]
}

/** The bits of a vector, so that NaN equals NaN and -0 does not equal 0. */
export function bitsOf(vector: ArrayLike<number>): string {
  return Buffer.from(Float64Array.from(vector).buffer).toString('hex')
}

/** By id, in order of id: to be compared whole. */
export function vectorsById(
  list: ReadonlyArray<{ readonly id: string; readonly bits: string }>,
): Array<[string, string]> {
  return list.map(({ id, bits }): [string, string] => [id, bits]).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}

export function predictedVectors(predictions: readonly Prediction[]): Array<[string, string]> {
  return vectorsById(predictions.map(({ id, features }) => ({ id, bits: bitsOf(features) })))
}

export function replayedVectors(list: readonly Replayed[]): Array<[string, string]> {
  return vectorsById(list.map(({ id, vector }) => ({ id, bits: bitsOf(vector) })))
}
