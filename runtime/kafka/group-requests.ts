/** Requests to the group coordinator: join, sync, heartbeat, leave, committing and fetching offsets, and describing a group. */
import assert from 'node:assert/strict'
import type { CommittedOffset, Membership, OffsetToCommit, TopicPartition } from '../broker.ts'
import { type KafkaError, kafkaError } from './error-codes.ts'
import { apis, groupByTopic, type KafkaRequest, request } from './request.ts'

/** The sender: `instanceId` is its static name, `memberId` is assigned by the coordinator, '' before that. */
export interface GroupMember {
  readonly group: string
  readonly instanceId: string
  readonly memberId: string
}

export interface Synced {
  readonly error: KafkaError
  readonly assignment: Buffer
}

export interface Joined {
  readonly error: KafkaError
  readonly generation: number
  readonly leaderId: string
  readonly memberId: string
  /** All members; sent to the leader only. */
  readonly members: ReadonlyArray<{ memberId: string; instanceId: string | null; subscription: Buffer }>
}

/** Answered when every member has joined, at the latest after `rebalanceTimeoutMs`. */
export function joinGroupRequest(
  member: GroupMember,
  timeouts: { readonly sessionTimeoutMs: number; readonly rebalanceTimeoutMs: number },
  protocol: { readonly name: string; readonly subscription: Buffer },
): KafkaRequest<Joined> {
  return request(
    apis.joinGroup,
    (writer) => {
      writer.string(member.group)
      writer.int32(timeouts.sessionTimeoutMs)
      writer.int32(timeouts.rebalanceTimeoutMs)
      writer.string(member.memberId)
      writer.string(member.instanceId)
      writer.string('consumer')
      writer.array([protocol], ({ name, subscription }) => {
        writer.string(name)
        writer.byteString(subscription)
      })
    },
    (reader) => {
      const error = kafkaError(reader.int16())
      const generation = reader.int32()
      reader.string() // chosen protocol: there is only one
      const leaderId = reader.string() ?? ''
      const memberId = reader.string() ?? ''
      const members = reader.array(() => ({
        memberId: reader.text(),
        instanceId: reader.string(),
        subscription: reader.byteString() ?? Buffer.alloc(0),
      }))
      return { error, generation, leaderId, memberId, members }
    },
    timeouts.rebalanceTimeoutMs,
  )
}

/** The leader sends the assignment of all members, the others an empty list; each gets its own in the answer. */
export function syncGroupRequest(
  member: GroupMember,
  generation: number,
  assignments: ReadonlyArray<{ readonly memberId: string; readonly assignment: Buffer }>,
  rebalanceTimeoutMs: number,
): KafkaRequest<Synced> {
  return request(
    apis.syncGroup,
    (writer) => {
      writer.string(member.group)
      writer.int32(generation)
      writer.string(member.memberId)
      writer.string(member.instanceId)
      writer.array(assignments, ({ memberId, assignment }) => {
        writer.string(memberId)
        writer.byteString(assignment)
      })
    },
    (reader) => ({ error: kafkaError(reader.int16()), assignment: reader.byteString() ?? Buffer.alloc(0) }),
    rebalanceTimeoutMs,
  )
}

export function heartbeatRequest(member: GroupMember, generation: number): KafkaRequest<KafkaError> {
  return request(
    apis.heartbeat,
    (writer) => {
      writer.string(member.group)
      writer.int32(generation)
      writer.string(member.memberId)
      writer.string(member.instanceId)
    },
    (reader) => kafkaError(reader.int16()),
  )
}

/** A member id of '' means the current member of that name. The answer is the error of the leaving member. */
export function leaveGroupRequest({ group, instanceId, memberId }: GroupMember): KafkaRequest<KafkaError> {
  return request(
    apis.leaveGroup,
    (writer) => {
      writer.string(group)
      writer.array([memberId], (id) => {
        writer.string(id)
        writer.string(instanceId)
      })
    },
    (reader) => {
      const error = kafkaError(reader.int16())
      const [ofMember] = reader.array(() => {
        reader.string() // member id
        reader.string() // name
        return kafkaError(reader.int16())
      })
      return error === 'NONE' ? (ofMember ?? 'NONE') : error
    },
  )
}

/** Outside a transaction; rejected where the generation or the member id is not the group's current one. */
export function offsetCommitRequest(
  { group, instanceId }: Omit<GroupMember, 'memberId'>,
  { generation, memberId }: Membership,
  offsets: readonly OffsetToCommit[],
): KafkaRequest<KafkaError> {
  return request(
    apis.offsetCommit,
    (writer) => {
      writer.string(group)
      writer.int32(generation)
      writer.string(memberId)
      writer.string(instanceId)
      writer.array(groupByTopic(offsets), ([topic, list]) => {
        writer.string(topic)
        writer.array(list, ({ partition, offset, metadata }) => {
          writer.int32(partition)
          writer.int64(offset)
          writer.int32(-1) // leader epoch: unknown
          writer.string(metadata)
        })
      })
    },
    (reader) => {
      const errors: KafkaError[] = []
      reader.array(() => {
        reader.string()
        reader.array(() => {
          reader.int32()
          errors.push(kafkaError(reader.int16()))
        })
      })
      return errors.find((error) => error !== 'NONE') ?? 'NONE'
    },
  )
}

export interface OffsetsFound {
  readonly error: KafkaError
  readonly offsets: ReadonlyArray<CommittedOffset & { readonly error: KafkaError }>
}

/**
 * Committed offsets. `isStable`: only those that no open transaction may still change; for the
 * others the error is UNSTABLE_OFFSET_COMMIT.
 */
export function offsetFetchRequest(
  group: string,
  partitions: readonly TopicPartition[],
  isStable: boolean,
): KafkaRequest<OffsetsFound> {
  return request(
    apis.offsetFetch,
    (writer) => {
      writer.compactString(group)
      writer.compactArray(groupByTopic(partitions), ([topic, list]) => {
        writer.compactString(topic)
        writer.compactArray(list, ({ partition }) => writer.int32(partition))
        writer.noTags()
      })
      writer.int8(isStable ? 1 : 0)
      writer.noTags()
    },
    (reader) => {
      const offsets: Array<CommittedOffset & { error: KafkaError }> = []
      reader.compactArray(() => {
        const topic = reader.compactString() ?? ''
        reader.compactArray(() => {
          const partition = reader.int32()
          const offset = reader.int64()
          reader.int32() // leader epoch
          const metadata = reader.compactString() ?? ''
          const error = kafkaError(reader.int16())
          reader.skipTags()
          offsets.push({ topic, partition, offset: offset < 0 ? null : offset, metadata, error })
        })
        reader.skipTags()
      })
      return { error: kafkaError(reader.int16()), offsets }
    },
  )
}

export interface DescribedGroup {
  readonly error: KafkaError
  /** As Kafka names it, such as Stable; Dead where it does not exist. */
  readonly state: string
  readonly members: ReadonlyArray<{
    readonly memberId: string
    readonly instanceId: string | null
    readonly host: string
    /** Empty during a rebalance. */
    readonly assignment: Buffer
  }>
}

export function describeGroupRequest(group: string): KafkaRequest<DescribedGroup> {
  return request(
    apis.describeGroups,
    (writer) => {
      writer.array([group], (name) => writer.string(name))
      writer.int8(0) // without authorized operations
    },
    (reader) => {
      const [described] = reader.array(() => {
        const error = kafkaError(reader.int16())
        reader.string() // group
        const state = reader.text()
        reader.string() // kind of protocol
        reader.string() // chosen protocol
        const members = reader.array(() => {
          const memberId = reader.text()
          const instanceId = reader.string()
          reader.string() // client id
          const host = reader.text()
          reader.byteString() // subscription
          return { memberId, instanceId, host, assignment: reader.byteString() ?? Buffer.alloc(0) }
        })
        reader.int32() // authorized operations
        return { error, state, members }
      })
      assert(described !== undefined, 'Kafka describes the group that it was asked for')
      return described
    },
  )
}
