/**
 * What the lines of a backtest learn from and when: a custom model records all that it learns and scores. Nothing may come
 * from the future, nothing may be missing.
 */
import { describe, expect, test } from 'vitest'
import { createBacktest } from '../../../online-model/backtest/backtest.ts'
import { dayMs, type LineName, protocolOf } from '../../../online-model/backtest/protocol.ts'
import { customModel } from '../../../schemas/definition/definition.ts'
import type { Outcome } from '../../../schemas/plan/label-outcome.ts'
import type { FeaturePlan } from '../../../schemas/plan/plan.ts'
import { createRandom } from '../../../testing/random.ts'

const testFrom = 50 * dayMs
const delay = 2 * dayMs
const publishEveryMs = dayMs / 4

interface Lesson {
  readonly time: number
  readonly label: number
}

/** Weights name the lessons that they come from: how many of which learner. */
interface Noted {
  readonly of: number
  readonly count: number
}

interface Event {
  readonly time: number
  readonly id: string
  readonly row?: boolean
  readonly outcome?: Outcome
}

function recorder() {
  /** By learner or fit, in the order in which they began. */
  const lessons: Lesson[][] = []
  const asked: Array<{ readonly weights: Noted; readonly time: number }> = []
  const begin = () => {
    const list: Lesson[] = []
    return { list, of: lessons.push(list) - 1 }
  }
  const model = customModel<Noted>({
    name: 'recorder',
    fit({ rows, rowCount, labels }) {
      const { list, of } = begin()
      for (let row = 0; row < rowCount; row++) list.push({ time: rows[row * 2]!, label: labels[row]! })
      return { of, count: rowCount }
    },
    predictor(weights) {
      return (vector) => {
        // A fit is tried on a vector without values.
        if (!Number.isNaN(vector[0])) asked.push({ weights, time: vector[0]! })
        return 0.5
      }
    },
    learner() {
      const { list, of } = begin()
      return {
        learn: (vector, label) => void list.push({ time: vector[0]!, label }),
        weights: () => ({ of, count: list.length }),
        save: () => null,
      }
    },
  })
  return { model, lessons, asked }
}

/** 60 days of events, a fifth of them positive with a label after up to three days, a few of them corrected or withdrawn. */
function events(seed: number): Event[] {
  const random = createRandom(seed)
  const all: Event[] = []
  for (let n = 0; n < 3_000; n++) {
    const time = Math.floor(random.next() * 62 * dayMs)
    all.push({ time, id: String(n), row: true })
    if (random.next() > 0.2) continue
    const labelled = time + Math.floor(random.next() * 3 * dayMs)
    all.push({ time: labelled, id: String(n), outcome: 1 })
    if (random.next() < 0.2) {
      all.push({ time: labelled + Math.floor(random.next() * dayMs), id: String(n), outcome: random.pick([0, null]) })
    }
  }
  return all.sort((a, b) => a.time - b.time || Number(b.row ?? false) - Number(a.row ?? false))
}

async function run(seed: number, lines: readonly LineName[]) {
  const { model, lessons, asked } = recorder()
  const feature = (name: string): FeaturePlan => ({ name, identity: name, entity: null, compute: () => 0 })
  const backtest = await createBacktest({
    plan: {
      features: [feature('time'), feature('random')],
      label: { stream: 1, value: 1, otherwise: { value: 0, afterMs: delay } },
      model,
      learn: { continuous: null, retrain: null, promoteIf: { metric: 'averagePrecision' } },
    },
    recordBytesOf: () => 100,
    lines,
    protocol: protocolOf(testFrom, delay),
    seed: 0,
    publishEveryMs,
    elapsedMs: () => 0,
    signal: new AbortController().signal,
    printLine: () => undefined,
  })
  const all = events(seed)
  for (const { time, id, row, outcome = null } of all) {
    if (!row) await backtest.label(id, outcome, time)
    else if (time < testFrom + 7 * dayMs) {
      await backtest.row({ id, time, key: `k${Number(id) % 40}`, vector: [time, Number(id) / 3_000] })
    }
  }
  const result = backtest.finish()
  backtest.close()
  return { all, lessons, asked, result }
}

/** Outcome of an event by that time, the instant included. */
function outcomeBy(all: readonly Event[], id: string, timeMs: number): Outcome {
  const labels = all.filter((event) => !event.row && event.id === id && event.time <= timeMs)
  return labels.at(-1)?.outcome ?? null
}

const rowsOf = (all: readonly Event[], until: number) => all.filter(({ row, time }) => row && time < until)
const testRows = (all: readonly Event[]) => rowsOf(all, testFrom + 7 * dayMs).filter(({ time }) => time >= testFrom)
/** The last instant at which something is published before a time; the first is after the first event. */
const publishedBefore = (time: number) => Math.floor(time / publishEveryMs) * publishEveryMs

describe('continuous', () => {
  test.each([1, 2, 3])(
    'learns each event once, in order, with the label that counts two days later, seed %i',
    async (seed) => {
      const { all, lessons, asked } = await run(seed, ['continuous'])
      expect(lessons).toHaveLength(1)
      const expected = rowsOf(all, testFrom + 7 * dayMs).map(({ id, time }) => ({
        time,
        label: outcomeBy(all, id, time + delay) ?? 0,
      }))
      expect(lessons[0]!.length).toBeGreaterThan(2_000)
      expect(lessons[0]).toEqual(expected.slice(0, lessons[0]!.length))
      // Each test event is scored by the version that was published last: taught all that counted by then and nothing else.
      expect(asked.map(({ time }) => time)).toEqual(testRows(all).map(({ time }) => time))
      for (const { weights, time } of asked) {
        const counted = expected.filter((lesson) => lesson.time + delay < publishedBefore(time))
        expect(weights.count).toBe(counted.length)
      }
    },
  )
})

describe('arriving', () => {
  test.each([4, 5])('learns from labels at once, and from the rest when its time is out, seed %i', async (seed) => {
    const { all, lessons, asked } = await run(seed, ['arriving'])
    const lastMs = all.at(-1)!.time
    const times = new Map(rowsOf(all, testFrom + 7 * dayMs).map(({ id, time }) => [id, time]))
    const atOnce = all.flatMap(({ id, row, outcome, time: at }, i) => {
      const time = times.get(id)
      if (row || outcome === null || outcome === undefined || time === undefined) return []
      const before =
        all
          .slice(0, i)
          .filter((event) => !event.row && event.id === id)
          .at(-1)?.outcome ?? null
      return before === outcome ? [] : [{ at, time, label: outcome as number }]
    })
    const atLast = [...times].flatMap(([id, time]) =>
      time + delay < lastMs && outcomeBy(all, id, time + delay) === null ? [{ at: time + delay, time, label: 0 }] : [],
    )
    const expected = [...atOnce, ...atLast].sort((a, b) => a.at - b.at)
    expect(lessons[0]).toEqual(expected.map(({ time, label }) => ({ time, label })))
    for (const { weights, time } of asked) {
      expect(weights.count).toBe(expected.filter(({ at }) => at < publishedBefore(time)).length)
    }
  })
})

describe('retrained', () => {
  test.each([6, 7])('is fitted on four weeks whose labels count when the test begins, seed %i', async (seed) => {
    const { all, lessons, asked, result } = await run(seed, ['retrained'])
    const [from, until] = [testFrom - delay - 28 * dayMs, testFrom - delay]
    const expected = rowsOf(all, until)
      .filter(({ time }) => time >= from)
      .map(({ id, time }) => ({ time, label: outcomeBy(all, id, testFrom - 1) ?? 0 }))
    expect(lessons).toEqual([expected])
    expect(asked.map(({ time }) => time)).toEqual(testRows(all).map(({ time }) => time))
    const [line] = result.lines
    expect(line).toMatchObject({ name: 'retrained', taughtRows: expected.length, note: expect.any(String) })
    // Ties in the order get the share of positives.
    const { averagePrecision, positives, rows, auc } = line!.wholeWeek
    expect([averagePrecision, auc]).toEqual([positives / rows, 0.5])
    expect(rows).toBe(result.testRows)
    expect(positives).toBe(testRows(all).filter(({ id }) => outcomeBy(all, id, Number.POSITIVE_INFINITY) === 1).length)
    expect(line!.measured.rows).toBeLessThan(rows)
  })
})

test('split is the same on any model of the definition', async () => {
  const { result, lessons } = await run(8, ['split'])
  expect(lessons).toEqual([])
  expect(result.lines.map(({ name, what }) => [name, what])).toEqual([
    ['split', 'logistic regression, trained on 7 days'],
  ])
})
