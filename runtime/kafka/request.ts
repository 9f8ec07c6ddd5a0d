/**
 * What a Kafka request of ours is: the fixed version, the encoded body and the reader of its answer; sent by
 * `connections.ts`.
 */
import { type ByteReader, createByteReader } from './byte-reader.ts'
import { type ByteWriter, createByteWriter } from './byte-writer.ts'

export interface KafkaRequest<T> {
  readonly api: Api
  readonly bytes: Buffer
  /**
   * Longest that the broker may take on purpose (a parked fetch, a join), ms; waiting for the answer takes this into
   * account.
   */
  readonly parkedMs: number
  readonly decode: (body: Buffer) => Answer<T>
}

export interface Answer<T> {
  readonly throttleMs: number
  readonly answer: T
}

/** One API in the one version that is used. All of them exist from Kafka 2.5 on and still in 4.x. */
export interface Api {
  readonly key: number
  readonly version: number
  readonly name: string
  /** Flexible versions have a tag section in the headers of request and response. */
  readonly flexible: boolean
}

export const apis = {
  produce: { key: 0, version: 7, name: 'Produce', flexible: false },
  fetch: { key: 1, version: 11, name: 'Fetch', flexible: false },
  listOffsets: { key: 2, version: 3, name: 'ListOffsets', flexible: false },
  metadata: { key: 3, version: 8, name: 'Metadata', flexible: false },
  offsetCommit: { key: 8, version: 7, name: 'OffsetCommit', flexible: false },
  offsetFetch: { key: 9, version: 7, name: 'OffsetFetch', flexible: true },
  findCoordinator: { key: 10, version: 2, name: 'FindCoordinator', flexible: false },
  joinGroup: { key: 11, version: 5, name: 'JoinGroup', flexible: false },
  heartbeat: { key: 12, version: 3, name: 'Heartbeat', flexible: false },
  leaveGroup: { key: 13, version: 3, name: 'LeaveGroup', flexible: false },
  syncGroup: { key: 14, version: 3, name: 'SyncGroup', flexible: false },
  describeGroups: { key: 15, version: 4, name: 'DescribeGroups', flexible: false },
  createTopics: { key: 19, version: 4, name: 'CreateTopics', flexible: false },
  initProducerId: { key: 22, version: 1, name: 'InitProducerId', flexible: false },
  addPartitionsToTxn: { key: 24, version: 1, name: 'AddPartitionsToTxn', flexible: false },
  addOffsetsToTxn: { key: 25, version: 1, name: 'AddOffsetsToTxn', flexible: false },
  endTxn: { key: 26, version: 1, name: 'EndTxn', flexible: false },
  txnOffsetCommit: { key: 28, version: 3, name: 'TxnOffsetCommit', flexible: true },
  describeConfigs: { key: 32, version: 2, name: 'DescribeConfigs', flexible: false },
  createPartitions: { key: 37, version: 1, name: 'CreatePartitions', flexible: false },
  incrementalAlterConfigs: { key: 44, version: 0, name: 'IncrementalAlterConfigs', flexible: false },
} as const satisfies Record<string, Api>

/** Newer ones, which brokers may lack: sent with `Connections.sendIfSupported`, or once the cluster has said that it has them. */
export const newerApis = {
  apiVersions: { key: 18, version: 3, name: 'ApiVersions', flexible: true },
  implicitProduce: { key: 0, version: 12, name: 'Produce', flexible: true },
  implicitTxnOffsetCommit: { key: 28, version: 5, name: 'TxnOffsetCommit', flexible: true },
  renewingEndTxn: { key: 26, version: 5, name: 'EndTxn', flexible: true },
  listTransactions: { key: 66, version: 0, name: 'ListTransactions', flexible: true },
} as const satisfies Record<string, Api>

/** Makes a request whose response begins with the throttle time, as nearly all do. */
export function request<T>(
  api: Api,
  write: (writer: ByteWriter) => void,
  read: (reader: ByteReader) => T,
  parkedMs = 0,
): KafkaRequest<T> {
  const writer = createByteWriter()
  if (api.flexible) writer.noTags()
  write(writer)
  return {
    api,
    bytes: writer.bytes(),
    parkedMs,
    decode(body) {
      const reader = createByteReader(body)
      if (api.flexible) reader.skipTags()
      const throttleMs = reader.int32()
      return { throttleMs, answer: read(reader) }
    },
  }
}

/** Topics with their partitions, as most requests list them. */
export function groupByTopic<T extends { readonly topic: string }>(items: readonly T[]): Array<[string, T[]]> {
  const grouped = new Map<string, T[]>()
  for (const item of items) {
    const list = grouped.get(item.topic)
    if (list === undefined) grouped.set(item.topic, [item])
    else list.push(item)
  }
  return [...grouped]
}
