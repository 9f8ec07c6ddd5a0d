/**
 * The broker contract: what the rest of Millrace asks of Kafka. Two implementations, `kafka/` (real) and `broker.ts`, pass the
 * same suite (`test/conformance/broker.ts`). Nothing here decodes a value, knows a pipeline or retries for ever.
 *
 * Failures are `PipelineError`s: `kafka_unreachable`, `kafka_request_failed`, `topic_missing`, `fenced`, `rebalance`,
 * `superseded`, `transaction_aborted`, `log_truncated`.
 */

export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}

/** A record to write. `partition` is chosen by the caller (see `partition.ts`), so that keys, tasks and stores agree on it. */
export interface OutRecord extends TopicPartition {
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers?: Readonly<Record<string, Buffer>>
}

/** A record as it lies in its partition. `appendedAtMs` is the broker's clock: topics of Millrace are LogAppendTime. */
export interface LogRecord {
  readonly offset: number
  readonly appendedAtMs: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, Buffer>>
}

export interface FetchFrom extends TopicPartition {
  /** The first offset wanted. */
  readonly offset: number
}

export interface FetchedPartition extends TopicPartition {
  /** The offset that was asked for. */
  readonly from: number
  /** Committed records only, in offset order; empty where there was nothing new. */
  readonly records: readonly LogRecord[]
  /** Where to go on: past the last record and past control records and aborted records. */
  readonly next: number
  /** The last stable offset when the broker answered: beyond it nothing can be read yet. */
  readonly stableEnd: number
  /** The high watermark: between the stable end and this lies what open transactions have not decided. `next >= end`: there is no more. */
  readonly end: number
  /** How many calls of `fetch` before this one the answer was asked for: what was written since then it does not know. */
  readonly age: number
}

/**
 * Reads partitions without a group, at read_committed. Stateless: the caller keeps its offsets. Has connections of its own, so that a
 * waiting fetch blocks nobody else. One fetch at a time.
 */
export interface Fetcher {
  /**
   * Answers as soon as any partition has something, at the latest after `maxWaitMs`. One entry per partition asked for, in no
   * particular order; without a wait, one that brings nothing is of age 0. An offset outside the log is `log_truncated`.
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

/** What the group agreed on. Captured when a batch is fetched and handed back when it is committed, so that a former owner is refused. */
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
 * One process's membership in the group and its one transactional producer. Start order is fixed: the producer id first (it ends a
 * former self's open transaction), then the group.
 */
export interface Worker {
  /** Producer id and epoch: the fencing token that the store keeps, `id:epoch`. */
  readonly owner: string
  /**
   * Joins, or joins again after `rebalance`; `superseded` where another process has joined under this name. Waits until the group is
   * stable. Heartbeats run by themselves from here on. When a group has assigned anew, the transactions of workers that are no longer in
   * it are ended, so that nobody waits for them.
   */
  join(): Promise<Membership>
  /** False once the group wants to assign anew or this member was expelled: finish or drop the batch, then `join` again. */
  isCurrent(membership: Membership): boolean
  /** Stable committed offsets only: waits while another member's transaction on them is open. */
  committed(partitions: readonly TopicPartition[]): Promise<CommittedOffset[]>
  /**
   * One transaction: all records and all offsets, or nothing. Resolves when it is committed; its records become readable a moment later.
   * Rejects with `topic_missing` (nothing was sent), `transaction_aborted` (nothing is visible: do it again), `rebalance` (nothing is
   * visible: join again), `fenced` (close this worker and make a new one), `superseded` (another process has joined under this name: end)
   * or `kafka_unreachable` (whether it was committed is not known: make a new worker and read `committed`). Without offsets only the producer's epoch fences it.
   */
  transact(records: readonly OutRecord[], offsets: readonly OffsetToCommit[], membership: Membership): Promise<void>
  /**
   * Writes outside a transaction, as `Producer.send`: what was acknowledged stays, and nobody is fenced. Rejects with `topic_missing` or
   * `kafka_unreachable`.
   */
  publish(records: readonly OutRecord[]): Promise<void>
  /** Commits offsets outside a transaction; rejects with `rebalance`, `superseded` or `kafka_unreachable`. */
  commitOffsets(offsets: readonly OffsetToCommit[], membership: Membership): Promise<void>
  /**
   * Gives the place in the group up, so that the others take the tasks over at once; called before `close` at a planned end, with nothing
   * under way. Nothing happens where another process has the name by then. Rejects with `kafka_unreachable` where nobody answers within a
   * second: then the place is free when the session times out.
   */
  leave(): Promise<void>
  /** Stops heartbeats and closes connections. Does not leave the group: a restart under the same name takes its tasks up at once. */
  close(): Promise<void>
}

/** A member of a group as somebody sees it who is not in it. */
export interface GroupMember {
  /** `WorkerOptions.worker`. */
  readonly worker: string
  /** Where it runs, as the broker names the place. */
  readonly host: string
  /** Empty while the group assigns anew. */
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

export interface Broker {
  clusterId(): Promise<string>
  /** Creates those that do not exist; an existing topic with another partition count is `topic_mismatch`. */
  ensureTopics(topics: readonly TopicSpec[]): Promise<void>
  /** Partition count of each topic; null where it does not exist. */
  partitionCounts(topics: readonly string[]): Promise<Map<string, number | null>>
  /**
   * Whether this user may read and write these topics, before anything is changed. Rejects with one `kafka_refused` that names every
   * right that is missing; a topic that does not exist is not spoken of, and a broker that does not tell is taken to allow it.
   */
  requireRights(needed: readonly TopicRights[]): Promise<void>
  /**
   * The settings `names` of each topic as they hold now, the cluster's defaults included; a setting that the broker
   * does not know or does not tell is left out. A topic that does not exist is `topic_missing`.
   */
  topicSettings(topics: readonly string[], names: readonly string[]): Promise<Map<string, ReadonlyMap<string, string>>>
  /** Start of the log and last stable offset of each partition. */
  bounds(partitions: readonly TopicPartition[]): Promise<Array<TopicPartition & { start: number; end: number }>>
  /**
   * The first offset of each partition that was appended at or after that time, ms by the broker's clock; the last stable offset where
   * there is none.
   */
  offsetsAt(partitions: readonly TopicPartition[], timeMs: number): Promise<FetchFrom[]>
  /** Who is in the group; nobody where it does not exist. For those who look: joins nothing and disturbs nobody. */
  group(group: string): Promise<GroupView>
  /**
   * For a worker that does not come back: refuses its producer, ends its open transaction and takes it out of the group. One that lives
   * joins again by itself, with a new producer. Nothing happens to a group that does not know the name.
   */
  removeWorker(group: string, worker: string): Promise<void>
  /** As `Worker.committed`, but joins nothing and waits for nobody: offsets of a transaction that is open do not count yet. */
  committedOffsets(group: string, partitions: readonly TopicPartition[]): Promise<CommittedOffset[]>
  fetcher(): Promise<Fetcher>
  producer(): Promise<Producer>
  worker(options: WorkerOptions): Promise<Worker>
  /** Closes whatever was handed out and is still open. */
  close(): Promise<void>
}
