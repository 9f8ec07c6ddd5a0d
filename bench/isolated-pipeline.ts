/**
 * One run's pipeline in a namespace of its own: its topics, its model, its raw events, and the production process as a child, watched
 * through its own `/metrics` as an operator would. Opened by the jobs.
 */

import { startCommandProcess } from '../cli/child-command.ts'
import { loadPlan } from '../cli/load-plan.ts'
import type { Shutdown } from '../cli/shutdown.ts'
import { ensureTopics, requireTopics } from '../cli/topics/requirements.ts'
import { publishVersion } from '../online-model/registry/publish-version.ts'
import { type ProduceSummary, produce } from '../producers/produce.ts'
import { freePort } from '../runtime/servers/free-port.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { Plan } from '../schemas/plan/plan.ts'
import type { ModelVersion } from '../schemas/wire/records.ts'
import { fineClock } from './clock.ts'
import type { BenchEnvironment } from './environment.ts'
import { parseMetrics } from './metrics-text.ts'
import type { Usage } from './middle.ts'
import { type Slice, sliceChunks } from './slice.ts'

export interface OwnNamespace {
  readonly namespace: string
  readonly plan: Plan
  /** Resolves when all is acknowledged. */
  produceFlatOut(slice: Slice): Promise<ProduceSummary>
  publishModel(version: ModelVersion): Promise<void>
  /** Starts `millrace run`; what it does is seen through `usages` and `counts`. */
  startRun(): Promise<MeasuredRun>
}

export interface MeasuredRun {
  readonly url: string
  /** Since the start, in order of time, the start itself with nothing used as the first. */
  readonly usages: readonly Usage[]
  /** Of the latest look. */
  readonly counts: Readonly<RunCounts>
  /** Looks until so many predictions are committed. Rejects when the process ended or none comes any more. */
  untilPredicted(predictions: number): Promise<void>
  /** Looks now and then until the promise is settled, once before and once after it. */
  lookWhile<T>(busy: Promise<T>): Promise<T>
  /** Resolves when the process has finished its batch and ended. */
  stop(): Promise<void>
}

export interface RunCounts {
  readonly predictions: number
  readonly duplicates: number
  readonly late: number
  readonly releasedEarly: number
}

/**
 * A page costs the process about 2 ms. On a backlog every look is a point of the CPU curve, at the price of 1 % of a core; beside
 * latencies there are fewer.
 */
const lookEveryMs = 250
const seldomLookEveryMs = 1_000
const silenceMaxMs = 60_000
const megabyte = 1_000_000

let opened = 0

export async function openNamespace(
  place: BenchEnvironment,
  definition: string,
  name: string,
  shutdown: Shutdown,
): Promise<OwnNamespace> {
  const { broker, config, redis } = place
  const namespace = `bench-${Math.floor(fineClock.nowMs()).toString(36)}-${++opened}-${name}`
  const plan = await loadPlan(definition, namespace)
  await ensureTopics(broker, plan, config.partitions)
  const partitionsOf = await requireTopics(
    broker,
    plan.topics.map(({ topic }) => topic),
  )
  shutdown.add('stored features', () => removeKeys(redis, namespace))
  const producer = await broker.producer()
  shutdown.add('producer', producer.close)

  return {
    namespace,
    plan,
    produceFlatOut: (slice) =>
      produce(sliceChunks(place.table, plan, slice), {
        streams: plan.streams,
        sink: producer,
        partitionsOf,
        pace: { kind: 'flat out' },
        clock: fineClock,
        signal: new AbortController().signal,
      }),
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
    startRun: () => startRun(place, definition, namespace, shutdown),
  }
}

async function startRun(
  place: BenchEnvironment,
  definition: string,
  namespace: string,
  shutdown: Shutdown,
): Promise<MeasuredRun> {
  const { config, environment, profileFolder } = place
  const port = await freePort(undefined, [])
  const url = `http://${config.httpHost}:${port}`
  const startedAtMs = fineClock.nowMs()
  const child = startCommandProcess(
    ['run', definition],
    {
      ...environment,
      MILLRACE_LOG_LEVEL: 'warn',
      KAFKA_BROKERS: config.kafkaBrokers.join(','),
      REDIS_URL: config.redisUrl!,
      MILLRACE_NAMESPACE: namespace,
      MILLRACE_HTTP_PORT: String(port),
    },
    profileFolder === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileFolder}`],
  )
  let stopping: Promise<void> | null = null
  const stop = () => {
    stopping ??= child.stop()
    return stopping
  }
  shutdown.add('run', stop)
  const usages: Usage[] = [{ atMs: startedAtMs, cpuSeconds: 0, residentBytes: 0 }]
  let counts: RunCounts = { predictions: 0, duplicates: 0, late: 0, releasedEarly: 0 }

  /** False while it does not listen yet. */
  async function looked(): Promise<boolean> {
    const answer = await Promise.race([fetchText(`${url}/metrics`), child.done])
    if (answer === undefined) throw new PipelineError('server_failed', 'The measured process ended by itself.')
    if (answer === null) return false
    const sum = parseMetrics(answer)
    usages.push({
      atMs: fineClock.nowMs(),
      cpuSeconds: sum('process_cpu_seconds_total'),
      residentBytes: sum('process_resident_memory_bytes'),
    })
    counts = {
      predictions: sum('millrace_predictions_total'),
      duplicates: sum('millrace_duplicates_total'),
      late: sum('millrace_late_events'),
      releasedEarly: sum('millrace_released_early_events'),
    }
    return true
  }

  return {
    url,
    usages,
    get counts() {
      return counts
    },
    stop,
    async lookWhile(busy) {
      let isOver = false
      const over = busy.finally(() => {
        isOver = true
      })
      // Whoever waits below hears of a failure; until then it must not count as unheard.
      over.catch(() => undefined)
      do {
        await looked()
        await Promise.race([over, fineClock.sleep(seldomLookEveryMs)])
      } while (!isOver)
      const result = await over
      await looked()
      return result
    },
    async untilPredicted(predictions) {
      let heard = { predictions: -1, atMs: fineClock.elapsedMs() }
      for (;;) {
        await looked()
        if (counts.predictions >= predictions) return
        const nowMs = fineClock.elapsedMs()
        if (counts.predictions > heard.predictions) heard = { predictions: counts.predictions, atMs: nowMs }
        if (nowMs - heard.atMs > silenceMaxMs) {
          throw new PipelineError(
            'server_failed',
            `No prediction came for ${silenceMaxMs / 1_000} s after ${counts.predictions} of ${predictions}; see what \`run\` said above.`,
          )
        }
        await fineClock.sleep(lookEveryMs)
      }
    },
  }
}

/** Null where nobody listens. */
async function fetchText(url: string): Promise<string | null> {
  const response = await fetch(url).catch((error: Error) => {
    const code = (error.cause as NodeJS.ErrnoException | undefined)?.code
    if (code === 'ECONNREFUSED') return null
    throw error
  })
  return response === null ? null : response.text()
}

export function greatestResidentMb(usages: readonly Usage[]): number {
  return Math.max(...usages.map(({ residentBytes }) => residentBytes)) / megabyte
}

/** Topics stay: on servers of its own they go with them. */
async function removeKeys(redis: BenchEnvironment['redis'], namespace: string): Promise<void> {
  let cursor = '0'
  do {
    const [next, keys] = await redis.scan(cursor, 'MATCH', `{${namespace}.*`, 'COUNT', 1_000)
    if (keys.length > 0) await redis.unlink(...keys)
    cursor = next
  } while (cursor !== '0')
}
