/**
 * The registry topic in, the champion's scorer out: read to its end at start, followed in the background, asked once
 * per batch.
 */
import assert from 'node:assert/strict'
import type { Broker, Fetcher, LogRecord } from '../runtime/broker.ts'
import { readSpans } from '../runtime/read-log.ts'
import { PipelineError } from '../schemas/errors.ts'
import type { Plan, RegistryRecord } from '../schemas/plan.ts'
import { champion, emptyRegistry, foldRegistry, type RegistryState } from './registry.ts'
import { createScorer, isFor, type Scorer } from './scorer.ts'

export interface RegistryFollowerOptions {
  readonly broker: Pick<Broker, 'bounds' | 'fetcher'>
  readonly plan: Pick<Plan, 'models' | 'features' | 'fingerprint' | 'model'>
  /** The registry topic under its full name. One partition. */
  readonly topic: string
  /** Told in one line when the champion changes. */
  readonly say: (line: string) => void
  /** How many reasons a scorer names; 3 unless told. */
  readonly reasonsMax?: number
}

export interface RegistryFollower {
  /**
   * Reads up to the stable end at call time. Not while following. Rejects with `record_unreadable`, `state_foreign` and
   * the broker's.
   */
  loadToEnd(): Promise<void>
  /** Starts reading on in the background until `close`. The first failure ends it and is handed to `failed`, once. */
  follow(failed: (error: unknown) => void): void
  state(): RegistryState
  /**
   * The champion's scorer; null while there is no champion made for this definition. Synchronous: ask at a batch
   * boundary.
   */
  current(): Scorer | null
  /** Waits for a fetch that is under way (at most 250 ms). The same promise each time. */
  close(): Promise<void>
}

const limits = { maxWaitMs: 250, partitionBytesMax: 1_048_576 }

/** Constructing starts nothing. */
export function createRegistryFollower(options: RegistryFollowerOptions): RegistryFollower {
  const { broker, plan, topic, say, reasonsMax = 3 } = options
  let state = emptyRegistry()
  let scorer: Scorer | null = null
  let championVersion: string | null = null
  let offset: number | null = null
  let fetcher: Fetcher | null = null
  let loop: Promise<void> | null = null
  let closed: Promise<void> | null = null
  let loading = false

  const decode = (record: LogRecord): RegistryRecord => {
    if (record.value === null) throw unreadable(topic, record.offset, 'it has no value')
    try {
      return plan.models.codec.decode(record.value)
    } catch (cause) {
      throw unreadable(topic, record.offset, cause instanceof Error ? cause.message : String(cause), cause)
    }
  }

  const apply = (records: readonly RegistryRecord[]): void => {
    state = foldRegistry(state, records)
    const version = champion(state)
    if (version === null || version.version === championVersion) return
    const fits = isFor(version, plan)
    scorer = fits ? createScorer(version, plan, reasonsMax) : null
    championVersion = version.version
    say(
      fits
        ? `champion is ${version.version}`
        : `champion ${version.version} was trained on definition ${version.fingerprint}, this one is ` +
            `${plan.fingerprint}: events are not scored until a model is trained on it`,
    )
  }

  const open = async (): Promise<Fetcher> => {
    fetcher ??= await broker.fetcher()
    return fetcher
  }

  const bounds = async (): Promise<{ start: number; end: number }> => {
    const [found] = await broker.bounds([{ topic, partition: 0 }])
    assert(found !== undefined, `no bounds for ${topic}`)
    return found
  }

  const readOn = async (): Promise<void> => {
    offset ??= (await bounds()).start
    const own = await open()
    while (closed === null) {
      const [fetched] = await own.fetch([{ topic, partition: 0, offset }], limits)
      assert(fetched !== undefined, `no answer for ${topic}`)
      apply(fetched.records.map(decode))
      offset = fetched.next
    }
  }

  return {
    loadToEnd: async () => {
      assert(loop === null && closed === null && !loading, 'loadToEnd while loading, following or after close')
      loading = true
      try {
        const { start, end } = await bounds()
        const records: RegistryRecord[] = []
        const span = { topic, partition: 0, from: offset ?? start, end }
        await readSpans(await open(), [span], (record) => records.push(decode(record)))
        apply(records)
        offset = Math.max(span.from, end)
      } finally {
        loading = false
      }
    },
    follow: (failed) => {
      assert(loop === null && closed === null && !loading, 'follow while loading, following or after close')
      loop = readOn().catch(failed)
    },
    state: () => state,
    current: () => scorer,
    close: () => {
      closed ??= Promise.resolve(loop).then(() => fetcher?.close())
      return closed
    },
  }
}

function unreadable(topic: string, offset: number, reason: string, cause?: unknown): PipelineError {
  return new PipelineError(
    'record_unreadable',
    `The registry record at ${topic} partition 0 offset ${offset} is no model version or alias change: ${reason}.`,
    { cause, details: { topic, offset } },
  )
}
