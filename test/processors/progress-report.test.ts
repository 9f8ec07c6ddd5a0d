/** When a task reports its progress, and what the report contains. */
import { describe, expect, test } from 'vitest'
import type { Frontier } from '../../processors/watermarks/frontier.ts'
import {
  createProgressReporter,
  isReportDue,
  isReportPending,
  type ReportContext,
  report,
  startCatchUp,
  takeCaughtUp,
} from '../../processors/watermarks/progress-report.ts'
import type { ReportingTask } from '../../processors/watermarks/progress-task.ts'

const at = (time: number, order = 0): Frontier => ({ time, order })

interface TaskChanges {
  readonly isAtEnd?: boolean
  readonly endRound?: number
  readonly watermark?: Frontier
  readonly heldBackAt?: Frontier
  readonly held?: Frontier
  readonly isRestoring?: boolean
  readonly hasCaughtUp?: boolean
  /** Fetches that it was asked to catch up to. */
  readonly rounds?: number[]
}

/** Of partition 1, at the end of its inputs by fetch 5, with a watermark of 10. */
function taskWith(changes: TaskChanges = {}) {
  const { isAtEnd = true, endRound = 5, watermark = at(10), held = null } = changes
  const { isRestoring = false, hasCaughtUp = false, rounds = [], heldBackAt = at(0) } = changes
  const task: ReportingTask = {
    partition: 1,
    retentionWatermark: 8,
    isRestoring,
    watermark: () => watermark,
    heldBackAt,
    isAtEnd: () => isAtEnd,
    endRound: () => endRound,
    idleUpTo: () => held,
    progressAtMs: () => Number.NEGATIVE_INFINITY,
    startCatchUp: (round) => rounds.push(round),
    hasCaughtUp: () => hasCaughtUp,
  }
  return task
}

interface ContextChanges {
  readonly isSending?: boolean
  readonly frontiers?: readonly Frontier[]
  readonly requests?: number
  readonly nowMs?: number
  readonly progressAtMs?: number
}

/** After fetch 5; `frontiers` are those of sources 0 and 1. */
function contextWith(changes: ContextChanges = {}) {
  const {
    isSending = false,
    frontiers = [at(20), at(10)],
    requests = 0,
    nowMs = 0,
    progressAtMs = Number.NEGATIVE_INFINITY,
  } = changes
  const observed = { frontiers, requests }
  const context: ReportContext = { isSending, answeredRound: 5, nowMs, advancingEveryMs: 1_000, progressAtMs, observed }
  return context
}

/** A reporter whose last report was made of this task in this context. */
function reported(task = taskWith(), context = contextWith()) {
  const reporter = createProgressReporter()
  report(reporter, task, context)
  return reporter
}

describe('a report is due', () => {
  test('when the stage sends events, regardless of earlier reports', () => {
    expect(isReportDue(reported(), taskWith(), contextWith())).toBe(false)
    expect(isReportDue(reported(), taskWith(), contextWith({ isSending: true }))).toBe(true)
  })

  test('when the watermark has moved without an event', () => {
    const busy = taskWith({ isAtEnd: false })
    expect(isReportDue(reported(busy), busy, contextWith())).toBe(false)
    expect(isReportDue(reported(busy), taskWith({ isAtEnd: false, watermark: at(10, 1) }), contextWith())).toBe(true)
  })

  test('once for every request, by a task that is not idle, too', () => {
    const busy = taskWith({ isAtEnd: false })
    const context = contextWith({ requests: 1 })
    expect(isReportDue(reported(busy), busy, context)).toBe(true)
    expect(isReportDue(reported(busy, context), busy, context)).toBe(false)
  })

  test('when the task has become idle', () => {
    const busy = taskWith({ isAtEnd: false })
    expect(isReportDue(reported(busy), taskWith(), contextWith())).toBe(true)
  })

  test('when an idle task has observed a later frontier before the fetch, and not for an earlier one', () => {
    expect(isReportDue(reported(), taskWith(), contextWith({ frontiers: [at(20, 1), at(10)] }))).toBe(true)
    expect(isReportDue(reported(), taskWith(), contextWith({ frontiers: [at(19), at(10)] }))).toBe(false)
  })

  test('only when the latest fetch found the end: an older one precedes what was observed since', () => {
    const later = contextWith({ frontiers: [at(30), at(10)] })
    expect(isReportDue(reported(), taskWith({ endRound: 4 }), later)).toBe(false)
    expect(isReportPending(reported(), taskWith({ endRound: 4 }), later.observed)).toBe(true)
  })

  test('when a held event limits the coverage no more, and not for frontiers beyond that event', () => {
    const holding = taskWith({ held: at(15) })
    const later = contextWith({ frontiers: [at(30), at(10)] })
    expect(isReportDue(reported(holding), holding, later)).toBe(false)
    expect(isReportDue(reported(holding), taskWith({ held: at(18) }), later)).toBe(true)
    expect(isReportDue(reported(holding), taskWith(), later)).toBe(true)
  })
})

test('no report is pending for a task that has more to read', () => {
  const busy = taskWith({ isAtEnd: false })
  expect(isReportPending(createProgressReporter(), busy, contextWith().observed)).toBe(false)
})

describe('a report', () => {
  test('of an idle task names its watermark and that it holds nothing', () => {
    expect(report(createProgressReporter(), taskWith(), contextWith())).toEqual({
      source: 1,
      watermark: 10,
      order: 0,
      retentionWatermark: 8,
      idle: true,
      idleUpTo: null,
      caughtUp: false,
      advancing: false,
    })
  })

  test('of an idle task that holds an event is limited to what precedes it', () => {
    const sent = report(createProgressReporter(), taskWith({ held: at(15, 6) }), contextWith())
    expect(sent).toMatchObject({ idle: true, idleUpTo: at(15, 6) })
  })

  test('of a task that was not at its end with the latest fetch is not idle', () => {
    for (const task of [taskWith({ isAtEnd: false }), taskWith({ endRound: 4 })])
      expect(report(createProgressReporter(), task, contextWith())).toMatchObject({ idle: false, idleUpTo: null })
  })
})

describe('a busy task', () => {
  const busy = (rest: TaskChanges = {}) => taskWith({ isAtEnd: false, ...rest })

  test('begins to catch up with what it has observed beyond its watermark, and says once that it has', () => {
    const reporter = createProgressReporter()
    const rounds: number[] = []
    startCatchUp(reporter, busy({ rounds }), contextWith(), 2)
    expect(rounds).toEqual([5])
    // One at a time.
    startCatchUp(reporter, busy({ rounds }), contextWith({ frontiers: [at(30), at(10)], nowMs: 1_000 }), 2)
    expect(rounds).toEqual([5])
    expect(takeCaughtUp(reporter, busy())).toBeNull()
    const done = busy({ hasCaughtUp: true, rounds })
    expect(isReportDue(reporter, done, contextWith())).toBe(true)
    expect(takeCaughtUp(reporter, done)).toEqual([at(20), at(10)])
    expect(takeCaughtUp(reporter, done)).toBeNull()
    // Nothing new was observed.
    startCatchUp(reporter, done, contextWith({ nowMs: 2_000 }), 2)
    expect(rounds).toEqual([5])
    startCatchUp(reporter, done, contextWith({ frontiers: [at(30), at(10)], nowMs: 3_000 }), 2)
    expect(rounds).toEqual([5, 5])
  })

  test.each([
    ['it has passed all of it', taskWith({ isAtEnd: false, watermark: at(20) }), contextWith(), 2],
    ['it is idle, which says more', taskWith(), contextWith(), 2],
  ])('does not where %s', (_, task, context, sources) => {
    const reporter = createProgressReporter()
    startCatchUp(reporter, task, context, sources)
    expect(reporter.catchingUpTo).toBeNull()
  })

  test('does where raw inputs of the next stage were read on: their frontiers are offsets', () => {
    const reporter = createProgressReporter()
    startCatchUp(reporter, busy({ watermark: at(1e12) }), contextWith({ frontiers: [at(20), at(9)] }), 1)
    expect(reporter.catchingUpTo).toEqual([at(20), at(9)])
  })

  test('says at intervals that it advances, and only while it does', () => {
    const task = busy()
    const reporter = createProgressReporter()
    report(reporter, task, contextWith({ nowMs: 10_000, progressAtMs: 9_000 }))
    expect(isReportDue(reporter, task, contextWith({ nowMs: 10_999, progressAtMs: 10_500 }))).toBe(false)
    expect(isReportDue(reporter, task, contextWith({ nowMs: 11_000, progressAtMs: 10_000 }))).toBe(false)
    const due = contextWith({ nowMs: 11_000, progressAtMs: 10_500 })
    expect(isReportDue(reporter, task, due)).toBe(true)
    expect(report(reporter, task, due)).toMatchObject({ advancing: true, caughtUp: false, idle: false })
    expect(report(reporter, task, contextWith({ nowMs: 12_000, progressAtMs: 10_500 }))).toMatchObject({
      advancing: false,
    })
  })

  test('that is held back reports up to where, but not at once', () => {
    const reporter = createProgressReporter()
    report(reporter, busy(), contextWith({ nowMs: 1_000 }))
    const held = busy({ heldBackAt: at(40) })
    expect(isReportDue(reporter, held, contextWith({ nowMs: 1_099 }))).toBe(false)
    expect(isReportDue(reporter, held, contextWith({ nowMs: 1_100 }))).toBe(true)
    expect(report(reporter, held, contextWith({ nowMs: 1_100 }))).toMatchObject({ watermark: 40 })
    expect(isReportDue(reporter, held, contextWith({ nowMs: 9_000 }))).toBe(false)
  })

  test('that restores its state reports nothing but that', () => {
    const task = busy({ isRestoring: true, watermark: at(30) })
    const reporter = createProgressReporter()
    const sending = contextWith({ isSending: true, requests: 3 })
    expect(isReportDue(reporter, task, sending)).toBe(false)
    expect(isReportDue(reporter, task, { ...sending, nowMs: 1_000, progressAtMs: 500 })).toBe(true)
  })
})
