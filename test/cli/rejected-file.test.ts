/** The file of rejected rows: what a resumed run finds of it. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { openRejectedFile } from '../../cli/produce/rejected-file.ts'
import { scratchFolder } from './call.ts'

test('a row with any character is one line, which a resumed run keeps', async () => {
  const path = join(await scratchFolder(), 'rejected.jsonl')
  const problems = [{ path: '/amount', code: 'type', expected: 'a number', received: '"\u2028"' }] as const
  const written = await openRejectedFile(path, null, [])
  for (const [row, text] of ['a\u2028b', 'c\u2029d', 'e\rf', 'g'].entries())
    written.add(problems, { problems, location: `line ${row}`, text }, row + 1)
  await written.keep()
  await written.close()
  const lines = (await readFile(path, 'utf8')).split('\n')

  const resumed = await openRejectedFile(path, [3], [])
  await resumed.close()
  expect((await readFile(path, 'utf8')).split('\n')).toEqual([...lines.slice(0, 3), ''])
  expect(JSON.parse(lines[0]!)).toMatchObject({ $rejected: { text: 'a\u2028b', position: [0, 1] } })
})
