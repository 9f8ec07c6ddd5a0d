/**
 * The state that all parts of one memory broker share: topics, transactions, groups and who waits for them. Time takes effect in `settle`,
 * which every call runs first. What is held is bounded: a write that needs room removes the oldest records (`retention.ts`).
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { TopicPartition } from '../broker.ts'
import type { Clock } from '../clock.ts'
import { isFramed, type Outgoing, unframed } from '../framed-records.ts'
import { createGroup, type Group } from './group.ts'
import type { HeldBytes } from './partition-log.ts'
import { removeOldest } from './retention.ts'
import { createTopics, type Topics } from './topics.ts'
import { createTransactions, type Transaction, type Transactions } from './transactions.ts'
import { createWaiting, type Waiting } from './waiting.ts'

export interface Closable {
  close(): Promise<void>
}

export interface Cluster {
  readonly clock: Clock
  /** What all topics take together at most, bytes. */
  readonly bytesMax: number
  readonly held: HeldBytes
  readonly topics: Topics
  readonly transactions: Transactions
  readonly waiting: Waiting
  readonly groups: Map<string, Group>
  /** Groups by the topics that their members consume. */
  readonly consumers: Map<string, Set<string>>
  /** Fetchers, producers and workers that are open. */
  readonly openParts: Set<Closable>
}

/** Making room walks over all partitions, so each time this share of the maximum becomes free. */
const freedShare = 1 / 32
const noHeaders: Readonly<Record<string, Buffer>> = Object.freeze({})

export function createCluster(clock: Clock, bytesMax: number): Cluster {
  const held: HeldBytes = { bytes: 0 }
  return {
    clock,
    bytesMax,
    held,
    topics: createTopics(held),
    transactions: createTransactions(() => clock.elapsedMs()),
    waiting: createWaiting(clock),
    groups: new Map(),
    consumers: new Map(),
    openParts: new Set(),
  }
}

/** Applies what is due by now: transactions and sessions that time out, rebalances whose members have all joined. */
export function settle({ clock, transactions, groups, waiting }: Cluster): void {
  let hasChanged = transactions.expire(clock.elapsedMs())
  for (const group of groups.values()) hasChanged = group.settle() || hasChanged
  if (hasChanged) waiting.changed()
}

/** When `settle` next has something to do, by `elapsedMs` of the clock. */
export function nextExpiryMs({ transactions, groups }: Cluster): number {
  let next = transactions.nextExpiryMs()
  for (const group of groups.values()) next = Math.min(next, group.nextExpiryMs())
  return next
}

/** Appends all records, or none where a topic is missing or there is no room. */
export function writeRecords(cluster: Cluster, outgoing: readonly Outgoing[], transaction: Transaction | null): void {
  const { topics, held, bytesMax, clock } = cluster
  const records = outgoing.flatMap((one) => (isFramed(one) ? unframed(one) : one))
  const logs = records.map((record) => topics.log(record))
  const added = records.reduce((sum, { key, value }) => sum + (key?.length ?? 0) + (value?.length ?? 0), 0)
  if (held.bytes + added > bytesMax) makeRoom(cluster, added)
  const appendedAtMs = clock.nowMs()
  records.forEach(({ key, value, headers = noHeaders }, at) => {
    logs[at]!.append({ appendedAtMs, key, value, headers }, transaction)
    transaction?.partitions.add(logs[at]!)
  })
}

function makeRoom(cluster: Cluster, added: number): void {
  const { topics, held, bytesMax } = cluster
  removeOldest(topics.logs(), held, bytesMax * (1 - freedShare) - added, (at) => consumedTo(cluster, at))
  if (held.bytes + added <= bytesMax) return
  throw new PipelineError(
    'kafka_request_failed',
    `The broker in memory holds ${held.bytes} bytes that are still needed and takes at most ${bytesMax}: ` +
      'use a real Kafka for more',
    { details: { bytes: held.bytes, added, bytesMax } },
  )
}

/** The offset below which no group needs the partition. A group that has committed nothing yet needs everything. */
function consumedTo({ consumers, transactions }: Cluster, topicPartition: TopicPartition): number {
  const offsets = [...(consumers.get(topicPartition.topic) ?? [])].map(
    (group) => transactions.committed(group, topicPartition).offset ?? 0,
  )
  return Math.min(Number.POSITIVE_INFINITY, ...offsets)
}

/** The group of this name; an empty one where there was none. */
export function groupOf({ groups, clock }: Cluster, name: string): Group {
  const group = groups.get(name) ?? createGroup(() => clock.elapsedMs())
  groups.set(name, group)
  return group
}
