/**
 * An in-memory log that satisfies the parts of the broker contract which online-model uses; only for these unit tests.
 */
import type { BrokerData, LogRecord, OutRecord } from '../../runtime/broker.ts'
import { recordsOf } from '../../runtime/records.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { RecordCodec } from '../../schemas/wire/codec.ts'

export interface LogFake {
  readonly broker: BrokerData
  append(topic: string, partition: number, value: Buffer | null, appendedAtMs?: number): void
  /** Runs before every send, so that a test can slip records in between. */
  beforeSend: (() => void) | null
  /** Every fetch rejects with it. */
  failure: unknown
  open(): number
  fetches(): number
}

/** Three records of a partition at most come with a fetch by default, so that every reader has to page. */
export function createLogFake(topics: Record<string, number>, recordsMax = 3): LogFake {
  const logs = new Map<string, LogRecord[]>()
  for (const [topic, partitions] of Object.entries(topics)) {
    for (let partition = 0; partition < partitions; partition++) logs.set(`${topic}/${partition}`, [])
  }
  let open = 0
  let fetches = 0
  const logOf = (topic: string, partition: number): LogRecord[] => {
    const log = logs.get(`${topic}/${partition}`)
    if (log === undefined) throw new PipelineError('topic_missing', `Topic ${topic} does not exist.`)
    return log
  }
  const append: LogFake['append'] = (topic, partition, value, appendedAtMs = 0) => {
    const log = logOf(topic, partition)
    log.push({ offset: log.length, appendedAtMs, key: null, value, headers: {} })
  }
  const closing = async (): Promise<void> => {
    open--
  }
  const fake: LogFake = {
    append,
    beforeSend: null,
    failure: null,
    open: () => open,
    fetches: () => fetches,
    broker: {
      partitionCounts: async (names) => new Map(names.map((name) => [name, topics[name] ?? null])),
      bounds: async (partitions) =>
        partitions.map(({ topic, partition }) => ({ topic, partition, start: 0, end: logOf(topic, partition).length })),
      offsetsAt: async (partitions, timeMs) =>
        partitions.map(({ topic, partition }) => {
          const log = logOf(topic, partition)
          const at = log.findIndex((record) => record.appendedAtMs >= timeMs)
          return { topic, partition, offset: at === -1 ? log.length : at }
        }),
      fetcher: async () => {
        open++
        return {
          fetch: async (from) => {
            fetches++
            await new Promise((resolve) => setImmediate(resolve))
            if (fake.failure !== null) throw fake.failure
            return from.map(({ topic, partition, offset }) => {
              const log = logOf(topic, partition)
              const records = log.slice(offset, offset + recordsMax)
              return {
                topic,
                partition,
                from: offset,
                records: recordsOf(records),
                next: offset + records.length,
                stableEnd: log.length,
                end: log.length,
                age: 0,
              }
            })
          },
          close: closing,
        }
      },
      producer: async () => {
        open++
        return {
          send: async (records: readonly OutRecord[]) => {
            fake.beforeSend?.()
            for (const { topic, partition, value } of records) append(topic, partition, value)
          },
          close: closing,
        }
      },
    },
  }
  return fake
}

/** Plain JSON: good for records without NaN. */
export function jsonCodec<T>(): RecordCodec<T> {
  return {
    schemas: new Map(),
    encode: (record) => Buffer.from(JSON.stringify(record)),
    decode: (bytes) => {
      try {
        return JSON.parse(bytes.toString()) as T
      } catch (cause) {
        throw new PipelineError('record_unreadable', 'not JSON', { cause })
      }
    },
  }
}
