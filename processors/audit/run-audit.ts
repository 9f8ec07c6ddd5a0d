/**
 * Follows a pipeline from outside any group and has its outputs audited: fetches go in a loop, verdicts come out. Called by
 * `millrace audit`. Writes nothing, so that it can run beside anything, and more than once.
 */
import type { Broker, Fetcher } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { type AuditCounts, type AuditOptions, createAudit } from './audit.ts'
import type { Difference } from './audit-task.ts'

export interface RunAuditOptions extends Pick<AuditOptions, 'plan' | 'sample' | 'scoreOf'> {
  readonly broker: Pick<Broker, 'bounds' | 'fetcher'>
  readonly partitionsOf: (topic: string) => number
  readonly clock: Clock
  readonly log: Log
  /** Learns the model versions that there are by now; called before outputs are judged. */
  readonly learnModels: () => Promise<void>
  /** Ends once everything that lay in the topics at the start is judged. */
  readonly isOnce: boolean
  readonly signal: AbortSignal
  readonly onJudged: (counts: Readonly<AuditCounts>, differences: readonly Difference[], pending: number) => void
}

const limits = { maxWaitMs: 500, partitionBytesMax: 1_048_576 }
/** A transaction becomes readable partition by partition: its dead letters, too, are there after this while. */
const settleMs = 1_000
const backoffMaxMs = 5_000

/** Answers what was counted, after a stop or with `isOnce` at the end. */
export async function runAudit(options: RunAuditOptions): Promise<Readonly<AuditCounts>> {
  const { plan, broker, partitionsOf, clock, signal } = options
  const roles = ['raw', 'repartition', 'predictions', 'rejected']
  const topics = plan.topics.filter(({ role }) => roles.includes(role))
  const places = topics.flatMap(({ topic, role }) =>
    Array.from({ length: partitionsOf(topic) }, (_, partition) => ({ topic, partition, role })),
  )
  const bounds = await broker.bounds(places.map(({ topic, partition }) => ({ topic, partition })))
  const boundsOf = new Map(bounds.map((found) => [`${found.topic} ${found.partition}`, found]))
  const audit = createAudit({
    ...options,
    startOf: ({ topic, partition }) => boundsOf.get(`${topic} ${partition}`)!.start,
  })
  const outputs = places.filter(({ role }) => role === 'repartition' || role === 'predictions')
  // A stage that computes nothing has nothing to be judged, and its hop is read only as far as it is needed.
  const isAtEnd = () =>
    outputs
      .filter(({ role }) => role === 'predictions')
      .every((at) => audit.nextOf(at) >= boundsOf.get(`${at.topic} ${at.partition}`)!.end)

  let fetcher: Fetcher | null = null
  let failures = 0
  let round = 0
  /** When the rounds that are not judged yet were answered. */
  const answered: Array<{ readonly round: number; readonly ms: number }> = []
  try {
    while (!signal.aborted) {
      const isReading = !(options.isOnce && isAtEnd())
      if (!isReading && audit.pending === 0) break
      try {
        fetcher ??= await broker.fetcher()
        const fetched = await fetcher.fetch(audit.wanted({ outputs: isReading }), limits)
        for (const part of fetched) audit.accept(part, round)
        await options.learnModels()
        failures = 0
      } catch (error) {
        if (!(error instanceof PipelineError) || !error.retry) throw error
        failures++
        options.log.warn({ code: error.code, failures }, error.message)
        await fetcher?.close()
        fetcher = null
        await clock.sleep(Math.min(backoffMaxMs, 100 * 2 ** failures))
        continue
      }
      answered.push({ round: round++, ms: clock.elapsedMs() })
      while (answered.length > 0 && clock.elapsedMs() - answered[0]!.ms > settleMs) answered.shift()
      const differences = audit.validateRecord(answered[0]?.round ?? round)
      options.onJudged(audit.counts, differences, audit.pending)
    }
  } finally {
    await fetcher?.close()
  }
  return audit.counts
}
