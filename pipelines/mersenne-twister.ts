/**
 * Seeds in, pseudo-random draws out, bit for bit those of NumPy's legacy `RandomState` and of CPython's `random`: the
 * handbook generator calls them to repeat published draws. Both are the 32-bit Mersenne Twister (MT19937) and differ
 * in how they are seeded.
 */
import assert from 'node:assert/strict'

const words = 624
const shift = 397
const upperBit = 0x80000000
const lowerBits = 0x7fffffff
const twist = 0x9908b0df

export interface NumpyRandom {
  /** The next word, an integer in [0, 2^32). */
  u32(): number
  /** In [0, 1), 53 bits. */
  double(): number
  /** In [low, high). */
  uniform(low: number, high: number): number
  /** Polar method: every other call costs no draw. */
  normal(mean: number, standardDeviation: number): number
  /** Count of events at this mean rate; NumPy takes another way from a rate of 10 on, which is not here. */
  poisson(rate: number): number
  /** The integers 0 … length − 1 in random order. */
  permutation(length: number): Int32Array
}

export interface PythonRandom {
  /** The next word, an integer in [0, 2^32). */
  u32(): number
  /** In [0, 1), 53 bits. */
  double(): number
  /** An integer in [0, length): the index that `choice` takes in a list of this length. */
  below(length: number): number
  /** `count` distinct indexes in a list of this length, in the order in which `sample` takes them. */
  sample(length: number, count: number): Int32Array
}

/** `RandomState(seed)`; the seed is one 32-bit word. */
export function createNumpyRandom(seed: number): NumpyRandom {
  const { u32, double } = createTwister(seedByNumber(seed))
  let hasKept = false
  let kept = 0

  function standardNormal(): number {
    if (hasKept) {
      hasKept = false
      return kept
    }
    for (;;) {
      const x1 = 2 * double() - 1
      const x2 = 2 * double() - 1
      const radius = x1 * x1 + x2 * x2
      if (radius > 0 && radius < 1) {
        const factor = Math.sqrt((-2 * Math.log(radius)) / radius)
        hasKept = true
        kept = factor * x1
        return factor * x2
      }
    }
  }

  function poisson(rate: number): number {
    assert(rate >= 0 && rate < 10, `the rate is 0 or more and less than 10, not ${rate}`)
    if (rate === 0) return 0
    const floor = Math.exp(-rate)
    let count = 0
    for (let product = double(); product > floor; product *= double()) count++
    return count
  }

  function permutation(length: number): Int32Array {
    const indexes = Int32Array.from({ length }, (_, index) => index)
    for (let last = length - 1; last > 0; last--) {
      const mask = 0xffffffff >>> Math.clz32(last)
      let other = (u32() & mask) >>> 0
      while (other > last) other = (u32() & mask) >>> 0
      const moved = indexes[last]!
      indexes[last] = indexes[other]!
      indexes[other] = moved
    }
    return indexes
  }

  return {
    u32,
    double,
    uniform: (low, high) => low + (high - low) * double(),
    normal: (mean, standardDeviation) => mean + standardDeviation * standardNormal(),
    poisson,
    permutation,
  }
}

/** `random.Random(seed)`; the seed is one 32-bit word. */
export function createPythonRandom(seed: number): PythonRandom {
  const { u32, double } = createTwister(seedByKey(seed))

  function below(length: number): number {
    assert(length > 0 && length <= 0xffffffff, `nothing can be taken from a list of length ${length}`)
    const unused = Math.clz32(length)
    let index = u32() >>> unused
    while (index >= length) index = u32() >>> unused
    return index
  }

  function sample(length: number, count: number): Int32Array {
    assert(count >= 0 && count <= length, `a sample of ${count} cannot be taken from ${length}`)
    // CPython takes whichever of pool and set needs less memory. The two draw differently, so the rule is part of it.
    const setSize = 21 + (count > 5 ? 4 ** Math.ceil(Math.log(count * 3) / Math.log(4)) : 0)
    return length <= setSize ? sampleByPool(length, count, below) : sampleBySet(length, count, below)
  }

  return { u32, double, below, sample }
}

function sampleByPool(length: number, count: number, below: (length: number) => number): Int32Array {
  const pool = Int32Array.from({ length }, (_, index) => index)
  const taken = new Int32Array(count)
  for (let pick = 0; pick < count; pick++) {
    const index = below(length - pick)
    taken[pick] = pool[index]!
    pool[index] = pool[length - pick - 1]!
  }
  return taken
}

function sampleBySet(length: number, count: number, below: (length: number) => number): Int32Array {
  const seen = new Set<number>()
  while (seen.size < count) seen.add(below(length))
  return Int32Array.from(seen)
}

/** The recurrence over a seeded state, with the standard tempering. */
function createTwister(state: Uint32Array): { u32(): number; double(): number } {
  let next = words

  function refill(): void {
    for (let word = 0; word < words; word++) {
      const following = word + 1 < words ? word + 1 : 0
      const distant = word + shift < words ? word + shift : word + shift - words
      const joined = (state[word]! & upperBit) | (state[following]! & lowerBits)
      state[word] = state[distant]! ^ (joined >>> 1) ^ (joined & 1 ? twist : 0)
    }
    next = 0
  }

  function u32(): number {
    if (next === words) refill()
    let word = state[next++]!
    word ^= word >>> 11
    word ^= (word << 7) & 0x9d2c5680
    word ^= (word << 15) & 0xefc60000
    return (word ^ (word >>> 18)) >>> 0
  }

  return { u32, double: () => ((u32() >>> 5) * 67108864 + (u32() >>> 6)) / 9007199254740992 }
}

/** `init_genrand` of the reference implementation. */
function seedByNumber(seed: number): Uint32Array {
  assert(Number.isInteger(seed) && seed >= 0 && seed <= 0xffffffff, `a seed is one 32-bit word, not ${seed}`)
  const state = new Uint32Array(words)
  state[0] = seed
  for (let word = 1; word < words; word++) state[word] = Math.imul(1812433253, mixed(state, word)) + word
  return state
}

/** `init_by_array` of the reference implementation, for a key of one word. */
function seedByKey(seed: number): Uint32Array {
  assert(Number.isInteger(seed) && seed >= 0 && seed <= 0xffffffff, `a seed is one 32-bit word, not ${seed}`)
  const state = seedByNumber(19650218)
  let word = 1
  for (let step = 0; step < words; step++) {
    state[word] = (state[word]! ^ Math.imul(1664525, mixed(state, word))) + seed
    word = advance(state, word)
  }
  for (let step = 1; step < words; step++) {
    state[word] = (state[word]! ^ Math.imul(1566083941, mixed(state, word))) - word
    word = advance(state, word)
  }
  state[0] = 0x80000000
  return state
}

/** The word before this one, folded onto itself. */
function mixed(state: Uint32Array, word: number): number {
  const before = state[word - 1]!
  return before ^ (before >>> 30)
}

/** The last word precedes the first when the state is iterated again. */
function advance(state: Uint32Array, word: number): number {
  if (word + 1 < words) return word + 1
  state[0] = state[words - 1]!
  return 1
}
