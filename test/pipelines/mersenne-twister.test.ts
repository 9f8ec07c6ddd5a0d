/** Draws against values that NumPy 2.4 (`RandomState`) and CPython 3.11 (`random.Random`) gave for the same seeds. */
import { describe, expect, test } from 'vitest'
import { createNumpyRandom, createPythonRandom } from '../../pipelines/mersenne-twister.ts'

function times<T>(count: number, draw: () => T): T[] {
  return Array.from({ length: count }, draw)
}

describe('createNumpyRandom', () => {
  test('gives the reference words, the 10,000th included', () => {
    const drawn = times(10_000, createNumpyRandom(5489).u32)
    expect(drawn.slice(0, 3)).toEqual([3499211612, 581869302, 3890346734])
    expect(drawn.at(-1)).toBe(4123659995)
  })

  test('takes the largest seed of one word', () => {
    expect(times(2, createNumpyRandom(4294967295).u32)).toEqual([419326371, 479346978])
  })

  test('double is random_sample', () => {
    const drawn = times(3, createNumpyRandom(0).double)
    expect(drawn).toEqual([0.5488135039273248, 0.7151893663724195, 0.6027633760716439])
  })

  test('uniform', () => {
    const random = createNumpyRandom(3)
    const drawn = times(3, () => random.uniform(5, 100))
    expect(drawn).toEqual([57.325800744584676, 72.27404314871995, 32.63595019672971])
  })

  test('normal gives both numbers of a pair', () => {
    const random = createNumpyRandom(3)
    const drawn = times(4, () => random.normal(10, 2))
    expect(drawn).toEqual([13.577256946860636, 10.87301970102398, 10.192994936144018, 6.273014593271018])
  })

  test('normal keeps the second number of a pair while others draw', () => {
    const random = createNumpyRandom(3)
    const drawn = [random.normal(0, 1), random.poisson(2.5), random.normal(0, 1), random.uniform(0, 1)]
    expect(drawn).toEqual([1.7886284734303186, 4, 0.43650985051198943, 0.20724287813818676])
  })

  test('poisson, and a rate of 0 costs no draw', () => {
    const random = createNumpyRandom(7)
    expect(times(20, () => random.poisson(2.5))).toEqual([0, 5, 0, 3, 1, 2, 2, 3, 2, 3, 3, 4, 3, 4, 4, 1, 1, 4, 2, 5])
    expect(times(2, () => random.poisson(0))).toEqual([0, 0])
    expect(random.double()).toBe(0.3087336572978354)
  })

  test('poisson near its limit, and rejected beyond it', () => {
    const random = createNumpyRandom(7)
    expect(times(10, () => random.poisson(9.5))).toEqual([9, 9, 12, 12, 9, 9, 12, 13, 10, 7])
    expect(() => random.poisson(10)).toThrow('the rate is 0 or more and less than 10, not 10')
    expect(() => random.poisson(-1)).toThrow('not -1')
  })

  test('permutation', () => {
    expect([...createNumpyRandom(0).permutation(10)]).toEqual([2, 8, 4, 9, 1, 6, 7, 3, 0, 5])
    expect([...createNumpyRandom(5).permutation(10_000).subarray(0, 5)]).toEqual([7054, 442, 3954, 2288, 3196])
    expect([...createNumpyRandom(1).permutation(1)]).toEqual([0])
    expect([...createNumpyRandom(1).permutation(0)]).toEqual([])
  })

  test.each([-1, 4294967296, 0.5, Number.NaN])('rejects the seed %d', (seed) => {
    expect(() => createNumpyRandom(seed)).toThrow(`a seed is one 32-bit word, not ${seed}`)
  })
})

describe('createPythonRandom', () => {
  test('gives the words of getrandbits(32), the 10,000th included', () => {
    const drawn = times(10_000, createPythonRandom(0).u32)
    expect(drawn.slice(0, 3)).toEqual([3626764237, 1654615998, 3255389356])
    expect(drawn.at(-1)).toBe(3292398474)
  })

  test('takes the largest seed of one word', () => {
    expect(times(2, createPythonRandom(4294967295).u32)).toEqual([2728839433, 2661025012])
  })

  test('double is random()', () => {
    const drawn = times(3, createPythonRandom(0).double)
    expect(drawn).toEqual([0.8444218515250481, 0.7579544029403025, 0.420571580830845])
  })

  test('below is what choice takes, lists of one and powers of two included', () => {
    const random = createPythonRandom(42)
    expect(times(12, () => random.below(10))).toEqual([1, 0, 4, 3, 3, 2, 1, 8, 1, 9, 6, 0])
    expect(times(3, () => random.below(1))).toEqual([0, 0, 0])
    expect(times(8, () => random.below(8))).toEqual([3, 0, 3, 6, 3, 7, 4, 0])
    expect(random.double()).toBe(0.7588073671297673)
  })

  test('below rejects an empty list, which would never end', () => {
    expect(() => createPythonRandom(0).below(0)).toThrow('nothing can be taken from a list of length 0')
  })

  /**
   * On both sides of each bound between pool and set, with seeds for which the two differ; `next` is the double drawn
   * afterwards.
   */
  test.each([
    { seed: 2, length: 21, count: 5, first: [1, 2, 19, 11, 5], sum: 38, next: 0.7359699890685233 },
    { seed: 2, length: 22, count: 5, first: [1, 2, 11, 5, 21], sum: 40, next: 0.8538343854854736 },
    { seed: 5, length: 85, count: 6, first: [79, 32, 45, 67, 3], sum: 285, next: 0.7759585674357169 },
    { seed: 2, length: 86, count: 6, first: [7, 11, 10, 46, 21], sum: 180, next: 0.8538343854854736 },
    { seed: 0, length: 277, count: 50, first: [197, 215, 20, 132, 261], sum: 7308, next: 0.7850477596234768 },
    { seed: 0, length: 278, count: 50, first: [197, 215, 20, 132, 261], sum: 7144, next: 0.9979716310861246 },
    { seed: 2, length: 6, count: 6, first: [0, 5, 4, 1, 3], sum: 15, next: 0.25158329759496567 },
    { seed: 3, length: 0, count: 0, first: [], sum: 0, next: 0.23796462709189137 },
  ])('sample: %j', ({ seed, length, count, first, sum, next }) => {
    const random = createPythonRandom(seed)
    const indexes = [...random.sample(length, count)]
    expect(indexes.slice(0, 5)).toEqual(first)
    expect(new Set(indexes).size).toBe(count)
    expect(indexes.reduce((total, index) => total + index, 0)).toBe(sum)
    expect(random.double()).toBe(next)
  })

  test('sample rejects more than there is', () => {
    expect(() => createPythonRandom(0).sample(2, 3)).toThrow('a sample of 3 cannot be taken from 2')
  })

  test('rejects a seed of more than one word', () => {
    expect(() => createPythonRandom(4294967296)).toThrow('a seed is one 32-bit word, not 4294967296')
  })
})
