/**
 * The broker contract: what the rest of Millrace needs of Kafka, in three parts by who uses it: the data in topics, consumer groups, and
 * administration. A function takes only the part that it needs. Two implementations, `kafka/` and `memory/`, pass the same suite
 * (`test/conformance/broker.ts`). Nothing here decodes a value, depends on a pipeline or retries without limit.
 *
 * Failures are `PipelineError`s: `kafka_unreachable`, `kafka_request_failed`, `topic_missing`, `fenced`, `rebalance`,
 * `superseded`, `transaction_aborted`, `log_truncated`.
 */

import type { Outgoing, OutRecord, TopicPartition } from './framed-records.ts'
import type { Records } from './records.ts'

export type { OutRecord, TopicPartition } from './framed-records.ts'
export type { LogRecord } from './records.ts'

export interface FetchFrom extends TopicPartition {
  /** The first offset to fetch. */
  readonly offset: number
}

export interface FetchedPartition extends TopicPartition {
  /** The offset that was requested. */
  readonly from: number
  /** Committed records only, in offset order; empty where there was nothing new. */
  readonly records: Records
  /** The next offset to fetch: past the last record, control records and aborted records. */
  readonly next: number
  /** The last stable offset when the broker answered: beyond it nothing can be read yet. */
  readonly stableEnd: number
  /** The high watermark: what is between the stable end and this belongs to open transactions. `next >= end`: there is no more. */
  readonly end: number
  /** How many calls of `fetch` before this one the answer was requested: it does not cover what was written since then. */
  readonly age: number
}

/**
 * Reads partitions without a group, at read_committed. The caller keeps the offsets. Has connections of its own, so that a waiting fetch
 * blocks nothing else. One fetch at a time.
 */
export interface Fetcher {
  /**
   * Answers as soon as any partition has something, at the latest after `maxWaitMs`. One entry per requested partition, in no
   * particular order; without a wait, an entry without records has age 0. An offset outside the log is `log_truncated`.
   */
  fetch(
    from: readonly FetchFrom[],
    limits: { maxWaitMs: number; partitionBytesMax: number },
  ): Promise<FetchedPartition[]>
  close(): Promise<void>
}

/** Writes outside transactions: idempotent, acks=all. Resolves when every record is acknowledged, in order per partition. */
export interface Producer {
  send(records: readonly OutRecord[]): Promise<void>
  close(): Promise<void>
}

/** A task: one partition number of one stage. Its inputs are that partition of every topic of the stage. */
export interface Task {
  readonly stage: string
  readonly partition: number
}

/**
 * The result of a rebalance for one member. Captured when a batch is fetched and passed back when it is committed, so that a former owner
 * is rejected.
 */
export interface Membership {
  readonly generation: number
  readonly memberId: string
  readonly tasks: readonly Task[]
}

export interface OffsetToCommit extends TopicPartition {
  /** The next offset to read. */
  readonly offset: number
  /** At most 4,096 bytes (the broker's default limit). */
  readonly metadata: string
}

/** An `offset` of null: nothing was ever committed. */
export interface CommittedOffset extends TopicPartition {
  readonly offset: number | null
  readonly metadata: string
}

export interface StageTopics {
  readonly stage: string
  /** All with the same partition count; partition p of each goes to the owner of task p. */
  readonly topics: readonly string[]
  readonly partitions: number
}

export interface WorkerOptions {
  /** Consumer group. */
  readonly group: string
  /** Stable name of this worker: static member id of the group and part of the transactional id. */
  readonly worker: string
  readonly stages: readonly StageTopics[]
  readonly sessionTimeoutMs: number
  readonly transactionTimeoutMs: number
}

/**
 * One process's membership in the group and its one transactional producer. The start order is fixed: the producer id first (which ends
 * the open transaction of a former process of this name), then the group.
 */
export interface Worker {
  /** Producer id and epoch, `id:epoch`: the fencing token that the store keeps. */
  readonly owner: string
  /**
   * Joins, or joins again after `rebalance`; `superseded` where another process has joined under this name. Waits until the group is
   * stable. Heartbeats are sent in the background from here on. After a rebalance, the transactions of workers that are no longer in the
   * group are ended, so that no consumer waits for them.
   */
  join(): Promise<Membership>
  /** False once the group rebalances or has expelled this member: finish or drop the batch, then `join` again. */
  isCurrent(membership: Membership): boolean
  /** Stable committed offsets only: waits while another member's transaction on them is open. */
  committed(partitions: readonly TopicPartition[]): Promise<CommittedOffset[]>
  /**
   * One transaction: all records and all offsets, or nothing. Resolves when it is committed; its records become readable a moment later.
   * Rejects with `topic_missing` (nothing was sent), `transaction_aborted` (nothing is visible: repeat it), `rebalance` (nothing is
   * visible: join again), `fenced` (close this worker and open a new one), `superseded` (another process has joined under this name: stop)
   * or `kafka_unreachable` (whether it was committed is unknown: open a new worker and read `committed`). Without offsets only the
   * producer's epoch fences it.
   */
  transact(records: readonly Outgoing[], offsets: readonly OffsetToCommit[], membership: Membership): Promise<void>
  /**
   * Writes outside a transaction, as `Producer.send`: what was acknowledged stays, and no fencing applies. Rejects with `topic_missing` or
   * `kafka_unreachable`.
   */
  publish(records: readonly Outgoing[]): Promise<void>
  /** Commits offsets outside a transaction; rejects with `rebalance`, `superseded` or `kafka_unreachable`. */
  commitOffsets(offsets: readonly OffsetToCommit[], membership: Membership): Promise<void>
  /**
   * Leaves the group, so that the others take over the tasks at once; called before `close` at a planned shutdown, with nothing in
   * flight. Nothing happens where another process has the name by then. Rejects with `kafka_unreachable` where there is no answer within
   * a second: the tasks are then reassigned when the session times out.
   */
  leave(): Promise<void>
  /** Stops heartbeats and closes connections. Does not leave the group: a restart under the same name gets its tasks back at once. */
  close(): Promise<void>
}

/** A member of a group, as described from outside. */
export interface GroupMember {
  /** `WorkerOptions.worker`. */
  readonly worker: string
  /** The host that it runs on, as the broker names it. */
  readonly host: string
  /** Empty during a rebalance. */
  readonly tasks: readonly Task[]
}

export interface GroupView {
  readonly state: 'empty' | 'assigning' | 'stable'
  readonly members: readonly GroupMember[]
}

export interface TopicSpec {
  readonly topic: string
  readonly partitions: number
  /** Topic settings, such as `retention.ms`. */
  readonly config: Readonly<Record<string, string>>
}

export interface TopicRights {
  readonly topic: string
  readonly rights: ReadonlyArray<'Read' | 'Write'>
}

/** Topics as logs: what is in them, reading and writing. */
export interface BrokerData {
  /** Partition count of each topic; null where it does not exist. */
  partitionCounts(topics: readonly string[]): Promise<Map<string, number | null>>
  /** Start of the log and last stable offset of each partition. */
  bounds(partitions: readonly TopicPartition[]): Promise<Array<TopicPartition & { start: number; end: number }>>
  /**
   * The first offset of each partition that was appended at or after that time, ms by the broker's clock; the last stable offset where
   * there is none.
   */
  offsetsAt(partitions: readonly TopicPartition[], timeMs: number): Promise<FetchFrom[]>
  fetcher(): Promise<Fetcher>
  producer(): Promise<Producer>
}

/** Consumer groups: as a member, or from outside. */
export interface BrokerGroups {
  /** A member of `options.group` with a transactional producer. It has not joined yet. */
  worker(options: WorkerOptions): Promise<Worker>
  /** State and members of a group, without joining or disturbing it; empty where it does not exist. */
  describe(group: string): Promise<GroupView>
  /**
   * Removes a worker that will not return: fences its producer, ends its open transaction and removes it from the group. A worker that
   * is still running joins again by itself, with a new producer. Nothing happens where the group has no worker of this name.
   */
  removeWorker(group: string, worker: string): Promise<void>
  /** As `Worker.committed`, without joining or waiting: the offsets of an open transaction do not count yet. */
  committedOffsets(group: string, partitions: readonly TopicPartition[]): Promise<CommittedOffset[]>
}

/** Administration of the cluster and its topics. */
export interface BrokerAdmin {
  clusterId(): Promise<string>
  /** Creates those that do not exist; an existing topic with another partition count is `topic_mismatch`. */
  ensureTopics(topics: readonly TopicSpec[]): Promise<void>
  /**
   * Checks before anything is changed that this user may read and write these topics. Rejects with one `kafka_refused` that names every
   * missing right. A topic that does not exist is not checked, and a broker that does not disclose rights is assumed to grant them.
   */
  requireRights(needed: readonly TopicRights[]): Promise<void>
  /** Sets these settings of the topics and no others. A topic that does not exist is `topic_missing`. */
  alterTopicSettings(changes: ReadonlyArray<Pick<TopicSpec, 'topic' | 'config'>>): Promise<void>
  /** Adds partitions until the topics have as many, and waits until each has a leader. The caller knows that they are empty. */
  addPartitions(topics: ReadonlyArray<Pick<TopicSpec, 'topic' | 'partitions'>>): Promise<void>
  /**
   * The current values of the settings `names` of each topic, the cluster's defaults included; a setting that the broker
   * does not know or does not disclose is left out. A topic that does not exist is `topic_missing`.
   */
  topicSettings(topics: readonly string[], names: readonly string[]): Promise<Map<string, ReadonlyMap<string, string>>>
}

export interface Broker {
  readonly data: BrokerData
  readonly groups: BrokerGroups
  readonly admin: BrokerAdmin
  /** Closes everything that was opened through it and is still open. */
  close(): Promise<void>
}
