/**
 * The generated data in, a model version out: vectors of the replay of the first days, fitted as `millrace train` fits
 * them. Needs no server.
 */
import type { TrainingRows } from '../online-model/models/model.ts'
import { modelOf } from '../online-model/models/model-of.ts'
import type { HandbookTable } from '../pipelines/handbook.ts'
import { createReplay, type Replayed } from '../processors/replay.ts'
import type { Plan } from '../schemas/plan/plan.ts'
import type { ModelVersion } from '../schemas/wire/records.ts'
import { sliceChunks } from './slice.ts'

/** About ten days: the terminals' windows end seven days back, so that the first week alone has no risks to learn from. */
const transactions = 100_000

export async function trainModel(plan: Plan, table: HandbookTable, partitions: number): Promise<ModelVersion> {
  const fit = await modelOf(plan.model).fit(firstRows(plan, table, partitions), { seed: table.seed })
  return {
    kind: 'version',
    version: 'v1',
    createdAtMs: 0,
    fingerprint: plan.fingerprint,
    seed: table.seed,
    model: fit.weights,
    metrics: {},
    trainedOn: [],
    parent: null,
    origin: 'manual',
  }
}

/** Vectors of the first days with their labels, in event time. */
export function firstRows(plan: Plan, table: HandbookTable, partitions: number): TrainingRows {
  const features = plan.features.map(({ name }) => name)
  const count = Math.min(transactions, table.rows)
  const rows = new Float64Array(count * features.length)
  const labels = new Uint8Array(count)
  let rowCount = 0
  const take = (replayed: readonly Replayed[]) => {
    for (const { id, vector } of replayed) {
      rows.set(vector, rowCount * features.length)
      labels[rowCount++] = table.fraud[Number(id)]!
    }
  }
  const indexes = new Map(plan.streams.map(({ name, index }) => [name, index]))
  const replay = createReplay(plan, { partitions })
  for (const chunk of sliceChunks(table, plan, { from: 0, count })) {
    for (const { stream, values } of chunk) take(replay.push(indexes.get(stream)!, values))
  }
  take(replay.flush())
  return { rows, labels, rowCount, features, weights: null }
}
