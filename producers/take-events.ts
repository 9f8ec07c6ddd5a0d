/**
 * The events of one request in, what becomes of each and the records to send out: valid ones for their raw topic, the others as dead
 * letters. Called by the HTTP intake, which sends the records before it tells anybody.
 */
import type { OutRecord } from '../runtime/broker.ts'
import type { Problem } from '../schemas/kernel/event.ts'
import type { Plan, StreamPlan } from '../schemas/plan/plan.ts'
import { problem } from '../schemas/wire/event-codec.ts'
import { deadLetterRecord } from './dead-letter.ts'
import { createPreparation, type Prepared } from './prepare.ts'

/** A longer event is refused: in Avro it might be more than a record of Kafka may hold. */
export const eventBytesMax = 524_288

export type EventResult =
  | {
      readonly status: 'accepted'
      readonly stream: string
      /** Of the id field. */
      readonly id: string
      readonly partition: number
    }
  | { readonly status: 'rejected'; readonly problems: readonly Problem[] }

export interface TakenEvents {
  /** One an event, in their order. */
  readonly results: readonly EventResult[]
  readonly records: readonly OutRecord[]
}

export interface EventTaker {
  take(stream: StreamPlan, events: readonly Buffer[]): TakenEvents
  /** What came for this stream and cannot even be split into events. */
  refuse(stream: StreamPlan, body: Buffer, problem: Problem): TakenEvents
}

export function createEventTaker(
  { streams, rejected }: Pick<Plan, 'streams' | 'rejected'>,
  partitionsOf: (topic: string) => number,
  nowMs: () => number,
): EventTaker {
  const prepare = createPreparation(streams, partitionsOf)
  const deadLetterPartitions = partitionsOf(rejected.topic)
  let deadLetters = 0

  function judge(stream: StreamPlan, bytes: Buffer): Prepared {
    if (bytes.length <= eventBytesMax) return prepare({ stream: stream.name, bytes })
    const problems = [problem('', 'length', `an event of at most ${eventBytesMax} bytes`, `${bytes.length} bytes`)]
    return { ok: false, problems }
  }

  function letterOf(stream: StreamPlan, bytes: Buffer, problems: readonly Problem[]): OutRecord {
    return deadLetterRecord(
      rejected,
      stream,
      { bytes, problems, receivedAtMs: nowMs() },
      deadLetters++ % deadLetterPartitions,
    )
  }

  return {
    take(stream, events) {
      const results: EventResult[] = []
      const records: OutRecord[] = []
      for (const bytes of events) {
        const judged = judge(stream, bytes)
        if (judged.ok) {
          const record = judged.event.record()
          records.push(record)
          const { stream: name, id } = judged.event.sent
          results.push({ status: 'accepted', stream: name, id, partition: record.partition })
        } else {
          records.push(letterOf(stream, bytes, judged.problems))
          results.push({ status: 'rejected', problems: judged.problems })
        }
      }
      return { results, records }
    },
    refuse(stream, body, problem) {
      const problems = [problem]
      return { results: [{ status: 'rejected', problems }], records: [letterOf(stream, body, problems)] }
    },
  }
}
