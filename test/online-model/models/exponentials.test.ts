/** The exponential and the logarithm of scoring: the bits that the engine gives where its C++ is compiled as it was written. */
import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { exp, log1p } from '../../../online-model/models/exponentials.ts'
import { createRandom } from '../../../online-model/models/random.ts'
import { drawn } from '../../support/nightly.ts'

/** Where the algorithms take another way: every double near these is tried. */
const edges = {
  exp: [
    0.3465735912322998,
    1.0397205352783203,
    1,
    709.782712893384,
    710.4758600739439,
    -708.3964185322641,
    -745.1332191019411,
    2 ** -28,
  ],
  log1p: [
    0.4142136573791504,
    -0.292893648147583,
    2 ** -29,
    2 ** -54,
    2 ** 52,
    2 ** 53,
    1,
    3,
    7,
    2 ** 20,
    3.000003814697266,
    6.999988555908203,
  ],
}
const special = [0, -0, 1, -1, -1.5, 5e-324, -5e-324, 1.7976931348623157e308, Infinity, -Infinity, NaN]
const seed = 7
const count = drawn({ always: 200_000, nightly: 20_000_000 })

/** Any bits, numbers of the size of log odds and of amounts, and those near the edges. */
function* arguments_(near: readonly number[]): Generator<number> {
  yield* special
  const random = createRandom(seed)
  const double = new Float64Array(1)
  const bits = new BigUint64Array(double.buffer)
  const words = new Uint32Array(double.buffer)
  for (const edge of near) {
    for (const sign of [1, -1]) {
      for (let step = -500n; step <= 500n; step++) {
        double[0] = sign * edge
        bits[0] = bits[0]! + step
        yield double[0]!
      }
    }
  }
  const sizes = [1e-7, 1, 4, 40, 1_600, 1e6, 1e12]
  for (let i = 0; i < count; i++) {
    if (i % 2 === 0) yield (random.next() - 0.4) * sizes[random.below(sizes.length)]!
    else {
      words[0] = random.next() * 2 ** 32
      words[1] = random.next() * 2 ** 32
      yield double[0]!
    }
  }
}

describe.each([
  ['exp', exp, Math.exp, 'df622398283d2d38', edges.exp],
  ['log1p', log1p, Math.log1p, '151cac7e831eac52', edges.log1p],
] as const)('%s', (_, own, engine, digest, near) => {
  // Elsewhere a compiler may have fused products with sums.
  test.runIf(process.arch === 'x64')(`is that of the engine on x64, bit for bit (seed ${seed})`, () => {
    const wrong: number[] = []
    for (const x of arguments_(near)) if (!Object.is(own(x), engine(x))) wrong.push(x)
    expect(wrong).toEqual([])
  })

  test('is the same on every machine', () => {
    const hash = createHash('sha256')
    let results = 0
    for (const x of arguments_(near)) {
      hash.update(`${own(x)} `)
      if (++results === 100_000) break
    }
    expect(hash.digest('hex').slice(0, 16)).toBe(digest)
  })
})
