/**
 * The dead letters of a pipeline that a filter lets through, one after the other, from the start of the rejected topic to where it ended
 * when reading began; called by `millrace rejected`. One partition at a time, so that no more than one fetch is in memory.
 */
import type { BrokerData, Fetcher, LogRecord } from '../../runtime/broker.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { DeadLetter } from '../../schemas/wire/records.ts'
import { requireTopics } from '../topics/requirements.ts'

/** Location of a dead letter in the rejected topic. */
export interface DeadLetterLocation {
  readonly partition: number
  readonly offset: number
}

export interface LocatedDeadLetter extends DeadLetterLocation {
  readonly appendedAtMs: number
  readonly deadLetter: DeadLetter
}

export interface DeadLetterFilter {
  /** Code of any problem. */
  readonly code?: string
  /** Name of the stream. */
  readonly stream?: string
  readonly stage?: string
  /** Append time of the dead letter, ms; `until` is beyond the last. */
  readonly since?: number
  readonly until?: number
}

const limits = { maxWaitMs: 250, partitionBytesMax: 1_048_576 }

export async function* readDeadLetters(
  broker: BrokerData,
  plan: Plan,
  filter: DeadLetterFilter,
): AsyncGenerator<LocatedDeadLetter> {
  const passes = compileFilter(plan, filter)
  const { topic } = plan.rejected
  const partitions = (await requireTopics(broker, [topic]))(topic)
  const bounds = await broker.bounds(Array.from({ length: partitions }, (_, partition) => ({ topic, partition })))
  const fetcher = await broker.fetcher()
  try {
    for (const { partition, start, end } of bounds) {
      for await (const record of recordsOf(fetcher, topic, partition, start, end)) {
        const located = locatedDeadLetter(plan, partition, record)
        if (passes(located)) yield located
      }
    }
  } finally {
    await fetcher.close()
  }
}

/** Rejects with `usage` where no record is there. */
export async function readDeadLetter(
  broker: BrokerData,
  plan: Plan,
  location: DeadLetterLocation,
): Promise<LocatedDeadLetter> {
  const record = await recordAt(broker, plan.rejected.topic, location)
  if (record !== null) return locatedDeadLetter(plan, location.partition, record)
  throw new PipelineError(
    'usage',
    `There is no dead letter at ${shownLocation(location)} in ${plan.rejected.topic}; millrace rejected list shows the locations.`,
  )
}

/** The record at this location; null where there is none, or none any more. */
export async function recordAt(
  broker: BrokerData,
  topic: string,
  location: DeadLetterLocation,
): Promise<LogRecord | null> {
  const partitions = (await broker.partitionCounts([topic])).get(topic) ?? 0
  const { partition, offset } = location
  if (partition < 0 || partition >= partitions) return null
  const [bound] = await broker.bounds([{ topic, partition }])
  if (!bound || offset < bound.start || offset >= bound.end) return null
  const fetcher = await broker.fetcher()
  try {
    for await (const record of recordsOf(fetcher, topic, partition, offset, offset + 1)) {
      return record.offset === offset ? record : null
    }
    return null
  } finally {
    await fetcher.close()
  }
}

export function shownLocation({ partition, offset }: DeadLetterLocation): string {
  return `${partition}:${offset}`
}

async function* recordsOf(fetcher: Fetcher, topic: string, partition: number, from: number, end: number) {
  for (let offset = from; offset < end; ) {
    const [fetched] = await fetcher.fetch([{ topic, partition, offset }], limits)
    for (const record of fetched!.records) if (record.offset < end) yield record
    offset = fetched!.next
  }
}

function locatedDeadLetter(
  plan: Plan,
  partition: number,
  { offset, appendedAtMs, value }: LogRecord,
): LocatedDeadLetter {
  return { partition, offset, appendedAtMs, deadLetter: plan.rejected.codec.decode(value ?? Buffer.alloc(0)) }
}

function compileFilter(plan: Plan, { code, stream, stage, since, until }: DeadLetterFilter) {
  const found = plan.streams.find(({ name }) => name === stream)
  if (stream !== undefined && !found) {
    const names = plan.streams.map(({ name }) => name).join(', ')
    throw new PipelineError('usage', `${plan.name} has no stream ${stream}: type one of ${names}.`)
  }
  return ({ appendedAtMs, deadLetter }: LocatedDeadLetter): boolean =>
    (code === undefined || deadLetter.problems.some((problem) => problem.code === code)) &&
    (found === undefined || deadLetter.topic === found.topic) &&
    (stage === undefined || deadLetter.stage === stage) &&
    (since === undefined || appendedAtMs >= since) &&
    (until === undefined || appendedAtMs < until)
}
