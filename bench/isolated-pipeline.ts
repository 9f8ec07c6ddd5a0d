/** The pipeline of one run in a namespace of its own: topics, model, raw events and the production process. Opened by the jobs. */
import { loadPlan } from '../cli/load-plan.ts'
import type { Shutdown } from '../cli/shutdown.ts'
import { ensureTopics, requireTopics } from '../cli/topics/requirements.ts'
import { publishVersion } from '../online-model/registry/publish-version.ts'
import type { Pace } from '../producers/pace.ts'
import { produce } from '../producers/produce.ts'
import type { ProduceSummary } from '../producers/produce-counts.ts'
import type { Plan } from '../schemas/plan/plan.ts'
import type { ModelVersion } from '../schemas/wire/records.ts'
import { fineClock } from './clock.ts'
import type { BenchEnvironment } from './environment.ts'
import { type MeasuredRun, startMeasuredRun } from './measured-run.ts'
import { type Slice, sliceChunks } from './slice.ts'

export interface IsolatedPipeline {
  readonly namespace: string
  readonly plan: Plan
  /** Resolves when all events are acknowledged. */
  produceFlatOut(slice: Slice): Promise<ProduceSummary>
  /** From this process, until all is sent or the signal stops it. */
  producePaced(slice: Slice, eventsPerSecond: number, signal: AbortSignal): Promise<ProduceSummary>
  publishModel(version: ModelVersion): Promise<void>
  /** Starts `millrace run`. */
  startRun(): Promise<MeasuredRun>
}

let opened = 0

export async function openIsolatedPipeline(
  environment: BenchEnvironment,
  definition: string,
  name: string,
  shutdown: Shutdown,
): Promise<IsolatedPipeline> {
  const { broker, config, redis } = environment
  const namespace = `bench-${Math.floor(fineClock.nowMs()).toString(36)}-${++opened}-${name}`
  const plan = await loadPlan(definition, { namespace })
  await ensureTopics(broker.admin, plan, config.partitions)
  const partitionsOf = await requireTopics(
    broker.data,
    plan.topics.map(({ topic }) => topic),
  )
  shutdown.add('stored features', () => removeKeys(redis, namespace))
  const producer = await broker.data.producer()
  shutdown.add('producer', producer.close)

  const send = (slice: Slice, pace: Pace, signal: AbortSignal) =>
    produce(sliceChunks(environment.table, plan, slice), {
      streams: plan.streams,
      sink: producer,
      partitionsOf,
      pace,
      clock: fineClock,
      signal,
    })

  return {
    namespace,
    plan,
    produceFlatOut: (slice) => send(slice, { kind: 'flat out' }, new AbortController().signal),
    producePaced: (slice, eventsPerSecond, signal) => send(slice, { kind: 'rate', eventsPerSecond }, signal),
    publishModel: (version) =>
      publishVersion(producer, {
        topic: plan.models.topic,
        codec: plan.models.codec,
        version,
        previous: null,
        by: 'bench',
        reason: 'so that every event is scored',
        changedAtMs: 0,
      }),
    startRun: () => startMeasuredRun(environment, definition, namespace, shutdown),
  }
}

/** The topics are left: they are removed with the bench's own servers. */
async function removeKeys(redis: BenchEnvironment['redis'], namespace: string): Promise<void> {
  let cursor = '0'
  do {
    const [next, keys] = await redis.scan(cursor, 'MATCH', `{${namespace}.*`, 'COUNT', 1_000)
    if (keys.length > 0) await redis.unlink(...keys)
    cursor = next
  } while (cursor !== '0')
}
