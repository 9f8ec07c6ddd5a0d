/**
 * What the stages of a definition would find in their repartition topics: the stage before may have sent other columns under the definition
 * of then, and a rebuild reads them again. Called by `plan`.
 */
import { readSpans } from '../../runtime/read-log.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { Subject } from '../doctor/subject.ts'
import type { TopicReport } from '../topics/report.ts'

/** Of a topic whose records are not those of this definition. */
export interface SentBefore {
  readonly topic: string
  /** Why its records cannot be read; null: they can. */
  readonly unreadable: string | null
  /** Slots that its events were sent without: they can be folded again, but not predicted. */
  readonly unsent: readonly string[]
}

/** Of each partition, from its start and before its end: many of them may be watermarks and the markers of transactions. */
const offsetsRead = 1_000

export async function sentBefore(
  subject: Subject,
  { stages }: Plan,
  topics: readonly TopicReport[],
): Promise<SentBefore[]> {
  const found: SentBefore[] = []
  const fetcher = await (await subject.records()).fetcher()
  try {
    for (const { repartitionIn } of stages) {
      if (repartitionIn === null) continue
      const { topic, codec } = repartitionIn
      let unreadable: string | null = null
      const unsent = new Set<string>()
      const filled = (topics.find((one) => one.topic === topic)?.offsets ?? []).filter(({ start, end }) => start < end)
      const first = filled.map(({ start, end }) => ({ from: start, end: Math.min(end, start + offsetsRead) }))
      const last = filled.map(({ start, end }) => ({ from: Math.max(start, end - offsetsRead), end }))
      for (const spans of [first, last]) {
        const named = spans.map((span, i) => ({ topic, partition: filled[i]!.partition, ...span }))
        await readSpans(
          fetcher,
          named,
          ({ value }) => {
            try {
              const record = value && codec.decode(value)
              if (record?.kind === 'event') for (const slot of record.unsent) unsent.add(slot)
            } catch (error) {
              if (!(error instanceof PipelineError) || error.code !== 'record_unreadable') throw error
              unreadable = error.message
            }
          },
          { isLossy: true },
        )
      }
      if (unreadable !== null || unsent.size > 0) found.push({ topic, unreadable, unsent: [...unsent] })
    }
  } finally {
    await fetcher.close()
  }
  return found
}
