/**
 * Sends the events of a source into the raw topics, one span of event time after another, each at its own pace and with a bounded number
 * of events in flight. Used by `start` and `verify`.
 */
import type { Rows } from '../../producers/merge.ts'
import type { Pace } from '../../producers/pace.ts'
import { openPositions, type PositionedSink } from '../../producers/positions.ts'
import type { SourceEvent } from '../../producers/prepare.ts'
import { produce, type Sink } from '../../producers/produce.ts'
import type { Broker, BrokerData } from '../../runtime/broker.ts'
import type { EventValues } from '../../schemas/kernel/event.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { CommandContext } from '../context.ts'
import { rejectionLine } from '../sources/rejection-line.ts'
import { requireTopics } from '../topics/requirements.ts'
import type { IsolatedPipeline } from './isolated-pipeline.ts'
import { type OwnSourceOptions, openSourceSpans } from './source-spans.ts'

/** An event that is about to be sent, and when it was to be sent (ms since 1970). */
export type OnSent = (
  event: { readonly stream: string; readonly id: string; readonly timeMs: number; readonly values: EventValues },
  scheduledMs: number,
) => void

export interface EventSender {
  /** The first event time that is not in the raw topics yet, ms since 1970: where a resumed `start` continues. */
  afterNewest(): Promise<number>
  /** First event time of the source, and its last where that is known. */
  readonly startMs: number
  readonly lastMs: number | null
  /** Events of the scored stream that were sent, each id once. */
  readonly sent: number
  /** Rows that were not sent, since they are no valid events. */
  readonly refused: number
  send(
    span: { readonly fromMs: number; readonly untilMs?: number },
    pace: Pace,
    stop: AbortSignal,
    onSent: OnSent,
  ): Promise<void>
}

const refusedShownMax = 20
/** Pause while too many events are in flight. */
const inFlightPollMs = 5

export async function createEventSender(
  { plan, environment, watched }: IsolatedPipeline,
  options: OwnSourceOptions,
  context: CommandContext,
): Promise<EventSender> {
  const { clock } = context
  const { broker, inFlightMax } = environment
  const printLine = context.terminal.err
  const partitionsOf = await requireTopics(
    broker.data,
    plan.streams.map(({ topic }) => topic),
  )
  const producer = await broker.data.producer()
  let positions: PositionedSink | null = null
  const spans = await openSourceSpans(options, plan, context)
  let sent = 0
  const ids = spans.isGenerated ? null : new Set<string>()
  let refused = 0

  async function sinkFor({ kind }: Pace, signal: AbortSignal): Promise<Sink> {
    if (kind !== 'flat out') return producer
    positions ??= await openTransactions(plan, broker, context, signal)
    const opened = positions
    // The files of a source are one here: nothing resumes by rows.
    return { send: (records, rows) => opened.send(records, [rows.reduce((sum, count) => sum + count, 0)]) }
  }

  const inFlight = () => sent - watched.counts.predictions - watched.counts.rejected

  async function* whileInFlightBounded(chunks: Rows, stop: AbortSignal): AsyncGenerator<readonly SourceEvent[]> {
    for await (const chunk of chunks) {
      while (inFlight() > inFlightMax && !stop.aborted) await clock.sleep(inFlightPollMs)
      yield chunk
    }
  }

  return {
    afterNewest: async () => Math.max(spans.startMs, (await newestSentMs(broker.data, plan)) + 1),
    startMs: spans.startMs,
    lastMs: spans.lastMs,
    get sent() {
      return sent
    },
    get refused() {
      return refused
    },
    async send({ fromMs, untilMs }, pace, stop, onSent) {
      const rows = await spans.open({ fromMs, ...(untilMs === undefined ? {} : { untilMs }) })
      await produce(whileInFlightBounded(rows, stop), {
        streams: plan.streams,
        sink: await sinkFor(pace, stop),
        rowsDone: new Array<number>(spans.parts).fill(0),
        partitionsOf,
        pace,
        mayPause: false,
        clock,
        signal: stop,
        onSent(event, scheduledMs) {
          if (event.stream === plan.scored.name && isFirst(ids, event.id)) sent++
          onSent(event, scheduledMs)
        },
        onRejected(problems, row) {
          if (++refused <= refusedShownMax) printLine(rejectionLine(problems, row))
        },
      })
    },
  }
}

/**
 * Unpaced, a chunk holds many events of several partitions. It is sent as a transaction, or a consumer could see an event before an earlier
 * one of another partition. Paced chunks are small, and a transaction for each would only add latency.
 */
function openTransactions(
  plan: Plan,
  broker: Broker,
  { clock, random, terminal }: CommandContext,
  signal: AbortSignal,
): Promise<PositionedSink> {
  return openPositions({
    broker,
    groupPrefix: plan.name,
    topic: plan.scored.topic,
    source: { name: 'the stream', key: `start ${plan.scored.topic}`, parts: [{ name: 'the stream', file: null }] },
    isResuming: false,
    clock,
    random,
    signal,
    printLine: terminal.err,
  })
}

/** The pipeline drops the others as duplicates: no prediction is waited for. */
function isFirst(ids: Set<string> | null, id: string): boolean {
  if (ids === null) return true
  const known = ids.size
  return ids.add(id).size > known
}

/** Greatest event time among the last records of all raw partitions; −infinity where there is none. */
async function newestSentMs(broker: BrokerData, plan: Plan): Promise<number> {
  const counts = await broker.partitionCounts(plan.streams.map(({ topic }) => topic))
  const partitions = plan.streams.flatMap(({ topic }) =>
    Array.from({ length: counts.get(topic) ?? 0 }, (_, partition) => ({ topic, partition })),
  )
  const written = (await broker.bounds(partitions)).filter(({ start, end }) => end > start)
  if (written.length === 0) return Number.NEGATIVE_INFINITY
  const fetcher = await broker.fetcher()
  try {
    const from = written.map(({ topic, partition, end }) => ({ topic, partition, offset: end - 1 }))
    const fetched = await fetcher.fetch(from, { maxWaitMs: 1_000, partitionBytesMax: 1_024 * 1_024 })
    const times = fetched.flatMap(({ topic, records }) => {
      const stream = plan.streams.find((candidate) => candidate.topic === topic)!
      return Array.from(records, ({ value }) => {
        const decoded = stream.codec.decode(value)
        return decoded.ok ? (decoded.event[stream.timeField] as number) : Number.NEGATIVE_INFINITY
      })
    })
    return Math.max(...times)
  } finally {
    await fetcher.close()
  }
}
