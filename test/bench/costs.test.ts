/** The job `costs`: its definitions, streams, law, picture and table, and one small point through the real loop. No time is asserted. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { base, type CostPoint, costLines } from '../../bench/costs/axes.ts'
import type { MeasuredLine } from '../../bench/costs/cost-line.ts'
import { costTable } from '../../bench/costs/cost-table.ts'
import { measureLines } from '../../bench/costs/costs.ts'
import { costDefinition } from '../../bench/costs/definition.ts'
import { costEvents, eventsUntilFull, windowMs } from '../../bench/costs/events.ts'
import { lawOf, lawText } from '../../bench/costs/law.ts'
import { type CostFigures, measureCost } from '../../bench/costs/measure.ts'
import { costPicture } from '../../bench/costs/picture.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import { systemClock } from '../../runtime/clock.ts'
import { compile } from '../../schemas/plan/compile.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const cost = (median: number) => ({ min: median / 2, median, max: median * 2 })
const seed = 1

describe('a definition', () => {
  test.each([3, 15, 30, 60, 100])('of %i features compiles, in two stages of as many aggregates', (features) => {
    for (const kind of ['sliding', 'max'] as const) {
      const plan = compile(costDefinition(features < 15 ? 15 : features, kind))
      expect(plan.features.length).toBe(Math.max(15, features))
      const slots = plan.entityStages.map(({ entity }) => entity.slots.length)
      expect(Math.abs(slots[0]! - slots[1]!)).toBeLessThanOrEqual(1)
      const kinds = new Set(plan.entityStages.flatMap(({ entity }) => entity.slots.map(({ kind }) => kind)))
      expect(kinds.has('max')).toBe(kind === 'max')
    }
  })

  test('of 15 features has as many slots of each stage as card-fraud, but for its chargebacks', () => {
    const plan = compile(costDefinition(15, 'sliding'))
    expect(plan.features.map(({ name }) => name).slice(0, 4)).toEqual(['amount', 'weekend', 'night', 'accountCount1d'])
    expect(compile(cardFraud).features.length).toBe(plan.features.length)
  })

  test('of more features than there are aggregates is refused', () => {
    expect(() => costDefinition(1_000, 'sliding')).toThrow('expected at most 111 features, received 1000')
  })
})

describe('a stream', () => {
  test('has every account and shop once, then draws evenly, at the rate that fills the windows', () => {
    const point = { ...base, entities: 50, facts: 20 }
    const events = costEvents(point, seed)
    const taken = Array.from({ length: 1_000 }, () => events.next().value!.values)
    for (const key of ['accountId', 'shopId']) {
      expect(new Set(taken.slice(0, 50).map((values) => values[key])).size).toBe(50)
      expect(new Set(taken.slice(50).map((values) => values[key])).size).toBe(50)
    }
    expect(Number(taken[999]!.at) - Number(taken[0]!.at)).toBe((999 * windowMs) / 1_000)
    expect(eventsUntilFull(point)).toBe(Math.ceil((1_000 * 31) / 30))
    const again = costEvents(point, seed)
    expect(Array.from({ length: 1_000 }, () => again.next().value!.values)).toEqual(taken)
  })
})

describe('the law', () => {
  const points = (costOf: (size: number) => number) =>
    [10, 100, 1_000, 10_000].map((size) => ({ size, cost: cost(costOf(size)) }))

  test('of a power is its exponent', () => {
    const law = lawOf(points((size) => 3 * size ** 0.7))
    expect(law.exponent).toBeCloseTo(0.7)
    expect(law.lastExponent).toBeCloseTo(0.7)
    expect(law.factor).toBeCloseTo(1_000 ** 0.7)
  })

  test('of a fixed part and one that grows says what the last two sizes do', () => {
    const { exponent, lastExponent } = lawOf(points((size) => 20 + size / 100))
    expect(exponent).toBeLessThan(0.3)
    expect(lastExponent).toBeGreaterThan(0.5)
  })

  test('is a sentence', () => {
    expect(lawText({ name: 'facts', unit: 'facts in the window', points: points((size) => size / 10) })).toBe(
      'facts: cost ∝ size^1.00, in proportion to the size; from 10 to 10,000 facts in the window × 1,000, between the last two sizes ' +
        'with exponent 1.00 (in proportion to the size).',
    )
    const shapes = [-0.3, 0, 0.5, 1.5].map((exponent) =>
      lawText({ name: 'x', unit: 'x', points: points((size) => size ** exponent) }),
    )
    expect(shapes.map((text) => /\d, ([a-z ]+);/.exec(text)![1])).toEqual([
      'falling',
      'flat',
      'slower than the size',
      'faster than the size',
    ])
  })

  test('needs two points', () => {
    expect(() => lawOf([{ size: 1, cost: cost(1) }])).toThrow('a law needs two points')
  })
})

const figures = (facts: number, isFull = true): CostFigures => ({
  filled: isFull ? facts : facts / 4,
  isFull,
  roundEvents: 10,
  rounds: [1, 2, 3].map((usPerEvent) => ({ usPerEvent, usPerStep: 2 })),
  predictions: 40,
  residentMb: 100.4,
})
const ofFacts = (facts: number): CostPoint => ({ ...base, entities: 1, facts })
const line = { name: 'facts & <more>', unit: 'facts', sizeOf: ({ facts }: CostPoint) => facts }

describe('lines', () => {
  test('measure a point that two share once, and nothing beyond a size that was not reached', async () => {
    const asked: number[] = []
    const lines = await measureLines(
      [
        { ...line, points: [10, 100, 1_000].map(ofFacts) },
        { ...line, points: [10, 1_000].map(ofFacts) },
      ],
      async ({ facts }) => {
        asked.push(facts)
        return figures(facts, facts < 100)
      },
      () => undefined,
    )
    expect(asked).toEqual([10, 100, 1_000])
    expect(lines.map(({ points, skipped }) => [points.map(({ size }) => size), skipped])).toEqual([
      [[10, 25], [1_000]],
      [[10, 250], []],
    ])
    expect(lines[0]!.points[0]).toMatchObject({
      cost: { min: 1, median: 2, max: 3 },
      steps: { min: 0.5, median: 1, max: 1.5 },
    })
  })

  test('are those of the issue, each with the base in it', () => {
    expect(costLines.map(({ points, sizeOf }) => points.map(sizeOf))).toEqual([
      [15, 30, 60, 100],
      [1_000, 5_000, 10_000, 100_000, 1_000_000],
      [10, 60, 100, 1_000, 10_000, 100_000, 1_000_000],
      [10, 60, 100, 1_000, 10_000, 100_000, 1_000_000],
      [4, 16, 64],
    ])
    const same = ({ features, entities, facts, partitions }: CostPoint) =>
      [features, entities, facts, partitions].join() === [15, 5_000, 60, 4].join()
    for (const { points } of costLines) expect(points.filter(same).length).toBe(1)
  })
})

function measuredLine(name: string, sizes: readonly number[]): MeasuredLine {
  const points = sizes.map((size) => ({
    point: ofFacts(size),
    figures: figures(size),
    loadBefore: 1.234,
    size,
    cost: cost(Math.sqrt(size)),
    steps: cost(1),
  }))
  return { name, unit: 'facts', points, skipped: [] }
}

test('the table has a row for every point', () => {
  const table = costTable([measuredLine('facts', [10, 1_000_000]), measuredLine('partitions', [4])])
  expect(table.length).toBe(2 + 3)
  expect(table[3]).toBe(
    '| facts | 1,000,000 | 15 | 1 | 1,000,000 | 4 | 500 / **1,000** / 2,000 | 0.500 / **1** / 2 | 100 | 1.23 |',
  )
  const [unfilled] = [{ ...measuredLine('facts', [10]).points[0]!, figures: figures(10_000, false) }]
  expect(costTable([{ ...measuredLine('facts', []), points: [unfilled] }])[2]).toContain(
    '10, filled with 2,500 events only',
  )
})

describe('the picture', () => {
  const lines = [measuredLine('facts & <more>', [10, 1_000, 1_000_000]), measuredLine('partitions', [4, 16, 64])]
  const picture = costPicture(lines)

  test('is well-formed and small', () => {
    expect(Buffer.byteLength(picture)).toBeLessThan(20_000)
    const open: string[] = []
    for (const [, isEnd, tag, isEmpty] of picture.matchAll(/<(\/?)([a-z]+)(?:\s[a-zA-Z:-]+\d?="[^"<]*")*\s*(\/?)>/g)) {
      if (isEnd) expect(open.pop()).toBe(tag)
      else if (!isEmpty) open.push(tag!)
    }
    expect(open).toEqual([])
    // Whatever is no tag has no angle bracket, and no ampersand but of an entity.
    const texts = picture.replaceAll(/<(\/?)([a-z]+)(?:\s[a-zA-Z:-]+\d?="[^"<]*")*\s*(\/?)>/g, '')
    expect(texts).not.toMatch(/[<>]|&(?!amp;|lt;|gt;)/)
    expect(picture).toContain('>facts &amp; &lt;more&gt;</text>')
  })

  test('has all points in it, in the frame, at logarithmic places', () => {
    const circles = [...picture.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"[^>]*><title>([^<]*)<\/title>/g)]
    const titles = circles.map(([, , , title]) => title)
    expect(titles).toEqual(
      ['facts &amp; &lt;more&gt; 10', 'facts &amp; &lt;more&gt; 1,000', 'facts &amp; &lt;more&gt; 1,000,000']
        .concat(['partitions 4', 'partitions 16', 'partitions 64'])
        .map((name, i) => `${name}: ${Math.sqrt([10, 1_000, 1_000_000, 4, 16, 64][i]!)} µs`),
    )
    const [xs, ys] = [circles.map(([, x]) => Number(x)), circles.map(([, , y]) => Number(y))]
    for (const x of xs) expect(64 <= x && x <= 660).toBe(true)
    for (const y of ys) expect(44 <= y && y <= 410).toBe(true)
    const ratio = (xs[2]! - xs[1]!) / (xs[1]! - xs[0]!)
    expect(ratio).toBeCloseTo(Math.log(1_000) / Math.log(100), 1)
    expect((ys[2]! - ys[1]!) / (ys[1]! - ys[0]!)).toBeCloseTo(ratio, 1)
  })
})

test('a point through the real loop: every event is predicted, whatever is varied', async () => {
  const points: CostPoint[] = [
    { ...base, entities: 20, facts: 5 },
    { features: 30, kind: 'max', entities: 3, facts: 40, partitions: 16 },
  ]
  for (const point of points) {
    const order = { point, seed, rounds: 2, roundEvents: 50, warmUpEventsMin: 150, fillCpuSecondsMax: 60 }
    const measured = await measureCost(order, systemClock)
    expect(measured).toMatchObject({ filled: 150, isFull: true, roundEvents: 50, predictions: 250 })
    expect(measured.rounds.length).toBe(2)
    for (const { usPerEvent, usPerStep } of measured.rounds) expect(Math.min(usPerEvent, usPerStep)).toBeGreaterThan(0)
  }
})

test('a point that cannot be filled in time is measured as it is, and says so', async () => {
  const order = { point: base, seed, rounds: 1, roundEvents: 20, warmUpEventsMin: 0, fillCpuSecondsMax: 1e-9 }
  const { filled, isFull, predictions } = await measureCost(order, systemClock)
  expect([filled, isFull, predictions]).toEqual([2_000, false, 2_020])
})

test.each([
  ['--jobs costs,w1', 'costs runs by itself; received costs,w1.'],
  ['--jobs w1 --picture a.svg', '--picture needs --jobs costs, which it shows.'],
  ['--jobs costs --json a.json --against peers', '--jobs costs prints tables of its own: leave out --json, --against.'],
])('%s is refused', (options, message) => {
  const args = ['--import', 'tsx', 'bench/main.ts', ...options.split(' ')]
  const { status, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' })
  expect(stderr).toContain(message)
  expect(status).toBe(2)
})
