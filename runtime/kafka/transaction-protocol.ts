/**
 * The two ways of running a transaction: every broker knows the classic one; where the cluster has `transaction.version` 2 (KIP-890, Kafka
 * 4.0), partitions and offsets are added to the transaction by being written, and its end gives the producer a new epoch: two round trips
 * less, and what is still on its way from an earlier transaction is refused. Asked by the transactor when it is opened.
 */
import { createByteReader } from './byte-reader.ts'
import { createByteWriter } from './byte-writer.ts'
import type { Connections } from './connections.ts'
import { type Api, apis, type KafkaRequest, newerApis } from './request.ts'

export interface TransactionProtocol {
  /** Partitions and offsets are added by being written; they need no requests of their own. */
  readonly isImplicit: boolean
  readonly produce: Api
  readonly txnOffsetCommit: Api
  readonly endTxn: Api
}

export const classicTransactions: TransactionProtocol = {
  isImplicit: false,
  produce: apis.produce,
  txnOffsetCommit: apis.txnOffsetCommit,
  endTxn: apis.endTxn,
}

export const implicitTransactions: TransactionProtocol = {
  isImplicit: true,
  produce: newerApis.implicitProduce,
  txnOffsetCommit: newerApis.implicitTxnOffsetCommit,
  endTxn: newerApis.renewingEndTxn,
}

/** Of the feature `transaction.version`. */
const implicitVersion = 2

/** What the cluster has settled on. Brokers go by the versions of the requests, so it holds on while the cluster is changed. */
export async function transactionProtocol(connections: Connections, nodeId: number): Promise<TransactionProtocol> {
  const features = await connections.sendIfSupported(nodeId, featuresRequest())
  const version = features?.get('transaction.version') ?? 0
  return version >= implicitVersion ? implicitTransactions : classicTransactions
}

/** The features that the cluster has settled on, with their versions; empty where the broker does not say. */
function featuresRequest(): KafkaRequest<ReadonlyMap<string, number>> {
  const writer = createByteWriter()
  writer.noTags()
  writer.compactString('millrace')
  writer.compactString('1')
  writer.noTags()
  return { api: newerApis.apiVersions, bytes: writer.bytes(), parkedMs: 0, decode: readFeatures }
}

const finalizedFeatures = 2

/** Unlike other flexible responses, its header has no tags, so that clients can read it before they know any version. */
function readFeatures(body: Buffer): { throttleMs: number; answer: ReadonlyMap<string, number> } {
  const reader = createByteReader(body)
  reader.int16() // an error has neither versions nor features
  reader.compactArray(() => {
    for (let times = 0; times < 3; times++) reader.int16() // API, its least and greatest version
    reader.skipTags()
  })
  const throttleMs = reader.int32()
  const features = reader.tagged(finalizedFeatures, () =>
    reader.compactArray((): [string, number] => {
      const name = reader.compactString() ?? ''
      const greatest = reader.int16()
      reader.int16() // least
      reader.skipTags()
      return [name, greatest]
    }),
  )
  return { throttleMs, answer: new Map(features) }
}
