/** `millrace tail`: predictions, dead letters or models as they are written, one line each. */
import type { Broker, FetchFrom } from '../runtime/broker.ts'
import type { Plan } from '../schemas/plan.ts'
import { type CommandContext, openPipelineBroker } from './context.ts'
import { exitCodes } from './failure-text.ts'
import { loadPlan } from './load-plan.ts'
import { tailLines } from './tail-lines.ts'
import { requireTopics } from './topics.ts'

export type TailTopic = 'predictions' | 'rejected' | 'models'

export interface TailCommandOptions {
  readonly from: 'start' | 'end'
  /** Ends after so many records; goes on until it is stopped without it. */
  readonly count?: number
  readonly json?: boolean
}

const limits = { maxWaitMs: 250, partitionBytesMax: 262_144 }

export async function tailCommand(
  definition: string,
  which: TailTopic,
  options: TailCommandOptions,
  context: CommandContext,
): Promise<number> {
  const { config, terminal } = context
  const signal = context.stopping.signal()
  const plan: Plan = await loadPlan(definition, config.namespace)
  const { topic } = plan[which]
  const lineOf = tailLines(plan, which, options.json ?? false)
  const { broker } = openPipelineBroker(plan, config, context)
  try {
    let from = await beginnings(broker, topic, options.from)
    const fetcher = await broker.fetcher()
    let left = options.count ?? Number.POSITIVE_INFINITY
    while (left > 0 && !signal.aborted) {
      const fetched = await fetcher.fetch(from, limits)
      const records = fetched.flatMap(({ records }) => records)
      // Partitions answer in no particular order; what was appended earlier is shown earlier.
      records.sort((a, b) => a.appendedAtMs - b.appendedAtMs)
      for (const record of records.slice(0, left)) terminal.out(lineOf(record))
      left -= records.length
      const next = new Map(fetched.map((one) => [one.partition, one.next]))
      from = from.map((one) => ({ ...one, offset: next.get(one.partition) ?? one.offset }))
    }
    return exitCodes.done
  } finally {
    await broker.close()
  }
}

async function beginnings(broker: Broker, topic: string, from: 'start' | 'end'): Promise<FetchFrom[]> {
  const partitions = (await requireTopics(broker, [topic]))(topic)
  const bounds = await broker.bounds(Array.from({ length: partitions }, (_, partition) => ({ topic, partition })))
  return bounds.map(({ topic, partition, ...bound }) => ({ topic, partition, offset: bound[from] }))
}
