/** Keys of a task: one text for the same bytes, however many there are, with their partition. */
import { expect, test } from 'vitest'
import { createKeyTable } from '../../../processors/batch/key-table.ts'
import { partitionOf } from '../../../runtime/partition.ts'
import { createRandom } from '../../../testing/random.ts'

test('are found again among those of the same beginning, length or hash slot', () => {
  const random = createRandom(14)
  const table = createKeyTable(7)
  for (let at = 0; at < 30_000; at++) {
    const text = random.pick(['', 'k', 'key-', 'ä', 'x'.repeat(40)]) + random.below(3_000)
    const bytes = Buffer.from(`..${text}..`)
    const key = table.find(bytes, 2, bytes.length - 2)
    expect([table.texts[key], table.partitions[key]]).toEqual([text, partitionOf(Buffer.from(text), 7)])
  }
  expect(new Set(table.texts).size).toBe(table.texts.length)
})

test('beyond the bound begin anew', () => {
  const table = createKeyTable(4)
  const find = (text: string) => table.texts[table.find(Buffer.from(text), 0, text.length)]
  for (let at = 0; at <= 2 ** 18; at++) find(String(at))
  expect(table.texts.length).toBe(1)
  expect([find('5'), find('262144'), find('5')]).toEqual(['5', '262144', '5'])
  expect(table.texts).toEqual(['262144', '5'])
})
