/** The registry topic in, the state of the registry out: read to its end, and followed in the background. Used by all who need it. */
import assert from 'node:assert/strict'
import type { Broker, Fetcher, LogRecord } from '../../runtime/broker.ts'
import { readSpans } from '../../runtime/read-log.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { RecordCodec } from '../../schemas/wire/codec.ts'
import type { RegistryRecord } from '../../schemas/wire/records.ts'
import { emptyRegistry, foldRegistry, type RegistryState } from './registry.ts'

export interface RegistryReaderOptions {
  readonly broker: Pick<Broker, 'bounds' | 'fetcher'>
  readonly codec: RecordCodec<RegistryRecord>
  /** The registry topic under its full name. One partition. */
  readonly topic: string
  /** Told after each fold. What it throws ends the reading. */
  readonly changed?: (state: RegistryState) => void
}

export interface RegistryReader {
  /** Reads up to the stable end at call time. Not while following. Rejects with `record_unreadable` and the broker's. */
  loadToEnd(): Promise<void>
  /** Starts reading on in the background until `close`. The first failure ends it and is handed to `failed`, once. */
  follow(failed: (error: unknown) => void): void
  state(): RegistryState
  /** Waits for a fetch that is under way (at most 250 ms). The same promise each time. */
  close(): Promise<void>
}

const limits = { maxWaitMs: 250, partitionBytesMax: 1_048_576 }

/** Constructing starts nothing. */
export function createRegistryReader(options: RegistryReaderOptions): RegistryReader {
  const { broker, codec, topic, changed = () => undefined } = options
  let state = emptyRegistry()
  let offset: number | null = null
  let fetcher: Fetcher | null = null
  let loop: Promise<void> | null = null
  let closed: Promise<void> | null = null
  let loading = false

  const decode = (record: LogRecord): RegistryRecord => {
    if (record.value === null) throw unreadable(topic, record.offset, 'it has no value')
    try {
      return codec.decode(record.value)
    } catch (cause) {
      throw unreadable(topic, record.offset, cause instanceof Error ? cause.message : String(cause), cause)
    }
  }

  const apply = (records: readonly RegistryRecord[]): void => {
    if (records.length === 0) return
    state = foldRegistry(state, records)
    changed(state)
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
      } catch (error) {
        // Its connections may be gone: the next call opens others.
        const broken = fetcher
        fetcher = null
        await broken?.close()
        throw error
      } finally {
        loading = false
      }
    },
    follow: (failed) => {
      assert(loop === null && closed === null && !loading, 'follow while loading, following or after close')
      loop = readOn().catch(failed)
    },
    state: () => state,
    close: () => {
      closed ??= Promise.resolve(loop).then(() => fetcher?.close())
      return closed
    },
  }
}

function unreadable(topic: string, offset: number, reason: string, cause?: unknown): PipelineError {
  return new PipelineError(
    'record_unreadable',
    `The registry record at ${topic} partition 0 offset ${offset} is no model version, alias change or note: ${reason}.`,
    { cause, details: { topic, offset } },
  )
}
