/** What came of a run: committed records, predictions, dead letters and stored facts. Called by `pipeline-runner.ts`. */
import { dropBefore } from '../feature-store/entity-log.ts'
import type { FeatureStore } from '../feature-store/store.ts'
import { decodeLog, encodeLiveRows } from '../feature-store/stored-log.ts'
import type { Broker, Fetcher, LogRecord } from '../runtime/broker.ts'
import { partitionOf } from '../runtime/partition.ts'
import type { Plan } from '../schemas/plan/plan.ts'
import type { DeadLetter, Prediction } from '../schemas/wire/records.ts'

export interface ReadPrediction extends Prediction {
  readonly partition: number
}

export interface ReadState {
  readonly plan: Plan
  readonly partitions: number
  readonly broker: Broker
  readonly store: FeatureStore
  readonly fetcher: Fetcher
  /** Every key that was sent, by stage, so that the facts of all entities can be read. */
  readonly keys: ReadonlyMap<string, ReadonlySet<string>>
}

const readLimits = { maxWaitMs: 0, partitionBytesMax: 2 ** 30 }

export async function readRecords(state: ReadState, topic: string): Promise<LogRecord[][]> {
  const { broker, fetcher } = state
  const counts = await broker.data.partitionCounts([topic])
  const bounds = await broker.data.bounds(
    Array.from({ length: counts.get(topic)! }, (_, partition) => ({ topic, partition })),
  )
  const fetched = await fetcher.fetch(
    bounds.map(({ partition, start: offset }) => ({ topic, partition, offset })),
    readLimits,
  )
  return fetched.map((part) => [...part.records])
}

export async function readPredictions(state: ReadState): Promise<ReadPrediction[]> {
  const { plan } = state
  const { topic, codec } = plan.predictions
  const byPartition = await readRecords(state, topic)
  return byPartition.flatMap((list, partition) => list.map(({ value }) => ({ ...codec.decode(value!), partition })))
}

export async function readFeatures(state: ReadState): Promise<Record<string, Record<string, number | null>>> {
  const { plan } = state
  const shown = (value: number | undefined) => (value === undefined || Number.isNaN(value) ? null : value)
  return Object.fromEntries(
    (await readPredictions(state)).map(({ id, features: vector }) => [
      id,
      Object.fromEntries(plan.features.map(({ name }, i) => [name, shown(vector[i])])),
    ]),
  )
}

export async function readRejections(state: ReadState): Promise<DeadLetter[]> {
  const { plan } = state
  const { topic, codec } = plan.rejected
  return (await readRecords(state, topic)).flat().map(({ value }) => codec.decode(value!))
}

export async function readFacts(state: ReadState): Promise<Record<string, string>> {
  const { plan, partitions, store, keys } = state
  const found: Record<string, string> = {}
  for (const { entity } of plan.entityStages) {
    for (const key of [...keys.get(entity.name)!].sort()) {
      const partition = partitionOf(Buffer.from(key), partitions)
      const { position, logs } = await store.read(entity.name, partition, [key])
      const log = decodeLog(logs[0]!, entity.layout)
      // Expired rows stay until a log is rewritten, so they are not compared.
      const [frontierMs] = position === null ? [null] : (JSON.parse(position) as { passed: [number | null] }).passed
      dropBefore(log, (frontierMs ?? Number.NEGATIVE_INFINITY) - entity.retentionMs)
      if (log.end > log.start) found[`${entity.name} ${partition} ${key}`] = encodeLiveRows(log).toString('hex')
    }
  }
  return found
}
