/** The index of ids against a plain list: everything that was added and not removed is found, and nothing is left behind. */
import { expect, test } from 'vitest'
import {
  addId,
  createIdIndex,
  findEntry,
  firstEntry,
  type IdIndex,
  removeId,
  stepMs,
  stepTime,
} from '../../feature-store/id-index.ts'
import { createRandom } from '../../testing/random.ts'

/** When the facts of an id may be, in steps. */
function stepsOf(index: IdIndex, high: number, newest: number): number[] {
  const steps: number[] = []
  for (let at = findEntry(index, high, firstEntry(index, high)); at !== -1; at = findEntry(index, high, at + 2)) {
    steps.push(stepTime(index, at, newest) / stepMs)
  }
  return steps.sort((a, b) => a - b)
}

test.each(Array.from({ length: 20 }, (_, i) => i + 1))('whatever is added and removed: seed %i', (seed) => {
  const random = createRandom(seed)
  const index = createIdIndex(0)
  // Few different ones, so that entries are alike and lie in each other's way; 0 is no mark of its own.
  const highs = Array.from({ length: 60 }, (_, i) => [0, 1, -1, random.below(2 ** 31) | 0, i * 512][i % 5]!)
  const kept: Array<{ readonly high: number; readonly time: number }> = []
  const newest = 1e12
  for (let step = 0; step < 3_000; step++) {
    const isFull = kept.length > random.below(800)
    if (isFull && kept.length > 0) {
      const [gone] = kept.splice(random.below(kept.length), 1)
      removeId(index, gone!.high, gone!.time)
    } else {
      const fact = { high: random.pick(highs), time: newest - random.below(40) * 1_000 }
      kept.push(fact)
      addId(index, fact.high, fact.time)
    }
    if (step % 50 !== 0) continue
    for (const high of highs) {
      const alike = kept.filter((fact) => (fact.high || 1) === (high || 1))
      expect(stepsOf(index, high, newest)).toEqual(
        alike.map(({ time }) => Math.floor(time / stepMs)).sort((a, b) => a - b),
      )
    }
  }
  for (const { high, time } of kept) removeId(index, high, time)
  expect(index.used).toBe(0)
  expect(index.entries.every((word, at) => at % 2 === 1 || word === 0)).toBe(true)
})

test('a time is the last that the step stands for, in any century', () => {
  const index = createIdIndex(1)
  for (const time of [-6e13, -1, 0, 1.7e12, 2.5e14]) {
    addId(index, 7, time)
    const at = firstEntry(index, 7)
    for (const later of [0, 1, stepMs, 1e12, 1e13]) {
      const begins = stepTime(index, at, time + later)
      expect(begins <= time && time < begins + stepMs).toBe(true)
    }
    removeId(index, 7, time)
  }
  expect(() => removeId(index, 7, 0)).toThrow('an id was not in the index')
})
