/** Files that commands write: whole or not at all, also where the disk is full or takes nothing. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openWholeFile, writeWholeFile } from '../../cli/whole-file.ts'
import { ownFolder } from '../support/command.ts'

test('a file appears with its last byte, and the one before it stays until then', async () => {
  const path = join(ownFolder(), 'figures.json')
  writeFileSync(path, 'before')
  const file = await openWholeFile(path)
  await file.write('after')
  expect(readFileSync(path, 'utf8')).toBe('before')
  await file.finish()
  await file.discard()
  expect(readFileSync(path, 'utf8')).toBe('after')
  expect(readdirSync(join(path, '..'))).toEqual(['figures.json'])
})

test('what was begun and given up leaves nothing behind', async () => {
  const path = join(ownFolder(), 'figures.json')
  const file = await openWholeFile(path)
  await file.write('half')
  await file.discard()
  await file.discard()
  expect(readdirSync(join(path, '..'))).toEqual([])
})

test('a folder of that name cannot become a file', async () => {
  const path = join(ownFolder(), 'taken')
  mkdirSync(path)
  writeFileSync(join(path, 'inside'), '')
  await expect(writeWholeFile(path, 'text')).rejects.toMatchObject({
    code: 'output_unwritable',
    message: expect.stringMatching(/taken cannot be written: (?:EISDIR|ENOTEMPTY|EEXIST)/),
  })
  expect(readdirSync(join(path, '..'))).toEqual(['taken'])
})

test('a full and a read-only disk are reported, and the file before stays', async (context) => {
  const folder = ownFolder()
  const mount = (...args: string[]) => execFileSync('mount', args, { stdio: 'pipe' })
  try {
    mount('-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', folder)
  } catch {
    context.skip('a small disk of its own needs the right to mount one')
  }
  onTestFinished(() => void execFileSync('umount', [folder]))
  const path = join(folder, 'figures.json')
  await writeWholeFile(path, 'before')
  await expect(writeWholeFile(path, 'x'.repeat(1_000_000))).rejects.toMatchObject({
    code: 'output_unwritable',
    message: `${path} cannot be written: ENOSPC: no space left on device, write.`,
  })
  expect(readFileSync(path, 'utf8')).toBe('before')
  expect(readdirSync(folder)).toEqual(['figures.json'])
  mount('-o', 'remount,ro', folder)
  await expect(writeWholeFile(path, 'after')).rejects.toMatchObject({
    code: 'output_unwritable',
    message: expect.stringContaining('EROFS: read-only file system'),
  })
  expect(readFileSync(path, 'utf8')).toBe('before')
})
