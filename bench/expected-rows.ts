/**
 * The vectors that a slice of the generated events should get, by the replay without servers, and how many of those that a run published
 * differ in a bit. Called by the backlog jobs.
 */
import { createReplay, type Replayed } from '../processors/replay.ts'
import type { Plan } from '../schemas/plan/plan.ts'
import type { BenchEnvironment } from './environment.ts'
import { type Slice, sliceChunks } from './slice.ts'

export interface ExpectedRows {
  /** Whether the vector published under this id is that of the replay, bit for bit. False for an id that was not sent. */
  isRight(id: string, features: readonly number[]): boolean
}

export function expectedRows(
  { table, config }: Pick<BenchEnvironment, 'table' | 'config'>,
  plan: Plan,
  slice: Slice,
): ExpectedRows {
  const replay = createReplay(plan, { partitions: config.partitions })
  const streams = new Map(plan.streams.map(({ name, index }) => [name, index]))
  const width = plan.features.length
  const vectors = new Float64Array(slice.count * width)
  const rows = new Map<string, number>()
  const keep = (replayed: readonly Replayed[]) => {
    for (const { id, vector } of replayed) {
      vectors.set(vector, rows.size * width)
      rows.set(id, rows.size)
    }
  }
  for (const chunk of sliceChunks(table, plan, slice)) {
    for (const { stream, values } of chunk) keep(replay.push(streams.get(stream)!, values))
  }
  keep(replay.flush())
  return {
    isRight(id, features) {
      const row = rows.get(id)
      if (row === undefined || features.length !== width) return false
      return features.every((value, i) => Object.is(value, vectors[row * width + i]))
    },
  }
}
