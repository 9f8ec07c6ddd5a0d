/** How many events were sent and rejected, and how fast: counted by `produce.ts`, which passes the time since its start. */
import type { Problem } from '../schemas/kernel/event.ts'
import type { StreamPlan } from '../schemas/plan/plan.ts'
import type { SentEvent } from './prepare.ts'

export interface ProduceProgress {
  /** Acknowledged so far. */
  readonly events: number
  /** Since the previous report. */
  readonly eventsPerSecond: number
  /** Ms since 1970, of the last acknowledged event. */
  readonly timeMs: number | null
}

export interface ProduceSummary {
  readonly events: number
  readonly byStream: Readonly<Record<string, number>>
  readonly rejected: number
  /** By the code of an event's first problem. */
  readonly rejectedByCode: Readonly<Record<string, number>>
  /** Rows that a mapping left out. */
  readonly leftOut: number
  /** Rows that an earlier run completed. */
  readonly skipped: number
  readonly seconds: number
  readonly eventsPerSecond: number
  /** Smallest and greatest event time sent, ms since 1970; null when nothing was sent. */
  readonly firstTime: number | null
  readonly lastTime: number | null
}

export interface ProduceCounts {
  acknowledged(events: readonly SentEvent[]): void
  rejected(problems: readonly Problem[]): void
  leftOut(): void
  /** Calls `onProgress` at most once a second. */
  report(sinceStartMs: number): void
  summary(sinceStartMs: number): Omit<ProduceSummary, 'skipped'>
}

const progressEveryMs = 1_000

export function createProduceCounts(
  streams: ReadonlyArray<Pick<StreamPlan, 'name'>>,
  onProgress: ((progress: ProduceProgress) => void) | undefined,
): ProduceCounts {
  const byStream: Record<string, number> = Object.fromEntries(streams.map(({ name }) => [name, 0]))
  const rejectedByCode: Record<string, number> = {}
  let events = 0
  let leftOut = 0
  let timeMs: number | null = null
  let firstTime: number | null = null
  let lastTime: number | null = null
  let reported = { atMs: 0, events: 0 }

  return {
    acknowledged(sent) {
      events += sent.length
      for (const { stream, timeMs } of sent) {
        byStream[stream]!++
        firstTime = firstTime === null ? timeMs : Math.min(firstTime, timeMs)
        lastTime = lastTime === null ? timeMs : Math.max(lastTime, timeMs)
      }
      timeMs = sent.at(-1)?.timeMs ?? timeMs
    },
    rejected(problems) {
      const { code } = problems[0]!
      rejectedByCode[code] = (rejectedByCode[code] ?? 0) + 1
    },
    leftOut() {
      leftOut++
    },
    report(sinceStartMs) {
      if (!onProgress || sinceStartMs - reported.atMs < progressEveryMs) return
      const eventsPerSecond = ((events - reported.events) * 1_000) / (sinceStartMs - reported.atMs)
      reported = { atMs: sinceStartMs, events }
      onProgress({ events, eventsPerSecond, timeMs })
    },
    summary(sinceStartMs) {
      const seconds = sinceStartMs / 1_000
      const eventsPerSecond = seconds > 0 ? events / seconds : 0
      const rejected = Object.values(rejectedByCode).reduce((sum, count) => sum + count, 0)
      return { events, byStream, rejected, rejectedByCode, leftOut, seconds, eventsPerSecond, firstTime, lastTime }
    },
  }
}
