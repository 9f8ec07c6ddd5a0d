/** Alignment: when an event is released, source by source; fetch numbers and times are arguments. */
import { describe, expect, test } from 'vitest'
import {
  type Aligned,
  type AlignmentSource,
  createAlignment,
  type TaskReport,
} from '../../processors/watermarks/alignment.ts'
import { initialFrontier } from '../../processors/watermarks/frontier.ts'

type Sources = ReadonlyArray<{ readonly kind: 'raw'; readonly disorderMs: number } | { readonly kind: 'task' }>
const raw = (disorderMs = 0) => ({ kind: 'raw' as const, disorderMs })
const task = { kind: 'task' as const }

/** Numbered behind all tasks that are sources. */
const rawSourceOf = (sources: Sources) => sources.filter(({ kind }) => kind === 'task').length
/** Before all events of this time. */
const justBefore = (time: number) => ({ time, order: -1 })

interface Named extends Aligned {
  readonly name: string
}

function aligned(sources: Sources, start = initialFrontier) {
  // Every raw source has an input of its own; all tasks share one.
  const firstTask = sources.findIndex(({ kind }) => kind === 'task')
  const withInputs = sources.map(
    (source, i): AlignmentSource => ({ ...source, input: source.kind === 'raw' ? i : firstTask }),
  )
  const alignment = createAlignment<Named>({ sources: withInputs, rawSourceOf: () => rawSourceOf(sources) }, start)
  let nowMs = 0
  let offset = 0
  function push(name: string, source: number, time: number, rest: Partial<Aligned> = {}): void {
    const order = rest.order ?? source * 100
    alignment.push({
      name,
      source,
      time,
      order,
      round: 1,
      readAtMs: nowMs,
      input: withInputs[source]!.input,
      offset: offset++,
      ...rest,
    })
    alignment.advance(source, { time, order }, nowMs)
  }
  /** The fetch of this round has left so many records unread. */
  function fetched(input: number, round: number, left: number): void {
    alignment.observeFetch(input, { round, nextOffset: 0, end: left }, nowMs)
  }
  function report(source: number, rest: Partial<TaskReport> & { readonly offset: number }): void {
    const nothing = { isIdle: false, isCaughtUp: false, isAdvancing: false, observed: [], idleUpTo: null }
    alignment.observeReport(source, { ...nothing, ...rest }, nowMs)
  }
  /** Releases what may be released and returns the names in order. */
  function released(bounds: Parameters<typeof alignment.peek>[0] = { nowMs }): string[] {
    const names: string[] = []
    while (alignment.peek(bounds)) names.push(alignment.release(bounds).name)
    return names
  }
  return {
    alignment,
    push,
    fetched,
    report,
    released,
    at: (ms: number) => {
      nowMs = ms
    },
  }
}

describe('raw inputs', () => {
  test('of one source are released at once', () => {
    const { push, released } = aligned([raw()])
    push('a', 0, 10)
    push('b', 0, 20)
    expect(released()).toEqual(['a', 'b'])
  })

  test('wait until every other source is beyond them', () => {
    const { push, released } = aligned([raw(), raw()])
    push('a', 0, 10)
    push('b', 0, 20)
    expect(released()).toEqual([])
    push('c', 1, 20)
    // The other source may have more events with time 20.
    expect(released()).toEqual(['a'])
    push('d', 1, 21)
    expect(released()).toEqual(['b'])
  })

  test('are released when a fetch that began after they were read found the other sources at their end', () => {
    const { alignment, push, released, fetched } = aligned([raw(), raw()])
    fetched(1, 1, 0)
    push('a', 0, 10, { round: 1 })
    expect(released()).toEqual([])
    expect(alignment.isWaitingForEnd(0)).toBe(true)
    fetched(1, 2, 0)
    expect(released()).toEqual(['a'])
  })

  test('wait for a source that was found with more to read', () => {
    const { alignment, push, released, fetched } = aligned([raw(), raw()])
    push('a', 0, 10)
    fetched(1, 2, 1)
    expect(released()).toEqual([])
    expect(alignment.isAtEnd()).toBe(false)
  })

  test('wait for the declared disorder of their own source: in event time, or in processing time at its end', () => {
    const { alignment, push, released, at, fetched } = aligned([raw(5)])
    push('a', 0, 10)
    push('b', 0, 15)
    expect(released()).toEqual(['a'])
    // The source is not at its end, so no fetch could confirm it.
    expect(alignment.isWaitingForEnd(0)).toBe(false)
    fetched(0, 1, 0)
    expect(alignment.isWaitingForEnd(0)).toBe(true)
    fetched(0, 2, 0)
    expect(alignment.isWaitingForEnd(0)).toBe(false)
    at(4)
    expect(released()).toEqual([])
    at(5)
    expect(released()).toEqual(['b'])
  })

  test('wait for the declared disorder of other sources, too', () => {
    const { push, released } = aligned([raw(), raw(5)])
    push('a', 0, 10)
    push('b', 1, 15)
    expect(released()).toEqual([])
    push('c', 1, 16)
    expect(released()).toEqual(['a'])
  })
})

describe('tasks as sources', () => {
  test('have passed an event when their frontier is at or beyond it', () => {
    const { alignment, push, released } = aligned([task, task])
    push('a', 0, 10, { order: 5 })
    alignment.advance(1, justBefore(10), 0)
    expect(released()).toEqual([])
    alignment.advance(1, { time: 10, order: 4 }, 0)
    expect(released()).toEqual([])
    alignment.advance(1, { time: 10, order: 5 }, 0)
    expect(released()).toEqual(['a'])
  })

  test('that are idle have passed the events at or before the frontier that they had observed of the sender', () => {
    const { push, released, report } = aligned([task, task])
    push('a', 0, 10, { order: 1 })
    push('b', 0, 10, { order: 2 })
    const reports = (offset: number, order: number) =>
      report(1, {
        offset,
        isIdle: true,
        observed: [{ time: 10, order }, justBefore(99), justBefore(99)],
        idleUpTo: null,
      })
    reports(6, 0)
    expect(released()).toEqual([])
    reports(7, 1)
    expect(released()).toEqual(['a'])
    reports(8, 2)
    expect(released()).toEqual(['b'])
  })

  test('that send an event are no longer idle; reports that are read again change nothing', () => {
    const { push, released, report } = aligned([task, task])
    const observed = [justBefore(99), justBefore(99), justBefore(99)]
    push('a', 0, 10, { offset: 5 })
    report(1, { offset: 6, isIdle: true, observed, idleUpTo: null })
    report(1, { offset: 7, isIdle: false, observed: [], idleUpTo: null })
    report(1, { offset: 6, isIdle: true, observed, idleUpTo: null })
    expect(released()).toEqual([])
    report(1, { offset: 8, isIdle: true, observed, idleUpTo: null })
    report(1, { offset: 7, isIdle: false, observed: [], idleUpTo: null })
    expect(released()).toEqual(['a'])
  })

  test('must have observed how far a raw topic was read before an event of it is released', () => {
    const { push, released, fetched, report } = aligned([raw(), task])
    push('a', 0, 10, { offset: 3 })
    fetched(0, 2, 0)
    const reports = (offset: number, next: number) =>
      report(1, {
        offset,
        isIdle: true,
        observed: [justBefore(99), { time: next, order: 0 }],
        idleUpTo: null,
      })
    reports(6, 3)
    expect(released()).toEqual([])
    reports(7, 4)
    expect(released()).toEqual(['a'])
  })

  test('that are idle up to a position have passed the events up to there', () => {
    const { push, released, report } = aligned([task, task])
    push('a', 0, 10)
    push('b', 0, 20)
    report(1, {
      offset: 6,
      isIdle: true,
      observed: [justBefore(99), justBefore(99)],
      idleUpTo: justBefore(15),
    })
    expect(released()).toEqual(['a'])
  })

  test('move the watermark of their reader up to the slowest of them, idle or not, and not beyond a held event', () => {
    const { alignment, push, released, report } = aligned([task, task])
    expect(alignment.idleUpTo()).toBeNull()
    alignment.advance(0, justBefore(50), 0)
    expect(alignment.watermark()).toEqual(initialFrontier)
    alignment.advance(1, justBefore(40), 0)
    expect(alignment.watermark()).toEqual(justBefore(40))
    report(1, { offset: 1, isIdle: true, observed: [justBefore(45), justBefore(40)], idleUpTo: null })
    expect(alignment.watermark()).toEqual(justBefore(40))
    push('a', 0, 55, { order: 7 })
    alignment.advance(1, justBefore(70), 0)
    alignment.advance(0, justBefore(80), 0)
    expect(alignment.idleUpTo()).toEqual({ time: 55, order: 6 })
    expect(alignment.watermark()).toEqual({ time: 55, order: 6 })
    expect(released()).toEqual(['a'])
    expect(alignment.watermark()).toEqual(justBefore(70))
  })

  test('limit the retention watermark by the slowest of them; an idle one only down to a floor', () => {
    const idle = { offset: 1, isIdle: true, observed: [], idleUpTo: null }
    const { alignment, report } = aligned([task, task])
    expect(alignment.minRetentionWatermark(0)).toBe(Number.NEGATIVE_INFINITY)
    alignment.observeRetentionWatermark(0, 100)
    expect(alignment.minRetentionWatermark(0)).toBe(Number.NEGATIVE_INFINITY)
    report(1, idle)
    expect(alignment.minRetentionWatermark(70)).toBe(70)
    alignment.observeRetentionWatermark(1, 40)
    expect(alignment.minRetentionWatermark(0)).toBe(40)
    expect(alignment.minRetentionWatermark(60)).toBe(60)
    report(1, { ...idle, offset: 2, isIdle: false })
    expect(alignment.minRetentionWatermark(60)).toBe(40)
    // It never decreases.
    alignment.observeRetentionWatermark(1, 30)
    expect(alignment.minRetentionWatermark(60)).toBe(40)
  })
})

describe('order', () => {
  test('is canonical in any order of arrival', () => {
    const { alignment, push, released } = aligned([raw(100), raw()])
    push('c', 0, 20, { order: 2 })
    push('d', 1, 20, { order: 100 })
    push('b', 0, 20, { order: 1 })
    push('a', 0, 10, { order: 0 })
    alignment.advance(0, justBefore(200), 0)
    alignment.advance(1, justBefore(200), 0)
    expect(released()).toEqual(['a', 'b', 'c', 'd'])
    expect(alignment.frontier).toEqual({ time: 20, order: 100 })
    expect(alignment.counts).toEqual({ late: 0, releasedEarly: 0 })
  })

  test('late events are released at once, are counted, and do not move the frontier back', () => {
    const { alignment, push, released } = aligned([raw(), raw()], { time: 50, order: 7 })
    push('late', 0, 50, { order: 7 })
    push('later', 0, 40)
    push('not', 0, 50, { order: 8 })
    expect(alignment.lateHeld).toBe(2)
    expect(released({ nowMs: 0, ceiling: { time: 1, order: 0 } })).toEqual(['later', 'late'])
    expect(alignment.lateHeld).toBe(0)
    expect(alignment.frontier).toEqual({ time: 50, order: 7 })
    expect(alignment.counts).toEqual({ late: 2, releasedEarly: 0 })
    expect(alignment.held).toBe(1)
  })

  test('a source that makes no progress is not waited for, and what goes then is counted; one that does is', () => {
    const { alignment, push, report, released, at } = aligned([task, task, task])
    push('a', 0, 10)
    alignment.advance(1, justBefore(100), 0)
    at(1_000)
    report(2, { offset: 1, isAdvancing: true })
    at(1_900)
    const bounds = { stallMaxMs: 1_000 }
    expect(released({ nowMs: 2_000, ...bounds })).toEqual([])
    expect(released({ nowMs: 2_001, stallMaxMs: Number.POSITIVE_INFINITY })).toEqual([])
    expect(released({ nowMs: 2_001, ...bounds })).toEqual(['a'])
    expect(alignment.counts).toEqual({ late: 0, releasedEarly: 1 })
    expect(alignment.lastEarly).toEqual({ time: 10, source: 2, input: 0 })
    // The next one waits for as long, since it was read later.
    push('b', 0, 20)
    expect(released({ nowMs: 2_900, ...bounds })).toEqual([])
    expect(released({ nowMs: 2_901, ...bounds })).toEqual(['b'])
  })

  test('what a caught-up report covers stays covered, whatever the task sends afterwards', () => {
    const { push, report, released } = aligned([task, task])
    push('a', 0, 10)
    report(1, { offset: 1, isCaughtUp: true, observed: [justBefore(11), justBefore(0)] })
    push('b', 1, 5)
    report(1, { offset: 2 })
    push('c', 0, 20)
    expect(released()).toEqual(['b', 'a'])
  })

  test('dropped events hold back what comes behind the first of them, and the watermark', () => {
    const { alignment, push, released } = aligned([task])
    for (const [i, name] of ['a', 'b', 'c', 'd'].entries()) push(name, 0, 10 * (i + 1))
    expect(alignment.drop(2).map(({ name }) => name)).toEqual(['c', 'd'])
    alignment.setBarrier({ time: 30, order: 0 })
    expect(alignment.isBehindBarrier()).toBe(false)
    expect(released()).toEqual(['a', 'b'])
    expect(alignment.isBehindBarrier()).toBe(true)
    expect(alignment.watermark()).toEqual({ time: 30, order: -1 })
    push('e', 0, 50)
    expect(released()).toEqual([])
    alignment.setBarrier(null)
    expect(released()).toEqual(['e'])
  })

  test('a forced position releases early and counts it; a ceiling holds back events that are due', () => {
    const { alignment, push, released } = aligned([raw(), raw()])
    push('a', 0, 10)
    push('b', 0, 20)
    expect(released({ nowMs: 0, forced: { time: 10, order: 0 } })).toEqual(['a'])
    expect(alignment.counts).toEqual({ late: 0, releasedEarly: 1 })
    alignment.advance(1, justBefore(100), 0)
    expect(released({ nowMs: 0, ceiling: { time: 19, order: 0 } })).toEqual([])
    expect(released({ nowMs: 0, ceiling: { time: 20, order: 0 } })).toEqual(['b'])
  })

  test('the event time of a source never decreases', () => {
    const { alignment, push } = aligned([raw(), task])
    expect(alignment.maxEventTimeOf(0)).toBe(Number.NEGATIVE_INFINITY)
    push('a', 0, 20)
    push('b', 0, 10)
    expect(alignment.maxEventTimeOf(0)).toBe(20)
  })
})
