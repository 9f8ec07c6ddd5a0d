/**
 * Numbers in, their exactly rounded sum out, whatever their order. The slot reader calls it for every field that is
 * summed.
 *
 * A sum is a running total and what its roundings lost, as long as both are exact together: always so for integers
 * below 2^53, mostly for numbers of like size. What does not fit moves on to Shewchuk's growing expansion, a list of
 * doubles that do not overlap.
 */

/** Non-overlapping doubles of the whole exponent range: 2,098 bits at 53 a piece are 40. */
const partialsMax = 48

/** Sums stay finite up to here: 2^23 values of this size are below the largest double. 256 MB of rows are fewer. */
export const exactSumValueMax = 2 ** 1000

export interface ExactSum {
  total: number
  lost: number
  /** In growing magnitude; the first `used` count. The exact sum is that of these, `total` and `lost`. */
  partials: Float64Array
  used: number
  /** A value beyond `exactSumValueMax` was added: the sum is missing. */
  beyond: boolean
}

const noPartials = new Float64Array(0)

export function createExactSum(): ExactSum {
  return { total: 0, lost: 0, partials: noPartials, used: 0, beyond: false }
}

export function clearExactSum(sum: ExactSum): void {
  sum.total = 0
  sum.lost = 0
  sum.used = 0
  sum.beyond = false
}

export function addExact(sum: ExactSum, value: number): void {
  if (!(value <= exactSumValueMax && value >= -exactSumValueMax)) {
    sum.beyond = true
    return
  }
  const { total, lost } = sum
  const newTotal = total + value
  const error = roundingError(total, value, newTotal)
  const newLost = lost + error
  const lostError = roundingError(lost, error, newLost)
  if (lostError === 0) {
    sum.total = newTotal
    sum.lost = newLost
  } else {
    expand(sum, value)
  }
}

/** Adds the first `count` of these values. The running total stays in local variables as long as it is exact, for speed. */
export function addAllExact(sum: ExactSum, values: Float64Array, count: number): void {
  let total = 0
  let lost = 0
  for (let index = 0; index < count; index++) {
    const value = values[index]!
    // The first steps of addExact, which takes over where they are not exact.
    const newTotal = total + value
    const rounded = newTotal - total
    const error = total - (newTotal - rounded) + (value - rounded)
    const newLost = lost + error
    if (newLost - lost === error && newLost - error === lost && Math.abs(value) <= exactSumValueMax) {
      total = newTotal
      lost = newLost
    } else {
      addExact(sum, value)
    }
  }
  addExact(sum, total)
  addExact(sum, lost)
}

/** The sum of all values added, rounded once, half to even; 0 for none, NaN when one was beyond `exactSumValueMax`. */
export function exactSumOf(sum: ExactSum): number {
  if (sum.beyond) return Number.NaN
  // One addition of two doubles rounds their exact sum once.
  if (sum.used === 0) return sum.total + sum.lost
  expand(sum, 0)
  return roundedPartials(sum.partials, sum.used)
}

/** What `sum`, the rounded sum of two doubles, lacks to their exact sum (Knuth). */
function roundingError(a: number, b: number, sum: number): number {
  const bRounded = sum - a
  return a - (sum - bRounded) + (b - bRounded)
}

function expand(sum: ExactSum, value: number): void {
  // Most sums never need any.
  if (sum.partials.length === 0) sum.partials = new Float64Array(partialsMax)
  addPartial(sum, sum.total)
  addPartial(sum, sum.lost)
  addPartial(sum, value)
  sum.total = 0
  sum.lost = 0
}

function addPartial(sum: ExactSum, value: number): void {
  const { partials } = sum
  let carried = value
  let kept = 0
  for (let index = 0; index < sum.used; index++) {
    const partial = partials[index]!
    const next = carried + partial
    const error = roundingError(carried, partial, next)
    if (error !== 0) partials[kept++] = error
    carried = next
  }
  partials[kept++] = carried
  sum.used = kept
}

function roundedPartials(partials: Float64Array, used: number): number {
  let index = used - 1
  let total = partials[index--]!
  let error = 0
  while (index >= 0 && error === 0) {
    const larger = total
    const smaller = partials[index--]!
    total = larger + smaller
    error = smaller - (total - larger)
  }
  // The last addition rounded half to even. When it was a tie and a smaller partial pulls the same way as what was
  // lost, the exact sum lies past the half and the neighbour is right.
  if (error !== 0 && index >= 0 && Math.sign(error) === Math.sign(partials[index]!)) {
    const doubled = error * 2
    const neighbour = total + doubled
    if (neighbour - total === doubled) total = neighbour
  }
  return total
}
