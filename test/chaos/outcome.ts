/** What a run has left in Kafka and Redis, against what an undisturbed one gives. Used by `run-chaos.ts`. */
import { createFeatureReader, type ReadAnswer } from '../../feature-store/reader.ts'
import type { FeatureStore } from '../../feature-store/store.ts'
import { frontierOf } from '../../processors/position.ts'
import type { BrokerData } from '../../runtime/broker.ts'
import { partitionOf } from '../../runtime/partition.ts'
import { readSpans, wholeLog } from '../../runtime/read-log.ts'
import { fixedHashKey } from '../../schemas/kernel/keyed-hash.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { Prediction } from '../../schemas/wire/records.ts'
import type { Expectation, ExpectedPrediction } from './expectation.ts'

export interface ComparedPredictions {
  readonly predictions: number
  /** Ids without a prediction, and ids with several. */
  readonly lost: readonly string[]
  readonly doubled: readonly string[]
  /** Sentences. */
  readonly differing: readonly string[]
  /** Of events that were never sent. */
  readonly foreign: readonly string[]
  /** Sentences, of dead letters. */
  readonly rejected: readonly string[]
}

/** Everything that is committed in the predictions topic and among the dead letters. */
export async function comparePredictions(
  broker: BrokerData,
  plan: Plan,
  expected: ReadonlyMap<string, ExpectedPrediction>,
  modelVersion: string,
): Promise<ComparedPredictions> {
  const names = plan.features.map(({ name }) => name)
  const seen = new Set<string>()
  const doubled: string[] = []
  const differing: string[] = []
  const foreign: string[] = []
  let predictions = 0
  const rejected: string[] = []
  const fetcher = await broker.fetcher()
  try {
    await readSpans(fetcher, await wholeLog(broker, [plan.predictions.topic, plan.rejected.topic]), (record, from) => {
      if (from.topic === plan.rejected.topic) {
        const { stage, topic, partition, offset, problems } = plan.rejected.codec.decode(record.value!)
        rejected.push(`${stage} refused ${topic} ${partition}/${offset}: ${JSON.stringify(problems)}`)
        return
      }
      predictions++
      const prediction = plan.predictions.codec.decode(record.value!)
      const { id } = prediction
      if (seen.has(id)) doubled.push(id)
      seen.add(id)
      const wanted = expected.get(id)
      if (!wanted) foreign.push(id)
      else {
        const difference = differenceOf(prediction, wanted, names, modelVersion)
        if (difference !== null)
          differing.push(`event ${id} at ${new Date(prediction.time).toISOString()}: ${difference}`)
      }
    })
  } finally {
    await fetcher.close()
  }
  const lost = [...expected.keys()].filter((id) => !seen.has(id))
  return { predictions, lost, doubled, differing, foreign, rejected }
}

/** Bit for bit; null where nothing differs. */
function differenceOf(
  { features, score, modelVersion }: Prediction,
  wanted: ExpectedPrediction,
  names: readonly string[],
  version: string,
): string | null {
  const differences = names.flatMap((name, i) =>
    Object.is(features[i], wanted.vector[i]) ? [] : [`${name} ${features[i]}, undisturbed ${wanted.vector[i]}`],
  )
  if (!Object.is(score, wanted.score)) differences.push(`score ${score}, undisturbed ${wanted.score}`)
  if (modelVersion !== version) differences.push(`model ${modelVersion}, undisturbed ${version}`)
  return differences.length === 0 ? null : differences.join('; ')
}

const keysAtOnce = 200

/** Sentences for entities whose stored features are not those of an undisturbed run at the same positions. */
export async function compareFeatures(
  store: FeatureStore,
  plan: Plan,
  expected: Expectation,
  partitions: number,
): Promise<{ readonly entities: number; readonly differing: readonly string[] }> {
  const differing: string[] = []
  const positions = new Map<string, string | null>()
  for (const { entity } of plan.stages) {
    for (let partition = 0; partition < partitions; partition++) {
      const { position } = await store.inspect(entity.name, partition)
      positions.set(`${entity.name}/${partition}`, position)
      if (position === null) differing.push(`${entity.name} ${partition}: the store holds nothing`)
    }
  }
  const other = await expected.storeAt((entity, partition) => positions.get(`${entity}/${partition}`)!)
  const readerOf = (of: FeatureStore) =>
    createFeatureReader({
      plan,
      store: of,
      partitions,
      partitionOf: (key) => partitionOf(Buffer.from(key), partitions),
      // No event is asked for by its id.
      hashKey: fixedHashKey,
      frontierOf,
    })
  const [readers, others] = [readerOf(store), readerOf(other)]
  let entities = 0
  for (const [entity, keys] of expected.keys) {
    const all = [...keys]
    for (let at = 0; at < all.length; at += keysAtOnce) {
      const some = all.slice(at, at + keysAtOnce)
      const request = { at: { reading: 'now', wallMs: null }, knowledge: 'now' } as const
      const [found, wanted] = await Promise.all([
        readers.read(entity, some, request),
        others.read(entity, some, request),
      ])
      entities += some.length
      some.forEach((key, i) => {
        const [is, was] = [itemText(found, i), itemText(wanted, i)]
        if (is !== was) differing.push(`${entity} ${key}: ${is}, undisturbed ${was}`)
      })
    }
  }
  return { entities, differing }
}

function itemText(answer: ReadAnswer, at: number): string {
  return JSON.stringify(answer.ok ? answer.items[at] : answer.problem)
}
