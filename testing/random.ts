/** Seeded randomness for tests: mulberry32 (Tommy Ettinger, public domain). Print the seed with every failure. */

export interface Random {
  /** From 0 to 1, 1 excluded. */
  next(): number
  /** 0 to `count - 1`. */
  below(count: number): number
  pick<T>(list: readonly T[]): T
}

export function createRandom(seed: number): Random {
  let state = seed >>> 0
  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = (count: number) => Math.floor(next() * count)
  return { next, below, pick: (list) => list[below(list.length)]! }
}
