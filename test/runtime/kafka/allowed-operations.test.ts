import { expect, test } from 'vitest'
import { allowedOperations } from '../../../runtime/kafka/allowed-operations.ts'

test.each([
  ['nothing', 0, []],
  ['Read and what comes with it', (1 << 3) | (1 << 8), ['Read']],
  ['everything of a topic', 0b1101_1111_1000, ['Read', 'Write']],
])('%s', (_, bits, names) => {
  expect(allowedOperations(bits)).toEqual(new Set(names))
})

test('a broker that does not report them', () => {
  expect(allowedOperations(-2_147_483_648)).toBeNull()
})
