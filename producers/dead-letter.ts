/** An invalid event received over HTTP in, the record of its dead letter out. Called by the HTTP intake. */
import type { OutRecord } from '../runtime/broker.ts'
import type { Problem } from '../schemas/kernel/event.ts'
import type { Plan, StreamPlan } from '../schemas/plan/plan.ts'
import { deadLetterOf } from '../schemas/wire/dead-letter.ts'

export interface RejectedEvent {
  /** As they came. */
  readonly bytes: Buffer
  readonly problems: readonly Problem[]
  /** Ms since 1970. */
  readonly receivedAtMs: number
}

/** An event received over HTTP has no offset in its topic yet: partition and offset are −1. */
export function deadLetterRecord(
  { topic, codec }: Plan['rejected'],
  stream: StreamPlan,
  { bytes, problems, receivedAtMs }: RejectedEvent,
  partition: number,
): OutRecord {
  const deadLetter = deadLetterOf('http', {
    topic: stream.topic,
    partition: -1,
    offset: -1,
    appendedAtMs: receivedAtMs,
    key: null,
    value: bytes,
    headers: {},
    problems,
  })
  return { topic, partition, key: null, value: codec.encode(deadLetter) }
}
