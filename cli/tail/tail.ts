/** `millrace tail`: predictions, dead letters, models or raw events as they are written, one line each. */
import type { BrokerData, FetchedPartition, FetchFrom } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan, StreamPlan } from '../../schemas/plan/plan.ts'
import { type CommandContext, openPipelineBroker } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { loadPlan } from '../load-plan.ts'
import { requireTopics } from '../topics/requirements.ts'
import type { TailFilters } from './filters.ts'
import { tailView } from './lines.ts'
import { type TailTopic, tailTopics } from './topics.ts'

export interface TailCommandOptions extends TailFilters {
  readonly from: 'start' | 'end'
  /** Instead of `from`, ms since 1970 by the broker's clock. */
  readonly since?: number
  /** Ends with the last record before it, ms since 1970 by the broker's clock. */
  readonly until?: number
  /**
   * Ends after so many lines, and from the start or `since` at the end of what there is, since no more may ever come. Without it,
   * and from the end, new records are waited for.
   */
  readonly count?: number
  readonly json?: boolean
}

const limits = { maxWaitMs: 250, partitionBytesMax: 262_144 }

export async function tailCommand(
  definition: string,
  name: string,
  options: TailCommandOptions,
  context: CommandContext,
): Promise<number> {
  const { config, terminal, clock } = context
  const signal = context.stopping.signal()
  const plan: Plan = await loadPlan(definition, config)
  const { topic, line } = tailView(plan, topicNamed(name, plan), options, options.json ?? false)
  const { until = Number.POSITIVE_INFINITY } = options
  const endsAtEnd = options.count !== undefined && (options.since !== undefined || options.from === 'start')
  const { broker } = openPipelineBroker(plan, config, context)
  try {
    let from = await beginnings(broker.data, topic, options)
    const fetcher = await broker.data.fetcher()
    let left = options.count ?? Number.POSITIVE_INFINITY
    while (left > 0 && from.length > 0 && !signal.aborted) {
      const fetched = await fetcher.fetch(from, limits)
      const records = fetched.flatMap((one) => [...one.records]).filter(({ appendedAtMs }) => appendedAtMs < until)
      // Partitions answer in no particular order; what was appended earlier is shown earlier.
      records.sort((a, b) => a.appendedAtMs - b.appendedAtMs)
      for (const record of records) {
        const shown = left > 0 ? line(record) : null
        if (shown === null) continue
        terminal.out(shown)
        left--
      }
      from = fetched
        .filter((one) => !isOver(one, until, clock) && !(endsAtEnd && one.next >= one.stableEnd))
        .map(({ topic, partition, next }) => ({ topic, partition, offset: next }))
    }
    return exitCodes.done
  } finally {
    await broker.close()
  }
}

function topicNamed(name: string, plan: Plan): TailTopic | StreamPlan {
  const found = tailTopics.find((topic) => topic === name) ?? plan.streams.find((stream) => stream.name === name)
  if (found !== undefined) return found
  const streams = plan.streams.map((stream) => stream.name)
  throw new PipelineError(
    'usage',
    `${plan.name} has no topic ${name}: type ${tailTopics.join(', ')}, or a stream: ${streams.join(', ')}.`,
  )
}

/** Nothing that was appended before the time is still to come. */
function isOver({ records, next, stableEnd }: FetchedPartition, untilMs: number, clock: Clock): boolean {
  const isPast = [...records].some(({ appendedAtMs }) => appendedAtMs >= untilMs)
  return isPast || (next >= stableEnd && clock.nowMs() >= untilMs)
}

async function beginnings(
  broker: BrokerData,
  topic: string,
  { from, since }: Pick<TailCommandOptions, 'from' | 'since'>,
): Promise<FetchFrom[]> {
  const count = (await requireTopics(broker, [topic]))(topic)
  const partitions = Array.from({ length: count }, (_, partition) => ({ topic, partition }))
  if (since !== undefined) return broker.offsetsAt(partitions, since)
  const bounds = await broker.bounds(partitions)
  return bounds.map(({ topic, partition, ...bound }) => ({ topic, partition, offset: bound[from] }))
}
