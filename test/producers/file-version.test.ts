import { appendFile, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { differenceFrom, fileVersion } from '../../producers/file-version.ts'
import { scratchFolder } from '../cli/call.ts'

async function changed(before: string, change: (path: string) => Promise<void>, canGrow = true) {
  const path = join(await scratchFolder(), 'file')
  await writeFile(path, before)
  await utimes(path, 1, 1)
  const then = await fileVersion(path)
  await change(path)
  return differenceFrom(then, await fileVersion(path), { path, canGrow })
}

const lines = 'a,1\nb,2\n'

test('the same file is the same', async () => {
  expect(await changed(lines, async () => undefined)).toBeNull()
  expect(await changed('', async () => undefined)).toBeNull()
})

test('lines may be added at the end, to a file whose lines are all complete', async () => {
  expect(await changed(lines, (path) => appendFile(path, 'c,3\n'))).toBeNull()
  expect(await changed('', (path) => appendFile(path, 'c,3\n'))).toBeNull()
  expect(await changed('a,1\r\nb,2', (path) => appendFile(path, '\r\nc,3'))).toBeNull()
  expect(await changed('a,1\nb,2', (path) => appendFile(path, '0\n'))).toBe(
    'its last line was incomplete when it was sent',
  )
  expect(await changed(lines, (path) => appendFile(path, 'c,3\n'), false)).toBe('it had 8 bytes and has 12')
})

test('a file that was written again, shortened or replaced is another one', async () => {
  expect(await changed(lines, (path) => writeFile(path, lines))).toBe('it was written again')
  expect(await changed(lines, (path) => writeFile(path, 'a,1\n'))).toBe('it had 8 bytes and has 4')
  expect(await changed(lines, (path) => writeFile(path, 'a,2\nb,2\nc,3\n'))).toBe('its earlier content has changed')
})

test('of a large file the beginning, the end and pieces between are compared', async () => {
  const large = 'x'.repeat(3_000_000)
  for (const at of [0, 200_000, 2_999_999]) {
    const other = `${large.slice(0, at)}y${large.slice(at + 1)}\n`
    expect(await changed(large, (path) => writeFile(path, other))).toBe('its earlier content has changed')
  }
})
