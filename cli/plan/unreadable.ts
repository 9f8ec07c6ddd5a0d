/**
 * Whether the stages of a definition could read what lies in their repartition topics: a stage before may have sent other columns under the
 * definition of then, and a rebuild would read them. Called by `plan`.
 */
import { readSpans } from '../../runtime/read-log.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { Subject } from '../doctor/subject.ts'
import type { TopicReport } from '../topics/report.ts'

export interface UnreadableTopic {
  readonly topic: string
  readonly reason: string
}

/** Of each partition, from its start and before its end; some of them are the markers of transactions. */
const offsetsRead = 20

/** One reason a topic. */
export async function unreadableTopics(
  subject: Subject,
  { stages }: Plan,
  topics: readonly TopicReport[],
): Promise<UnreadableTopic[]> {
  const fetcher = await (await subject.records()).fetcher()
  const unreadable = new Map<string, string>()
  try {
    for (const { repartitionIn } of stages) {
      if (repartitionIn === null) continue
      const { topic, codec } = repartitionIn
      const filled = (topics.find((one) => one.topic === topic)?.offsets ?? []).filter(({ start, end }) => start < end)
      const spansOf = (part: (bounds: { start: number; end: number }) => { from: number; end: number }) =>
        filled.map(({ partition, ...bounds }) => ({ topic, partition, ...part(bounds) }))
      const first = spansOf(({ start, end }) => ({ from: start, end: Math.min(end, start + offsetsRead) }))
      const last = spansOf(({ start, end }) => ({ from: Math.max(start, end - offsetsRead), end }))
      for (const spans of [first, last]) {
        await readSpans(
          fetcher,
          spans,
          ({ value }) => {
            try {
              if (value !== null) codec.decode(value)
            } catch (error) {
              if (!(error instanceof PipelineError) || error.code !== 'record_unreadable') throw error
              unreadable.set(topic, error.message)
            }
          },
          { isLossy: true },
        )
      }
    }
  } finally {
    await fetcher.close()
  }
  return [...unreadable].map(([topic, reason]) => ({ topic, reason }))
}
