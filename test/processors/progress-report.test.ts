/** When a task reports its progress, and what the report contains. */
import { describe, expect, test } from 'vitest'
import type { Frontier } from '../../processors/watermarks/frontier.ts'
import {
  createProgressReporter,
  isReportDue,
  isReportPending,
  type ReportContext,
  report,
} from '../../processors/watermarks/progress-report.ts'
import type { ReportingTask } from '../../processors/watermarks/progress-task.ts'

const at = (time: number, order = 0): Frontier => ({ time, order })

/** Of partition 1, at the end of its inputs by fetch 5, with a watermark of 10. */
function taskWith(changes: { isAtEnd?: boolean; endRound?: number; watermark?: Frontier; held?: Frontier } = {}) {
  const { isAtEnd = true, endRound = 5, watermark = at(10), held = null } = changes
  const task: ReportingTask = {
    partition: 1,
    retentionWatermark: 8,
    watermark: () => watermark,
    isAtEnd: () => isAtEnd,
    endRound: () => endRound,
    idleUpTo: () => held,
  }
  return task
}

/** After fetch 5; `frontiers` are those of sources 0 and 1. */
function contextWith(changes: { isSending?: boolean; frontiers?: readonly Frontier[]; requests?: number } = {}) {
  const { isSending = false, frontiers = [at(20), at(10)], requests = 0 } = changes
  const context: ReportContext = { isSending, answeredRound: 5, observed: { frontiers, requests } }
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
