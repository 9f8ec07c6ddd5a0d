/** Sizes and costs of a line in, the law out: exponent of the power law that fits best, and a sentence. Pure; called by `costs.ts`. */
import assert from 'node:assert/strict'
import type { LinePoint, MeasuredLine } from './cost-line.ts'

export interface Law {
  /** Slope of log cost over log size, by least squares. */
  readonly exponent: number
  /** Between the two largest sizes, where what does not grow weighs least. */
  readonly lastExponent: number
  /** Cost at the largest size over that at the smallest. */
  readonly factor: number
}

/** Costs are positive, sizes too, at least two of them different, in ascending order. */
export function lawOf(points: ReadonlyArray<Pick<LinePoint, 'size' | 'cost'>>): Law {
  assert(points.length > 1 && points.every(({ size, cost }) => size > 0 && cost.median > 0), 'a law needs two points')
  const logs = points.map(({ size, cost }) => [Math.log(size), Math.log(cost.median)] as const)
  const [first, last] = [points[0]!, points.at(-1)!]
  return {
    exponent: slope(logs),
    lastExponent: slope(logs.slice(-2)),
    factor: last.cost.median / first.cost.median,
  }
}

function slope(points: ReadonlyArray<readonly [number, number]>): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length
  const [meanX, meanY] = [mean(points.map(([x]) => x)), mean(points.map(([, y]) => y))]
  const products = points.map(([x, y]) => (x - meanX) * (y - meanY))
  const squares = points.map(([x]) => (x - meanX) ** 2)
  return mean(products) / mean(squares)
}

type LawLine = Pick<MeasuredLine, 'name' | 'unit'> & { readonly points: Parameters<typeof lawOf>[0] }

const flatMax = 0.05
const linear = { from: 0.9, until: 1.1 }

/** One sentence. */
export function lawText({ name, unit, points }: LawLine): string {
  const { exponent, lastExponent, factor } = lawOf(points)
  const [from, to] = [points[0]!.size, points.at(-1)!.size].map((size) => size.toLocaleString('en-US'))
  return (
    `${name}: cost ∝ size^${exponent.toFixed(2)}, ${growth(exponent)}; from ${from} to ${to} ${unit} × ${factor.toLocaleString('en-US', { maximumSignificantDigits: 3 })}, ` +
    `between the last two sizes with exponent ${lastExponent.toFixed(2)} (${growth(lastExponent)}).`
  )
}

function growth(exponent: number): string {
  if (exponent < -flatMax) return 'falling'
  if (exponent <= flatMax) return 'flat'
  if (exponent < linear.from) return 'slower than the size'
  return exponent <= linear.until ? 'in proportion to the size' : 'faster than the size'
}
