/** A seed in, a stream of random numbers out whose state can be saved: xoshiro128** of Blackman and Vigna. Called by fits and learners. */

export interface Random {
  /** Below 1, not below 0; 32 random bits. */
  next(): number
  /** A whole number below `limit`, which is at most 2^32. */
  below(limit: number): number
  /** Of mean 0 and deviation 1. */
  normal(): number
  /** Written by every draw: saved and restored by the owner. */
  readonly state: Uint32Array
}

export function createRandom(seed: number): Random {
  const state = new Uint32Array(4)
  // Seeds that differ in one bit must not give states that do: splitmix spreads them.
  let spread = (Math.floor(seed / 2 ** 32) ^ seed) >>> 0
  for (let i = 0; i < 4; i++) {
    spread = (spread + 0x9e3779b9) >>> 0
    let bits = Math.imul(spread ^ (spread >>> 16), 0x85ebca6b)
    bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
    state[i] = bits ^ (bits >>> 16)
  }

  function bits(): number {
    const [a, b, c, d] = [state[0]!, state[1]!, state[2]!, state[3]!]
    const five = Math.imul(b, 5)
    const result = Math.imul((five << 7) | (five >>> 25), 9) >>> 0
    const mixed = d ^ b
    state[2] = c ^ a
    state[3] = mixed
    state[1] = b ^ state[2]!
    state[0] = a ^ mixed
    state[2] = state[2]! ^ (b << 9)
    state[3] = (mixed << 11) | (mixed >>> 21)
    return result
  }

  const next = () => bits() / 2 ** 32
  return {
    next,
    below: (limit) => Math.floor(next() * limit),
    // Box and Muller's; the logarithm is of a number above 0.
    normal: () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
    state,
  }
}
