/**
 * A rejected record in, its dead letter out: cut so that the rejected topic always takes it, and complete enough to be requeued to the
 * raw topic after repair. Called by the batch loop and everything else that rejects events; only this file names the headers of a requeued
 * event.
 */
import type { Problem } from '../kernel/event.ts'
import type { DeadLetter } from './records.ts'

/** Stage that had rejected a requeued event: the stages before it have folded it already, and send it on again. */
export const rejectedByHeader = 'millrace-rejected-by'
/** How often the event was requeued. */
export const attemptHeader = 'millrace-attempt'

/** Bytes of a value that a dead letter keeps: more than a broker with default limits accepts in one record. */
const deadLetterValueBytesMax = 1_048_576
const keyBytesMax = 65_536
/** Names and values; headers that do not fit any more are left out. */
const headersBytesMax = 65_536
const problemsMax = 100
const textLengthMax = 500
/** No dead letter is larger, with its own key: the rejected topic must take records of this size. */
export const deadLetterBytesMax = 2_097_152

const attemptsMax = 1_000_000

/** A rejected record with all its problems. Partition and offset are −1 where it was never in Kafka. */
export interface RejectedRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly appendedAtMs: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  readonly headers: Readonly<Record<string, Buffer>>
  readonly problems: readonly Problem[]
}

/** `stage`: that rejected it. */
export function deadLetterOf(stage: string, rejected: RejectedRecord): DeadLetter {
  const { key, value, headers, problems, ...location } = rejected
  return {
    stage,
    ...location,
    key: key?.subarray(0, keyBytesMax) ?? null,
    keyBytes: key?.length ?? null,
    value: value?.subarray(0, deadLetterValueBytesMax) ?? null,
    valueBytes: value?.length ?? null,
    headers: fittingHeaders(headers),
    attempt: attemptOf(headers),
    problems: problems.slice(0, problemsMax).map(({ path, code, expected, received }) => {
      return { path: shortened(path), code, expected: shortened(expected), received: shortened(received) }
    }),
  }
}

/** The dead letter holds only a part of the value. Those of the first version lack its length. */
export function isValueCut({ value, valueBytes }: Pick<DeadLetter, 'value' | 'valueBytes'>): boolean {
  return value !== null && valueBytes !== null && value.length < valueBytes
}

/** The headers with which the event of a dead letter is requeued to its raw topic. */
export function replayHeaders({ stage, headers, attempt }: DeadLetter): Record<string, Buffer> {
  return { ...headers, [rejectedByHeader]: Buffer.from(stage), [attemptHeader]: Buffer.from(String(attempt + 1)) }
}

/** 0 for an event that was not requeued; any producer can set headers. */
export function attemptOf(headers: Readonly<Record<string, Buffer>>): number {
  const attempt = Number(headers[attemptHeader]?.subarray(0, 16).toString())
  return Number.isInteger(attempt) && attempt > 0 ? Math.min(attempt, attemptsMax) : 0
}

function fittingHeaders(headers: Readonly<Record<string, Buffer>>): Record<string, Buffer> {
  let bytes = 0
  return Object.fromEntries(
    Object.entries(headers).filter(([name, value]) => {
      const size = Buffer.byteLength(name) + value.length
      if (bytes + size > headersBytesMax) return false
      bytes += size
      return true
    }),
  )
}

function shortened(text: string): string {
  return text.length <= textLengthMax ? text : `${text.slice(0, textLengthMax)}…`.toWellFormed()
}
