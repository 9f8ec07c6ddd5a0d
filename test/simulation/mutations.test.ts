/** Tests of the simulation: what is wrong in the loop must be found. All of them: `npm run simulate -- --mutations`. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { someOf } from '../support/nightly.ts'
import { simulateMutation } from './mutate.ts'
import { mutations } from './mutations.ts'

/** Those that are found within a few schedules; the others take longer than a test may. The first few are tried by every `npm test`. */
const quick = [
  'apply before commit',
  'offset - 1',
  'alignment off',
  'generation -1',
  'unpinned cache',
  'restore publishes',
  'watermarks before their events',
  'committed offsets read while a transaction on them is open',
]
const tried = someOf(quick, 3)

describe('it is found in the simulation', () => {
  test.each(mutations.filter(({ name }) => tried.includes(name)))(
    '$name',
    async (mutation) => {
      const { foundAfter } = await simulateMutation(mutation, 200, 1)
      expect(foundAfter).not.toBeNull()
    },
    180_000,
  )

  // The slow ones, too, must not fall behind the code unseen.
  test.each(mutations)('$name fits the code', ({ edits }) => {
    for (const { file, find } of edits) {
      const text = readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')
      expect(text.split(find).length - 1, `${file}: ${find}`).toBe(1)
    }
  })

  test('only what exists is called quick', () => {
    expect(quick.filter((name) => !mutations.some((mutation) => mutation.name === name))).toEqual([])
  })
})
