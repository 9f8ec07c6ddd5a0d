/**
 * Reads spans of topic partitions: their records are passed on one at a time, up to ends captured before; called by the
 * trainer, the registry follower and the reader of schemas.
 */
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { BrokerData, FetchedPartition, Fetcher, LogRecord, TopicPartition } from './broker.ts'

export interface LogSpan extends TopicPartition {
  /** First offset to read. */
  readonly from: number
  /** Offset to stop before: the stable end when it was captured. */
  readonly end: number
}

interface ReadOptions {
  readonly isLossy?: boolean
  readonly onRemoved?: (from: TopicPartition) => void
}

const limits = { maxWaitMs: 250, partitionBytesMax: 1_048_576 }
/**
 * Half a minute of waiting fetches. What is before a stable end is always readable, so this many empty ones mean that
 * a broker is failing.
 */
const emptyFetchesMax = 120

/**
 * All partitions of topics from log start to stable end, as they are now. A topic that does not exist is
 * `topic_missing`.
 */
export async function wholeLog(
  broker: Pick<BrokerData, 'partitionCounts' | 'bounds'>,
  topics: readonly string[],
): Promise<LogSpan[]> {
  const counts = await broker.partitionCounts(topics)
  const partitions = topics.flatMap((topic) => {
    const count = counts.get(topic) ?? null
    if (count === null)
      throw new PipelineError('topic_missing', `Topic ${topic} does not exist.`, { details: { topic } })
    return Array.from({ length: count }, (_, partition) => ({ topic, partition }))
  })
  const bounds = await broker.bounds(partitions)
  return bounds.map(({ topic, partition, start, end }) => ({ topic, partition, from: start, end }))
}

/**
 * Hands every committed record of the spans to `take`, in offset order within a partition. Resolves when all ends are
 * reached. `isLossy`: what retention removes before it was read is skipped instead of rejected with `log_truncated`, and
 * `onRemoved` is called with its partition.
 */
export async function readSpans(
  fetcher: Fetcher,
  spans: readonly LogSpan[],
  take: (record: LogRecord, from: TopicPartition) => void,
  { isLossy = false, onRemoved }: ReadOptions = {},
): Promise<void> {
  const keyOf = ({ topic, partition }: TopicPartition): string => `${topic}/${partition}`
  const open = new Map(spans.filter(({ from, end }) => from < end).map((span) => [keyOf(span), span]))
  let emptyFetches = 0
  while (open.size > 0) {
    const wanted = [...open.values()].map(({ topic, partition, from }) => ({ topic, partition, offset: from }))
    let progressed = false
    let answer: readonly FetchedPartition[]
    try {
      answer = await fetcher.fetch(wanted, limits)
    } catch (error) {
      const gone = isLossy ? goneBefore(error) : null
      const span = gone && open.get(keyOf(gone))
      if (!span || gone.start <= span.from) throw error
      onRemoved?.(span)
      if (gone.start >= span.end) open.delete(keyOf(span))
      else open.set(keyOf(span), { ...span, from: gone.start })
      continue
    }
    for (const fetched of answer) {
      const span = open.get(keyOf(fetched))
      if (span === undefined) continue
      for (const record of fetched.records) if (record.offset < span.end) take(record, span)
      if (fetched.next > span.from) progressed = true
      if (fetched.next >= span.end) open.delete(keyOf(span))
      else open.set(keyOf(span), { ...span, from: fetched.next })
    }
    emptyFetches = progressed ? 0 : emptyFetches + 1
    if (emptyFetches >= emptyFetchesMax) throw stalled([...open.values()])
  }
}

/** Where a log starts whose beginning was removed; null for any other failure. */
function goneBefore(error: unknown): (TopicPartition & { readonly start: number }) | null {
  if (!(error instanceof PipelineError) || error.code !== 'log_truncated') return null
  return error.details as unknown as TopicPartition & { readonly start: number }
}

function stalled(spans: readonly LogSpan[]): PipelineError {
  const [first] = spans
  return new PipelineError(
    'kafka_request_failed',
    `Reading ${first?.topic} partition ${first?.partition} stopped at offset ${first?.from}: ` +
      `${emptyFetchesMax} fetches in a row brought nothing although its stable end is ${first?.end}. ` +
      'Check the brokers that hold it.',
    { details: { spans } },
  )
}
