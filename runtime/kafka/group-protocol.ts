/**
 * What the members of a group exchange through the coordinator, in the consumer protocol's envelope (so that
 * Kafka's own tools can read topics and partitions) with our tasks as JSON in its user part. Used by `membership.ts`.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { StageTopics, Task } from '../broker.ts'
import { type AssignableStage, assignTasks } from '../task-assignment.ts'
import { createByteReader } from './byte-reader.ts'
import { createByteWriter } from './byte-writer.ts'
import type { Joined } from './group-requests.ts'

export const protocolName = 'millrace-tasks'

/** Partitions by stage. */
type TasksByStage = Readonly<Record<string, readonly number[]>>

/** Sent by every member when it joins. */
export interface Subscription {
  readonly stages: readonly AssignableStage[]
  /** The tasks it had in `generation`. */
  readonly previous: readonly Task[]
  readonly generation: number
  /** Changes when a member wants a new assignment although no member joined or left. */
  readonly round: number
}

/** Sent by the leader to each member. */
export interface Assignment {
  readonly tasks: readonly Task[]
  /** All stages that were assigned to anybody. */
  readonly stages: readonly AssignableStage[]
}

interface Member {
  readonly memberId: string
  readonly name: string
  readonly subscription: Subscription
}

export function encodeSubscription(stages: readonly StageTopics[], subscription: Omit<Subscription, 'stages'>): Buffer {
  const topics = [...new Set(stages.flatMap((stage) => stage.topics))].sort()
  return envelope((writer) => writer.array(topics, (topic) => writer.string(topic)), {
    stages: stages.map(({ stage, partitions }) => ({ stage, partitions })),
    previous: byStage(subscription.previous),
    generation: subscription.generation,
    round: subscription.round,
  })
}

export function decodeSubscription(bytes: Buffer): Subscription {
  const { json } = open(bytes, (reader) => reader.array(() => reader.text()))
  const subscription = json as { stages: AssignableStage[]; previous: TasksByStage; generation: number; round: number }
  return { ...subscription, previous: toTasks(subscription.previous) }
}

export function encodeAssignment(stages: readonly StageTopics[], assignment: Assignment): Buffer {
  const partitionsOf = new Map<string, number[]>()
  for (const { stage, partition } of assignment.tasks) {
    for (const topic of stages.find((known) => known.stage === stage)?.topics ?? []) {
      const list = partitionsOf.get(topic)
      if (list === undefined) partitionsOf.set(topic, [partition])
      else list.push(partition)
    }
  }
  return envelope(
    (writer) =>
      writer.array([...partitionsOf], ([topic, partitions]) => {
        writer.string(topic)
        writer.array(partitions, (partition) => writer.int32(partition))
      }),
    { tasks: byStage(assignment.tasks), stages: assignment.stages },
  )
}

export function decodeAssignment(bytes: Buffer): Assignment {
  const { json } = open(bytes, (reader) =>
    reader.array(() => {
      reader.text()
      reader.array(() => reader.int32())
    }),
  )
  const assignment = json as { tasks: TasksByStage; stages: AssignableStage[] }
  return { tasks: toTasks(assignment.tasks), stages: assignment.stages }
}

/**
 * The leader's part: everybody's assignment from everybody's subscription. During a roll-out members may know
 * different stages.
 */
export function assignAll(joined: Joined['members'], stages: readonly StageTopics[]) {
  const members = joined.map(({ memberId, instanceId, subscription }): Member => {
    return { memberId, name: instanceId ?? memberId, subscription: decodeSubscription(subscription) }
  })
  const partitions = new Map<string, number>()
  for (const { stage, partitions: count } of members.flatMap(({ subscription }) => subscription.stages)) {
    partitions.set(stage, Math.max(count, partitions.get(stage) ?? 0))
  }
  const all = [...partitions].map(([stage, count]) => ({ stage, partitions: count }))
  const assigned = assignTasks(
    all,
    members.map(({ name, subscription: { previous, generation } }) => ({ name, previous, generation })),
  )
  return members.map(({ memberId, name }) => ({
    memberId,
    assignment: encodeAssignment(stages, { tasks: assigned.get(name) ?? [], stages: all }),
  }))
}

/** Version 0 of the consumer protocol's messages: version, a list that depends on the message, user bytes. */
function envelope(list: (writer: ReturnType<typeof createByteWriter>) => void, json: object): Buffer {
  const writer = createByteWriter()
  writer.int16(0)
  list(writer)
  writer.byteString(Buffer.from(JSON.stringify(json)))
  return writer.bytes()
}

function open<T>(bytes: Buffer, list: (reader: ReturnType<typeof createByteReader>) => T): { list: T; json: unknown } {
  try {
    const reader = createByteReader(bytes)
    reader.int16()
    const first = list(reader)
    return { list: first, json: JSON.parse(String(reader.byteString())) }
  } catch (cause) {
    throw new PipelineError(
      'kafka_request_failed',
      'A member of the consumer group uses another protocol than Millrace: give this pipeline a group of its own',
      { cause },
    )
  }
}

function byStage(tasks: readonly Task[]): TasksByStage {
  const partitions: Record<string, number[]> = {}
  for (const { stage, partition } of tasks) {
    partitions[stage] ??= []
    partitions[stage].push(partition)
  }
  return partitions
}

function toTasks(partitions: TasksByStage): Task[] {
  return Object.entries(partitions).flatMap(([stage, list]) => list.map((partition) => ({ stage, partition })))
}
