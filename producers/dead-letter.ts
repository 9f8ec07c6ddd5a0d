/** An event that came over HTTP and is none in, its dead letter out: the one place of the intake that spells a rejection. */
import type { OutRecord } from '../runtime/broker.ts'
import type { Plan, Problem, Rejection, StreamPlan } from '../schemas/plan.ts'

export interface RefusedEvent {
  /** As they came. */
  readonly bytes: Buffer
  readonly problems: readonly Problem[]
  /** Ms since 1970. */
  readonly receivedAtMs: number
}

/** Of longer ones a dead letter holds the beginning, since a record of Kafka has a limit too. */
export const letterBytesMax = 524_288

/** Over HTTP an event has no place in its topic yet: partition and offset are −1. */
export function deadLetter(
  { topic, codec }: Plan['rejected'],
  stream: StreamPlan,
  { bytes, problems, receivedAtMs }: RefusedEvent,
  partition: number,
): OutRecord {
  const rejection: Rejection = {
    stage: 'http',
    topic: stream.topic,
    partition: -1,
    offset: -1,
    appendedAtMs: receivedAtMs,
    key: null,
    value: bytes.subarray(0, letterBytesMax),
    problems,
  }
  return { topic, partition, key: null, value: codec.encode(rejection) }
}
