/**
 * A fixed piece of work that knows nothing of this project: numbers read all over a typed array that no cache holds, a hash of bytes,
 * objects in a map. What it costs says how fast the machine is at the moment. Called by the guard between the rounds of what it measures.
 */

/** 8 MB, as the facts of a pipeline are. */
const numbers = 1_048_576
const readsPerStep = 2_048
const bytesTotal = 8_192
const objects = 500

export interface Calibration {
  /** One step; what it returns depends on every part of the work, so that none can be left out. */
  step(): number
}

export function createCalibration(): Calibration {
  const values = Float64Array.from({ length: numbers }, (_, i) => (i % 10_007) / 100)
  const bytes = Uint8Array.from({ length: bytesTotal }, (_, i) => (i * 31) & 0xff)
  let seed = 1

  function sumNumbers(): number {
    let sum = 0
    let at = seed
    for (let i = 0; i < readsPerStep; i++) {
      at = (Math.imul(at, 1_664_525) + 1_013_904_223) | 0
      sum += values[(at >>> 8) & (numbers - 1)]!
    }
    return sum
  }

  function hashBytes(): number {
    let hash = 0x811c9dc5 ^ seed
    for (let i = 0; i < bytesTotal; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193)
    return hash >>> 0
  }

  function keepObjects(): number {
    const byKey = new Map<string, { readonly id: number; count: number; readonly last: readonly number[] }>()
    for (let i = 0; i < objects; i++) {
      const key = `entity ${(i * seed) % 97}`
      const known = byKey.get(key)
      if (known) known.count += known.last.length
      else byKey.set(key, { id: i, count: 1, last: [i, seed] })
    }
    let total = 0
    for (const { id, count } of byKey.values()) total += id + count
    return total
  }

  return {
    step() {
      seed = (seed % 1_000) + 1
      return sumNumbers() + hashBytes() + keepObjects()
    },
  }
}
