/**
 * Follows a pipeline without joining its group and audits its outputs: fetches in a loop, reports differences. Called by `millrace audit`.
 * Writes nothing, so that it can run beside anything, and more than once.
 */
import { setImmediate } from 'node:timers/promises'
import type { BrokerData } from '../../runtime/broker.ts'
import { type Audit, createAudit } from './audit.ts'
import type { AuditCounts, AuditOptions } from './audit-state.ts'
import type { Difference } from './audited-output.ts'
import { createFetchAttempts, type FetchAttemptsOptions } from './fetch-attempts.ts'

export interface RunAuditOptions extends FetchAttemptsOptions, Pick<AuditOptions, 'plan' | 'sample' | 'scoreOf'> {
  readonly broker: BrokerData
  readonly partitionsOf: (topic: string) => number
  /** Reads the model versions published so far; called before outputs are compared. */
  readonly loadModels: () => Promise<void>
  /** Ends once everything that was in the topics at the start has been compared. */
  readonly isOnce: boolean
  readonly onCompared: (counts: Readonly<AuditCounts>, differences: readonly Difference[], pending: number) => void
}

const limits = { maxWaitMs: 500, partitionBytesMax: 1_048_576 }
/** A transaction becomes readable partition by partition: after so long its dead letters are readable, too. */
const settleMs = 1_000
/** Outputs that are compared before anything else is done: some tenths of a second where each depends on thousands of events. */
const turnOutputs = 100

/** Returns the counts, after a stop or with `isOnce` at the end. */
export async function runAudit(options: RunAuditOptions): Promise<Readonly<AuditCounts>> {
  const { plan, broker, partitionsOf, clock, signal } = options
  const roles = ['raw', 'repartition', 'predictions', 'rejected']
  const topics = plan.topics.filter(({ role }) => roles.includes(role))
  const partitions = topics.flatMap(({ topic, role }) =>
    Array.from({ length: partitionsOf(topic) }, (_, partition) => ({ topic, partition, role })),
  )
  const bounds = await broker.bounds(partitions.map(({ topic, partition }) => ({ topic, partition })))
  const boundsOf = new Map(bounds.map((found) => [`${found.topic} ${found.partition}`, found]))
  const audit = createAudit({
    ...options,
    startOf: ({ topic, partition }) => boundsOf.get(`${topic} ${partition}`)!.start,
  })
  const outputs = partitions.filter(({ role }) => role === 'repartition' || role === 'predictions')
  // A stage that computes nothing has nothing to compare, and its repartition topic is read only as far as it is needed.
  const isAtEnd = () =>
    outputs
      .filter(({ role }) => role === 'predictions')
      .every((at) => audit.nextOf(at) >= boundsOf.get(`${at.topic} ${at.partition}`)!.end)

  const attempts = createFetchAttempts(options)
  let round = 0
  /** When the rounds of fetches ended whose outputs are not compared yet. */
  const answered: Array<{ readonly round: number; readonly ms: number }> = []
  try {
    while (!signal.aborted) {
      const isReading = !(options.isOnce && isAtEnd())
      if (!isReading && audit.pending === 0) break
      const isRead = await attempts.attempt(async (fetcher) => {
        const fetched = await fetcher.fetch(audit.wanted({ outputs: isReading }), limits)
        for (const part of fetched) audit.accept(part, round)
        await options.loadModels()
      })
      if (!isRead) continue
      answered.push({ round: round++, ms: clock.elapsedMs() })
      while (answered.length > 0 && clock.elapsedMs() - answered[0]!.ms > settleMs) answered.shift()
      await compareInTurns(audit, answered[0]?.round ?? round, options)
    }
  } finally {
    await attempts.close()
  }
  return audit.counts
}

/** In turns, so that a signal is heard and the other comparison gets on meanwhile. */
async function compareInTurns(
  audit: Audit,
  beforeRound: number,
  { onCompared, signal }: RunAuditOptions,
): Promise<void> {
  for (let before = -1; audit.pending !== before && !signal.aborted; ) {
    before = audit.pending
    onCompared(audit.counts, audit.compareOutputs(beforeRound, turnOutputs), audit.pending)
    await setImmediate()
  }
}
