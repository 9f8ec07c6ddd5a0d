/** Topics and their bounds: what exists, what is created, where logs start and end; called by `broker.ts`. */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { FetchFrom, TopicPartition, TopicSpec } from '../broker.ts'
import { partitionKey } from './batching.ts'
import {
  alterTopicsRequest,
  createPartitionsRequest,
  createTopicsRequest,
  listOffsetsRequest,
  type OffsetSpec,
  type TopicOutcome,
} from './cluster-requests.ts'
import type { Connections } from './connections.ts'
import { failureCode, type KafkaError, namingRight, staleLeader } from './error-codes.ts'
import type { KafkaRequest } from './request.ts'
import { createRetryBudget } from './retry-budget.ts'
import { topicSettings } from './topic-settings.ts'

const createTimeoutMs = 15_000

/** Partition count of each topic; null where it does not exist. */
export async function partitionCounts(
  connections: Connections,
  topics: readonly string[],
): Promise<Map<string, number | null>> {
  if (topics.length === 0) return new Map()
  const { topics: found } = await connections.metadata(topics)
  const counts = new Map<string, number | null>()
  for (const { topic, error, leaders } of found) {
    if (error === 'NONE' || error === 'LEADER_NOT_AVAILABLE') counts.set(topic, leaders.length)
    else if (error === 'UNKNOWN_TOPIC_OR_PARTITION') counts.set(topic, null)
    else {
      throw new PipelineError(
        failureCode(error),
        `Kafka does not describe topic ${topic}: ${namingRight(error, 'Read')}`,
        {
          details: { topic, error },
        },
      )
    }
  }
  return counts
}

/**
 * Creates what is missing, LogAppendTime unless the settings differ, and waits until every partition has a
 * leader.
 */
export async function ensureTopics(connections: Connections, specs: readonly TopicSpec[]): Promise<void> {
  const names = specs.map(({ topic }) => topic)
  const before = await partitionCounts(connections, names)
  const missing = specs.filter(({ topic }) => before.get(topic) === null)
  if (missing.length > 0) await create(connections, missing)
  await untilLed(connections, specs)
  const counts = await partitionCounts(connections, names)
  for (const { topic, partitions } of specs) {
    const count = counts.get(topic)
    if (count === partitions) continue
    throw new PipelineError('topic_mismatch', `Topic ${topic} has ${count} partitions where ${partitions} are needed`, {
      details: { topic, partitions: count, expected: partitions },
    })
  }
}

async function create(connections: Connections, specs: readonly TopicSpec[]): Promise<void> {
  const withDefaults = specs.map((spec) => ({
    ...spec,
    config: { 'message.timestamp.type': 'LogAppendTime', ...spec.config },
  }))
  await askController(connections, withDefaults, {
    requestOf: (left) => createTopicsRequest(left, createTimeoutMs),
    // Somebody else may have created it meanwhile: its partition count is checked afterwards.
    isDone: (error) => error === 'NONE' || error === 'TOPIC_ALREADY_EXISTS',
    failureOf: (topic, error, reason) =>
      `Kafka did not create topic ${topic}: ${namingRight(error, 'Create', reason ?? error)}`,
  })
}

/** Until every topic has so many partitions. */
export async function addPartitions(
  connections: Connections,
  topics: ReadonlyArray<Pick<TopicSpec, 'topic' | 'partitions'>>,
): Promise<void> {
  if (topics.length === 0) return
  await askController(connections, topics, {
    requestOf: (left) => createPartitionsRequest(left, createTimeoutMs),
    isDone: (error) => error === 'NONE',
    failureOf: (topic, error, reason) =>
      `Kafka did not add partitions to topic ${topic}: ${namingRight(error, 'Alter', reason ?? error)}`,
  })
  await untilLed(connections, topics, new Map(topics.map(({ topic, partitions }) => [topic, partitions])))
}

export async function alterTopicSettings(
  connections: Connections,
  changes: ReadonlyArray<Pick<TopicSpec, 'topic' | 'config'>>,
): Promise<void> {
  if (changes.length === 0) return
  await askController(connections, changes, {
    requestOf: alterTopicsRequest,
    isDone: (error) => error === 'NONE',
    failureOf: (topic, error, reason) =>
      `Kafka did not change the settings of topic ${topic}: ${namingRight(error, 'AlterConfigs', reason ?? error)}`,
  })
  await untilSet(connections, changes)
}

/** Not every broker knows of a change at once, and any of them may be asked next. */
async function untilSet(
  connections: Connections,
  changes: ReadonlyArray<Pick<TopicSpec, 'topic' | 'config'>>,
): Promise<void> {
  const retryBudget = createRetryBudget(connections.retryBudgetMs, 10, 100)
  const names = changes.flatMap(({ config }) => Object.keys(config))
  const topics = changes.map(({ topic }) => topic)
  for (;;) {
    const found = await topicSettings(connections, topics, names)
    const isSet = changes.every(({ topic, config }) =>
      Object.entries(config).every(([name, value]) => found.get(topic)?.get(name) === value),
    )
    if (isSet) return
    if (await retryBudget.again()) continue
    throw new PipelineError(
      'kafka_request_failed',
      `Kafka took the settings of ${topics.join(', ')}, but does not show them`,
    )
  }
}

interface ControllerChange<T> {
  readonly requestOf: (left: readonly T[]) => KafkaRequest<TopicOutcome[]>
  readonly isDone: (error: KafkaError) => boolean
  readonly failureOf: (topic: string, error: KafkaError, reason: string | null) => string
}

/** Repeats what failed since the controller had moved or was busy. */
async function askController<T extends { readonly topic: string }>(
  connections: Connections,
  items: readonly T[],
  { requestOf, isDone, failureOf }: ControllerChange<T>,
): Promise<void> {
  const retryBudget = createRetryBudget(connections.retryBudgetMs)
  let left = items
  for (;;) {
    const { controllerId } = await connections.metadata([])
    const outcomes = await connections.send(controllerId, requestOf(left))
    const failed = outcomes.filter(({ error }) => !isDone(error))
    if (failed.length === 0) return
    const final = failed.find(({ error }) => error !== 'NOT_CONTROLLER' && error !== 'REQUEST_TIMED_OUT')
    if (final !== undefined || !(await retryBudget.again())) {
      const { topic, error, reason } = final ?? failed[0]!
      const code = error === 'UNKNOWN_TOPIC_OR_PARTITION' ? 'topic_missing' : failureCode(error)
      throw new PipelineError(code, failureOf(topic, error, reason), { details: { topic, error } })
    }
    left = left.filter(({ topic }) => failed.some((outcome) => outcome.topic === topic))
  }
}

/** A partition has no leader for a moment after its creation, and not every broker knows it at once. */
async function untilLed(
  connections: Connections,
  specs: ReadonlyArray<Pick<TopicSpec, 'topic'>>,
  partitionsMin: ReadonlyMap<string, number> = new Map(),
): Promise<void> {
  const retryBudget = createRetryBudget(connections.retryBudgetMs, 10, 100)
  for (;;) {
    const { topics } = await connections.metadata(specs.map(({ topic }) => topic))
    const waiting = topics.find(
      ({ topic, error, leaders }) =>
        error !== 'NONE' ||
        leaders.length < (partitionsMin.get(topic) ?? 0) ||
        [...leaders].some((leader) => (leader ?? -1) < 0),
    )
    if (waiting === undefined) return
    if (await retryBudget.again()) continue
    throw new PipelineError(
      'kafka_request_failed',
      `Topic ${waiting.topic} has partitions without a leader: ${waiting.error}`,
      {
        details: { topic: waiting.topic, error: waiting.error },
      },
    )
  }
}

/** Start of the log and last stable offset of each partition, in the order requested. */
export async function bounds(
  connections: Connections,
  partitions: readonly TopicPartition[],
): Promise<Array<TopicPartition & { start: number; end: number }>> {
  const starts = await offsetsOf(connections, partitions, 'start')
  const ends = await offsetsOf(connections, partitions, 'stableEnd')
  return partitions.map(({ topic, partition }) => {
    const key = partitionKey({ topic, partition })
    return { topic, partition, start: starts.get(key)!, end: ends.get(key)! }
  })
}

/** The first offset appended at that time or later, else the last stable one, in the order requested. */
export async function offsetsAt(
  connections: Connections,
  partitions: readonly TopicPartition[],
  timeMs: number,
): Promise<FetchFrom[]> {
  // Before 1970 nothing was appended, and Kafka takes negative times for other questions.
  const found = await offsetsOf(connections, partitions, Math.max(0, timeMs))
  const ends = await offsetsOf(connections, partitions, 'stableEnd')
  return partitions.map(({ topic, partition }) => {
    const key = partitionKey({ topic, partition })
    const offset = found.get(key)!
    return { topic, partition, offset: offset < 0 ? ends.get(key)! : offset }
  })
}

async function offsetsOf(
  connections: Connections,
  partitions: readonly TopicPartition[],
  which: OffsetSpec,
): Promise<Map<string, number>> {
  const retryBudget = createRetryBudget(connections.retryBudgetMs)
  const offsets = new Map<string, number>()
  let left = [...new Map(partitions.map((partition) => [partitionKey(partition), partition])).values()]
  while (left.length > 0) {
    await connections.findLeaders(left)
    const led = new Map<number, TopicPartition[]>()
    for (const partition of left) {
      const nodeId = connections.leaderOf(partition)
      if (nodeId !== undefined) led.set(nodeId, [...(led.get(nodeId) ?? []), partition])
    }
    const answers = await Promise.all(
      [...led].map(([nodeId, list]) => connections.send(nodeId, listOffsetsRequest(list, which))),
    )
    let error: KafkaError = 'LEADER_NOT_AVAILABLE'
    for (const answer of answers.flat()) {
      if (answer.error === 'NONE') offsets.set(partitionKey(answer), answer.offset)
      else error = answer.error
    }
    left = left.filter((partition) => !offsets.has(partitionKey(partition)))
    if (left.length > 0 && !(staleLeader.has(error) && (await retryBudget.again()))) {
      const { topic, partition } = left[0]!
      throw new PipelineError(
        failureCode(error),
        `Kafka does not report the bounds of ${topic}, partition ${partition}: ${error}`,
        {
          details: { topic, partition, error },
        },
      )
    }
  }
  return offsets
}
