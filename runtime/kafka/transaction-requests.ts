/** Requests of a transactional producer: its id and epoch, the partitions and offsets of a transaction, and its end. */
import type { Membership, OffsetToCommit, TopicPartition } from '../broker.ts'
import { type KafkaError, kafkaError } from './error-codes.ts'
import type { GroupMember } from './group-requests.ts'
import { type Api, apis, groupByTopic, type KafkaRequest, newerApis, request } from './request.ts'

export interface ProducerIdentity {
  readonly id: number
  readonly epoch: number
}

/**
 * With a transactional id: fences its former producer and ends that one's open transaction. Null: an idempotent
 * producer's id.
 */
export function initProducerIdRequest(
  transactionalId: string | null,
  transactionTimeoutMs: number,
): KafkaRequest<ProducerIdentity & { readonly error: KafkaError }> {
  return request(
    apis.initProducerId,
    (writer) => {
      writer.string(transactionalId)
      writer.int32(transactionTimeoutMs)
    },
    (reader) => ({ error: kafkaError(reader.int16()), id: reader.int64(), epoch: reader.int16() }),
  )
}

/** The answer is the first error of any partition. */
export function addPartitionsRequest(
  transactionalId: string,
  producer: ProducerIdentity,
  partitions: readonly TopicPartition[],
): KafkaRequest<KafkaError> {
  return request(
    apis.addPartitionsToTxn,
    (writer) => {
      writer.string(transactionalId)
      writer.int64(producer.id)
      writer.int16(producer.epoch)
      writer.array(groupByTopic(partitions), ([topic, list]) => {
        writer.string(topic)
        writer.array(list, ({ partition }) => writer.int32(partition))
      })
    },
    (reader) => {
      const errors: KafkaError[] = []
      reader.array(() => {
        reader.text()
        reader.array(() => {
          reader.int32()
          errors.push(kafkaError(reader.int16()))
        })
      })
      // Where one partition is rejected, the others are "not attempted": the error of the rejected one matters.
      return firstError(errors.filter((error) => error !== 'OPERATION_NOT_ATTEMPTED')) ?? firstError(errors) ?? 'NONE'
    },
  )
}

export function addOffsetsRequest(
  transactionalId: string,
  producer: ProducerIdentity,
  group: string,
): KafkaRequest<KafkaError> {
  return request(
    apis.addOffsetsToTxn,
    (writer) => {
      writer.string(transactionalId)
      writer.int64(producer.id)
      writer.int16(producer.epoch)
      writer.string(group)
    },
    (reader) => kafkaError(reader.int16()),
  )
}

/**
 * Carries generation and member (KIP-447), so that the group coordinator rejects a former owner. The answer is the
 * first error.
 */
export function txnOffsetCommitRequest(
  api: Api,
  transactionalId: string,
  producer: ProducerIdentity,
  member: Omit<GroupMember, 'memberId'>,
  membership: Membership,
  offsets: readonly OffsetToCommit[],
): KafkaRequest<KafkaError> {
  return request(
    api,
    (writer) => {
      writer.compactString(transactionalId)
      writer.compactString(member.group)
      writer.int64(producer.id)
      writer.int16(producer.epoch)
      writer.int32(membership.generation)
      writer.compactString(membership.memberId)
      writer.compactString(member.instanceId)
      writer.compactArray(groupByTopic(offsets), ([topic, list]) => {
        writer.compactString(topic)
        writer.compactArray(list, ({ partition, offset, metadata }) => {
          writer.int32(partition)
          writer.int64(offset)
          writer.int32(-1)
          writer.compactString(metadata)
          writer.noTags()
        })
        writer.noTags()
      })
      writer.noTags()
    },
    (reader) => {
      const errors: KafkaError[] = []
      reader.compactArray(() => {
        reader.compactString()
        reader.compactArray(() => {
          reader.int32()
          errors.push(kafkaError(reader.int16()))
          reader.skipTags()
        })
        reader.skipTags()
      })
      return firstError(errors) ?? 'NONE'
    },
  )
}

export interface TransactionEnded {
  readonly error: KafkaError
  /** What the producer goes on as. */
  readonly producer: ProducerIdentity
}

export function endTransactionRequest(
  api: Api,
  transactionalId: string,
  producer: ProducerIdentity,
  commit: boolean,
): KafkaRequest<TransactionEnded> {
  return request(
    api,
    (writer) => {
      if (api.flexible) writer.compactString(transactionalId)
      else writer.string(transactionalId)
      writer.int64(producer.id)
      writer.int16(producer.epoch)
      writer.int8(commit ? 1 : 0)
      if (api.flexible) writer.noTags()
    },
    (reader) => {
      const error = kafkaError(reader.int16())
      const isRenewed = api.flexible && error === 'NONE'
      return { error, producer: isRenewed ? { id: reader.int64(), epoch: reader.int16() } : producer }
    },
  )
}

export interface TransactionsListed {
  readonly error: KafkaError
  readonly transactionalIds: readonly string[]
}

/** The transactions that a broker coordinates and that are in a state, as far as this user may see them. */
export function listTransactionsRequest(state: 'Ongoing'): KafkaRequest<TransactionsListed> {
  return request(
    newerApis.listTransactions,
    (writer) => {
      writer.compactArray([state], (name) => writer.compactString(name))
      writer.compactArray([], () => undefined) // of any producer
      writer.noTags()
    },
    (reader) => {
      const error = kafkaError(reader.int16())
      reader.compactArray(() => reader.compactString()) // states that the broker does not know
      const transactionalIds = reader.compactArray(() => {
        const id = reader.compactString() ?? ''
        reader.int64() // producer
        reader.compactString() // state
        reader.skipTags()
        return id
      })
      return { error, transactionalIds }
    },
  )
}

function firstError(errors: readonly KafkaError[]): KafkaError | undefined {
  return errors.find((error) => error !== 'NONE')
}
