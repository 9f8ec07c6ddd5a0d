/** A short simulation of the real loop, and whether the same seed is the same run. `npm run simulate` runs as many as are wanted. */
import { expect, test } from 'vitest'
import { drawn } from '../support/nightly.ts'
import { runScenario } from './run-scenario.ts'

const firstSeed = 1_000_000
const schedules = drawn({ always: 25, nightly: 80 })

test(`${schedules} schedules of faults: nothing is lost, doubled or changed`, async () => {
  const violated: string[] = []
  for (let seed = firstSeed; seed < firstSeed + schedules; seed++) {
    const { violations } = await runScenario(seed)
    if (violations.length > 0)
      violated.push(`npm run simulate -- --schedules 1 --seed ${seed}: ${violations.join('; ')}`)
  }
  expect(violated).toEqual([])
})

/** Each found a defect once: a stream far ahead of another, a join that waited forever. */
test.each([1230, 1060, 7369, 8172])('seed %d, which once was a violation, is none', async (seed) => {
  const { violations } = await runScenario(seed)
  expect(violations).toEqual([])
})

test('the same seed is the same run, call by call, and another one is not', async () => {
  const seeds = [11, 12, 13, 14]
  const hashes = async () => {
    const found: string[] = []
    for (const seed of seeds) found.push((await runScenario(seed, { isTraced: true })).hash)
    return found
  }
  const first = await hashes()
  expect(new Set(first).size).toBe(seeds.length)
  // Beside others that run in the same thread, too.
  const [second] = await Promise.all([hashes(), runScenario(99), runScenario(100)])
  expect(second).toEqual(first)
})
