/** The registry topic in, the state of the registry out: read to its end, and followed in the background. Used by all who need it. */
import assert from 'node:assert/strict'
import type { BrokerData, Fetcher, LogRecord } from '../../runtime/broker.ts'
import { readSpans } from '../../runtime/read-log.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { RecordCodec } from '../../schemas/wire/codec.ts'
import type { RegistryRecord } from '../../schemas/wire/records.ts'
import { emptyRegistry, foldRegistry, type RegistryState } from './registry.ts'

export interface RegistryReaderOptions {
  readonly broker: BrokerData
  readonly codec: RecordCodec<RegistryRecord>
  /** The registry topic under its full name. One partition. */
  readonly topic: string
  /** Called after each change of the state. What it throws ends the reading. */
  readonly changed?: (state: RegistryState) => void
}

export interface RegistryReader {
  /** Reads up to the stable end at call time. Not while following. Rejects with `record_unreadable` and the broker's codes. */
  loadToEnd(): Promise<void>
  /** Starts to read on in the background until `close`. The first failure ends that and is passed to `failed`, once. */
  follow(failed: (error: unknown) => void): void
  state(): RegistryState
  /** Waits for a running fetch (at most 250 ms). The same promise each time. */
  close(): Promise<void>
}

const limits = { maxWaitMs: 250, partitionBytesMax: 1_048_576 }

interface ReaderState extends Required<RegistryReaderOptions> {
  registry: RegistryState
  /** Of the next record; null before the first read. */
  offset: number | null
  fetcher: Fetcher | null
  isLoading: boolean
  following: Promise<void> | null
  closed: Promise<void> | null
}

/** Constructing starts nothing. */
export function createRegistryReader(options: RegistryReaderOptions): RegistryReader {
  const { broker, codec, topic, changed = () => undefined } = options
  const state: ReaderState = {
    ...{ broker, codec, topic, changed },
    registry: emptyRegistry(),
    offset: null,
    fetcher: null,
    isLoading: false,
    following: null,
    closed: null,
  }
  return {
    loadToEnd: async () => {
      requireIdle(state, 'loadToEnd')
      state.isLoading = true
      try {
        await loadToEnd(state)
      } finally {
        state.isLoading = false
      }
    },
    follow: (failed) => {
      requireIdle(state, 'follow')
      state.following = follow(state).catch(failed)
    },
    state: () => state.registry,
    close: () => {
      state.closed ??= Promise.resolve(state.following).then(() => state.fetcher?.close())
      return state.closed
    },
  }
}

function requireIdle({ following, closed, isLoading }: ReaderState, call: string): void {
  assert(following === null && closed === null && !isLoading, `${call} while loading, following or after close`)
}

async function loadToEnd(state: ReaderState): Promise<void> {
  const { topic } = state
  try {
    const { start, end } = await boundsOf(state)
    const records: RegistryRecord[] = []
    const span = { topic, partition: 0, from: state.offset ?? start, end }
    await readSpans(await openFetcher(state), [span], (record) => records.push(decode(state, record)))
    apply(state, records)
    state.offset = Math.max(span.from, end)
  } catch (error) {
    // Its connections may be broken: the next call opens new ones.
    const broken = state.fetcher
    state.fetcher = null
    await broken?.close()
    throw error
  }
}

async function follow(state: ReaderState): Promise<void> {
  const { topic } = state
  let offset = state.offset ?? (await boundsOf(state)).start
  const fetcher = await openFetcher(state)
  while (state.closed === null) {
    const [fetched] = await fetcher.fetch([{ topic, partition: 0, offset }], limits)
    assert(fetched !== undefined, `no answer for ${topic}`)
    apply(
      state,
      Array.from(fetched.records, (record) => decode(state, record)),
    )
    offset = fetched.next
  }
}

async function openFetcher(state: ReaderState): Promise<Fetcher> {
  state.fetcher ??= await state.broker.fetcher()
  return state.fetcher
}

async function boundsOf({ broker, topic }: ReaderState): Promise<{ start: number; end: number }> {
  const [bounds] = await broker.bounds([{ topic, partition: 0 }])
  assert(bounds !== undefined, `no bounds for ${topic}`)
  return bounds
}

function apply(state: ReaderState, records: readonly RegistryRecord[]): void {
  if (records.length === 0) return
  state.registry = foldRegistry(state.registry, records)
  state.changed(state.registry)
}

function decode({ codec, topic }: ReaderState, record: LogRecord): RegistryRecord {
  if (record.value === null) throw unreadable(topic, record.offset, 'it has no value')
  try {
    return codec.decode(record.value)
  } catch (cause) {
    throw unreadable(topic, record.offset, cause instanceof Error ? cause.message : String(cause), cause)
  }
}

function unreadable(topic: string, offset: number, reason: string, cause?: unknown): PipelineError {
  return new PipelineError(
    'record_unreadable',
    `The registry record at ${topic} partition 0 offset ${offset} is no model version, alias change or note: ${reason}.`,
    { cause, details: { topic, offset } },
  )
}
