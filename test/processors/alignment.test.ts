/** Alignment: when an event may go, source by source; nothing here waits, rounds and times are given. */
import { describe, expect, test } from 'vitest'
import { initialFrontier } from '../../processors/position.ts'
import { type Aligned, type AlignmentSource, createAlignment } from '../../processors/watermarks/alignment.ts'

type Sources = ReadonlyArray<{ readonly kind: 'raw'; readonly disorderMs: number } | { readonly kind: 'task' }>
const raw = (disorderMs = 0) => ({ kind: 'raw' as const, disorderMs })
const task = { kind: 'task' as const }

/** Behind all tasks that are sources. */
const rawSourceOf = (sources: Sources) => sources.filter(({ kind }) => kind === 'task').length
/** Before all that is of this time. */
const justBefore = (time: number) => ({ time, order: -1 })

interface Named extends Aligned {
  readonly name: string
}

function aligned(sources: Sources, start = initialFrontier) {
  // Every raw source is an input of its own, all tasks are of one.
  const firstTask = sources.findIndex(({ kind }) => kind === 'task')
  const placed = sources.map(
    (source, i): AlignmentSource => ({ ...source, input: source.kind === 'raw' ? i : firstTask }),
  )
  const alignment = createAlignment<Named>({ sources: placed, rawSourceOf: () => rawSourceOf(sources) }, start)
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
      input: placed[source]!.input,
      offset: offset++,
      ...rest,
    })
    alignment.advance(source, { time, order })
  }
  /** Names of those that may go, in the order in which they do. */
  function released(bounds: Parameters<typeof alignment.peek>[0] = { nowMs }): string[] {
    const names: string[] = []
    while (alignment.peek(bounds)) names.push(alignment.release(bounds).name)
    return names
  }
  return {
    alignment,
    push,
    released,
    at: (ms: number) => {
      nowMs = ms
    },
  }
}

describe('raw inputs', () => {
  test('of one source go at once', () => {
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
    // At 20 the other source may have more of the same instant.
    expect(released()).toEqual(['a'])
    push('d', 1, 21)
    expect(released()).toEqual(['b'])
  })

  test('go when a fetch that began after they were read found the others at their end', () => {
    const { alignment, push, released } = aligned([raw(), raw()])
    alignment.fetched(1, 1, true)
    push('a', 0, 10, { round: 1 })
    expect(released()).toEqual([])
    expect(alignment.awaitsEnd(0)).toBe(true)
    alignment.fetched(1, 2, true)
    expect(released()).toEqual(['a'])
  })

  test('wait for a source that was found with more to read', () => {
    const { alignment, push, released } = aligned([raw(), raw()])
    push('a', 0, 10)
    alignment.fetched(1, 2, false)
    expect(released()).toEqual([])
    expect(alignment.isAtEnd()).toBe(false)
  })

  test('wait out the declared disorder of their own source, by its clock or at its end in time of day', () => {
    const { alignment, push, released, at } = aligned([raw(5)])
    push('a', 0, 10)
    push('b', 0, 15)
    expect(released()).toEqual(['a'])
    // More is to be had: that is no waiting for the end.
    expect(alignment.awaitsEnd(0)).toBe(false)
    alignment.fetched(0, 1, true)
    expect(alignment.awaitsEnd(0)).toBe(true)
    alignment.fetched(0, 2, true)
    expect(alignment.awaitsEnd(0)).toBe(false)
    at(4)
    expect(released()).toEqual([])
    at(5)
    expect(released()).toEqual(['b'])
  })

  test('of another source wait for its disorder, too', () => {
    const { push, released } = aligned([raw(), raw(5)])
    push('a', 0, 10)
    push('b', 1, 15)
    expect(released()).toEqual([])
    push('c', 1, 16)
    expect(released()).toEqual(['a'])
  })
})

describe('tasks as sources', () => {
  test('are passed when the place that they have passed is at or beyond', () => {
    const { alignment, push, released } = aligned([task, task])
    push('a', 0, 10, { order: 5 })
    alignment.advance(1, justBefore(10))
    expect(released()).toEqual([])
    alignment.advance(1, { time: 10, order: 4 })
    expect(released()).toEqual([])
    alignment.advance(1, { time: 10, order: 5 })
    expect(released()).toEqual(['a'])
  })

  test('that are idle are passed for what lies at or before the place of its sender that they had heard of', () => {
    const { alignment, push, released } = aligned([task, task])
    push('a', 0, 10, { order: 1 })
    push('b', 0, 10, { order: 2 })
    const says = (offset: number, order: number) =>
      alignment.said(1, {
        offset,
        isIdle: true,
        observed: [{ time: 10, order }, justBefore(99), justBefore(99)],
        until: null,
      })
    says(6, 0)
    expect(released()).toEqual([])
    says(7, 1)
    expect(released()).toEqual(['a'])
    says(8, 2)
    expect(released()).toEqual(['b'])
  })

  test('that send something are idle no more; what is read again changes nothing', () => {
    const { alignment, push, released } = aligned([task, task])
    const observed = [justBefore(99), justBefore(99), justBefore(99)]
    push('a', 0, 10, { offset: 5 })
    alignment.said(1, { offset: 6, isIdle: true, observed, until: null })
    alignment.said(1, { offset: 7, isIdle: false, observed: [], until: null })
    alignment.said(1, { offset: 6, isIdle: true, observed, until: null })
    expect(released()).toEqual([])
    alignment.said(1, { offset: 8, isIdle: true, observed, until: null })
    alignment.said(1, { offset: 7, isIdle: false, observed: [], until: null })
    expect(released()).toEqual(['a'])
  })

  test('must have heard what was read of raw topics before an event of these goes', () => {
    const { alignment, push, released } = aligned([raw(), task])
    push('a', 0, 10, { offset: 3 })
    alignment.fetched(0, 2, true)
    const says = (offset: number, next: number) =>
      alignment.said(1, { offset, isIdle: true, observed: [justBefore(99), { time: next, order: 0 }], until: null })
    says(6, 3)
    expect(released()).toEqual([])
    says(7, 4)
    expect(released()).toEqual(['a'])
  })

  test('that are idle as far as a place are passed so far', () => {
    const { alignment, push, released } = aligned([task, task])
    push('a', 0, 10)
    push('b', 0, 20)
    alignment.said(1, { offset: 6, isIdle: true, observed: [justBefore(99), justBefore(99)], until: justBefore(15) })
    expect(released()).toEqual(['a'])
  })

  test('bring whoever reads them as far as the slowest, idle or not, and not beyond what is held', () => {
    const { alignment, push, released } = aligned([task, task])
    expect(alignment.reach()).toBeNull()
    alignment.advance(0, justBefore(50))
    expect(alignment.watermark()).toEqual(initialFrontier)
    alignment.advance(1, justBefore(40))
    expect(alignment.watermark()).toEqual(justBefore(40))
    alignment.said(1, { offset: 1, isIdle: true, observed: [justBefore(45), justBefore(40)], until: null })
    expect(alignment.watermark()).toEqual(justBefore(40))
    push('a', 0, 55, { order: 7 })
    alignment.advance(1, justBefore(70))
    alignment.advance(0, justBefore(80))
    expect(alignment.reach()).toEqual({ time: 55, order: 6 })
    expect(alignment.watermark()).toEqual({ time: 55, order: 6 })
    expect(released()).toEqual(['a'])
    expect(alignment.watermark()).toEqual(justBefore(70))
  })

  test('keep facts as far back as the slowest judges, one that is idle no longer than told', () => {
    const idle = { offset: 1, isIdle: true, observed: [], until: null }
    const { alignment } = aligned([task, task])
    expect(alignment.slowestTask(0)).toBe(Number.NEGATIVE_INFINITY)
    alignment.judged(0, 100)
    expect(alignment.slowestTask(0)).toBe(Number.NEGATIVE_INFINITY)
    alignment.said(1, idle)
    expect(alignment.slowestTask(70)).toBe(70)
    alignment.judged(1, 40)
    expect(alignment.slowestTask(0)).toBe(40)
    expect(alignment.slowestTask(60)).toBe(60)
    alignment.said(1, { ...idle, offset: 2, isIdle: false })
    expect(alignment.slowestTask(60)).toBe(40)
    // What is heard again goes back nowhere.
    alignment.judged(1, 30)
    expect(alignment.slowestTask(60)).toBe(40)
  })
})

describe('order', () => {
  test('is canonical, whatever the order of arrival', () => {
    const { alignment, push, released } = aligned([raw(100), raw()])
    push('c', 0, 20, { order: 2 })
    push('d', 1, 20, { order: 100 })
    push('b', 0, 20, { order: 1 })
    push('a', 0, 10, { order: 0 })
    alignment.advance(0, justBefore(200))
    alignment.advance(1, justBefore(200))
    expect(released()).toEqual(['a', 'b', 'c', 'd'])
    expect(alignment.frontier).toEqual({ time: 20, order: 100 })
    expect(alignment.counts).toEqual({ late: 0, releasedEarly: 0 })
  })

  test('late events go at once, are counted, and move nothing back', () => {
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

  test('a bound on waiting releases early and counts it; a ceiling holds back what is due', () => {
    const { alignment, push, released } = aligned([raw(), raw()])
    push('a', 0, 10)
    push('b', 0, 20)
    expect(released({ nowMs: 0, forced: { time: 10, order: 0 } })).toEqual(['a'])
    expect(alignment.counts).toEqual({ late: 0, releasedEarly: 1 })
    alignment.advance(1, justBefore(100))
    expect(released({ nowMs: 0, ceiling: { time: 19, order: 0 } })).toEqual([])
    expect(released({ nowMs: 0, ceiling: { time: 20, order: 0 } })).toEqual(['b'])
  })

  test('the clock of a source is its latest word', () => {
    const { alignment, push } = aligned([raw(), task])
    expect(alignment.clockOf(0)).toBe(Number.NEGATIVE_INFINITY)
    push('a', 0, 20)
    push('b', 0, 10)
    expect(alignment.clockOf(0)).toBe(20)
  })
})
