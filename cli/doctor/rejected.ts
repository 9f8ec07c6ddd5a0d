/**
 * What became of the latest events of each stream: the tails of its raw topic and of the dead letters come in, a check a stream goes out,
 * with the share that was rejected and the commonest reason. Needs no running process. Called by `examine`.
 */
import { type LogSpan, readSpans } from '../../runtime/read-log.ts'
import type { Plan, StreamPlan } from '../../schemas/plan/plan.ts'
import type { DeadLetter } from '../../schemas/wire/records.ts'
import { sharedNames } from '../context.ts'
import { shown } from '../terminal.ts'
import { type Check, type Examination, NotChecked, ok } from './check.ts'
import { partitionsMax, recentOffsets, shareCheck } from './recent.ts'
import type { Subject } from './subject.ts'

/** Of each partition of the dead letters, which are of all streams and stages. */
const deadLetterOffsets = 3_000

export interface RecentEvents {
  readonly events: number
  /** Dead letters of these events. */
  readonly rejected: ReadonlyArray<Pick<DeadLetter, 'stage' | 'problems'>>
}

export function rejectedExamination(subject: Subject): Examination {
  return {
    name: 'rejected',
    async examine() {
      const plan = await subject.plan.needed()
      const entering = plan.streams.filter(({ entersAt }) => entersAt !== null)
      const found = await recentEvents(subject, plan, entering)
      return entering.map(({ name }, i) => rejectedCheck(`rejected ${name}`, found[i]!, subject.definition))
    },
  }
}

async function recentEvents(subject: Subject, plan: Plan, streams: readonly StreamPlan[]): Promise<RecentEvents[]> {
  const { broker } = await subject.kafka.needed()
  const topics = await subject.topics.needed()
  const offsetsOf = (topic: string) => {
    const report = topics.find((found) => found.topic === topic)
    if (!report?.exists) throw new NotChecked(`not checked: it needs ${topic}.`)
    return report.offsets.slice(0, partitionsMax)
  }
  const raw = streams.flatMap(({ topic }) =>
    offsetsOf(topic).map(({ partition, start }) => ({ topic, partition, start })),
  )
  const committed = await broker.groups.committedOffsets(sharedNames(subject.config, plan).group, raw)
  const spans: LogSpan[] = raw.map(({ topic, partition, start }, i) => {
    const end = committed[i]!.offset ?? start
    return { topic, partition, from: Math.max(start, end - recentOffsets), end }
  })
  const ends = offsetsOf(plan.rejected.topic).map(({ partition, start, end }) => {
    return { topic: plan.rejected.topic, partition, from: Math.max(start, end - deadLetterOffsets), end }
  })
  const recent = new Map<string, Set<string>>(streams.map(({ topic }) => [topic, new Set()]))
  const rejected = new Map<string, Map<string, DeadLetter>>(streams.map(({ topic }) => [topic, new Map()]))
  const fetcher = await (await subject.records()).fetcher()
  try {
    const take = { isLossy: true }
    await readSpans(
      fetcher,
      spans,
      ({ offset }, { topic, partition }) => void recent.get(topic)!.add(`${partition} ${offset}`),
      take,
    )
    await readSpans(
      fetcher,
      ends,
      ({ value }) => {
        const deadLetter = plan.rejected.codec.decode(value!)
        const place = `${deadLetter.partition} ${deadLetter.offset}`
        if (recent.get(deadLetter.topic)?.has(place)) rejected.get(deadLetter.topic)!.set(place, deadLetter)
      },
      take,
    )
  } finally {
    await fetcher.close()
  }
  return streams.map(({ topic }) => ({
    events: recent.get(topic)!.size,
    rejected: [...rejected.get(topic)!.values()],
  }))
}

export function rejectedCheck(name: string, { events, rejected }: RecentEvents, definition: string): Check {
  if (events === 0) return ok(name, 'no event was processed yet.')
  if (rejected.length === 0) return ok(name, `none of the last ${shown(events)} events was rejected.`)
  const byCode = new Map<string, RecentEvents['rejected'][number][]>()
  for (const deadLetter of rejected) {
    const { code } = deadLetter.problems[0]!
    byCode.set(code, [...(byCode.get(code) ?? []), deadLetter])
  }
  const sorted = [...byCode].sort(([, a], [, b]) => b.length - a.length)
  const codes = sorted.map(([code, { length }]) => `${shown(length)} ${code}`).join(', ')
  const { stage, problems } = sorted[0]![1][0]!
  const { path, expected, received } = problems[0]!
  const share = rejected.length / events
  const message =
    `${shown(rejected.length)} of the last ${shown(events)} events were rejected (${shown(share * 100)} %): ${codes}. For example ` +
    `${stage}: ${path === '' ? 'the event' : path} expected ${expected}, received ${received}.`
  const isFunction = sorted[0]![0] === 'function_threw' || sorted[0]![0] === 'not_finite'
  const mend = isFunction
    ? 'Mend that function of the definition'
    : 'Compare what the producer sends with the definition'
  const remedy = `${mend}, then requeue them: millrace rejected list ${definition}`
  return shareCheck(name, share, message, remedy)
}
