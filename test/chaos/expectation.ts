/** What an undisturbed run gives for the events that were sent: every prediction, and the features at the end. Used by `run-chaos.ts`. */
import assert from 'node:assert/strict'
import type { EntityLog } from '../../feature-store/entity-log.ts'
import { createMemoryStore } from '../../feature-store/memory-store.ts'
import { type FeatureStore, storeKeysMax } from '../../feature-store/store.ts'
import { createScorer } from '../../online-model/models/scorer.ts'
import { createReplay, type Replayed } from '../../processors/replay.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import { wholeLogs } from '../support/stored-logs.ts'
import type { SentEvent } from './chaos-load.ts'

export interface ExpectedPrediction {
  readonly vector: Float64Array
  readonly score: number
}

export interface Expectation {
  readonly predictions: ReadonlyMap<string, ExpectedPrediction>
  /** Keys with facts, by entity. */
  readonly keys: ReadonlyMap<string, ReadonlySet<string>>
  /** A store that holds what an undisturbed run would have left, at the positions of the other one. */
  storeAt(positions: PositionOf): Promise<FeatureStore>
}

export type PositionOf = (entity: string, partition: number) => string | null

export function expectOutcome(
  plan: Plan,
  model: ModelVersion,
  sent: readonly SentEvent[],
  partitions: number,
): Expectation {
  const scorer = createScorer(model, plan, 0)
  const logs = new Map<string, Map<string, EntityLog>>()
  const keys = new Map(plan.stages.map(({ entity }) => [entity.name, new Set<string>()]))
  const replay = createReplay(plan, { partitions, onFolded: keep })
  const indexes = new Map(plan.streams.map(({ name, index }) => [name, index]))
  const predictions = new Map<string, ExpectedPrediction>()

  function keep(entity: string, partition: number, key: string, log: EntityLog): void {
    const task = `${entity}/${partition}`
    const ofTask = logs.get(task) ?? new Map<string, EntityLog>()
    logs.set(task, ofTask)
    keys.get(entity)!.add(key)
    ofTask.set(key, log)
  }

  function take(results: readonly Replayed[]): void {
    for (const { id, vector } of results) predictions.set(id, { vector, score: scorer.score(vector) })
  }

  for (const { stream, values } of sent) take(replay.push(indexes.get(stream)!, values))
  take(replay.flush())
  assert.equal(replay.counts.duplicates + replay.counts.rejected, 0, 'the benchmark has neither duplicates nor rejects')

  async function storeAt(positionOf: PositionOf): Promise<FeatureStore> {
    const store = createMemoryStore({ tailStepsMax: 0 })
    const identity = { clusterId: 'expected', stateFingerprint: plan.stateFingerprint, partitions }
    for (const { entity } of plan.stages) {
      for (let partition = 0; partition < partitions; partition++) {
        const position = positionOf(entity.name, partition)
        if (position === null) continue
        const task = await store.claim(entity.name, partition, 'expected', identity)
        const ofTask = [...(logs.get(`${entity.name}/${partition}`) ?? [])]
        let from: string | null = null
        for (let at = 0; at < ofTask.length; at += storeKeysMax) {
          const to = at + storeKeysMax < ofTask.length ? `filled to ${at}` : position
          await task.apply({ from, to, writes: wholeLogs(ofTask.slice(at, at + storeKeysMax)) })
          from = to
        }
      }
    }
    return store
  }

  return { predictions, keys, storeAt }
}
