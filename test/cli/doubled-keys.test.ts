/** Keys written twice in a definition are refused before it is loaded, since a loader that only strips types says nothing of them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { refuseDoubledKeys } from '../../cli/doubled-keys.ts'
import { call } from './call.ts'

/** Files of a folder that is removed after the test; answers the path of the first. */
function written(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'doubled-keys-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  return join(folder, Object.keys(files)[0]!)
}

test('a feature named twice ends every command with file, line and key', async () => {
  const path = written({
    'shop.ts': "const features = {\n  total: 1,\n  'total': 2,\n}\nexport default features as unknown as number\n",
  })
  const { code, err } = await call(['schemas', path])
  expect(code).toBe(1)
  expect(err[0]).toBe(`error: ${path} has a key twice, of which only the last would count:`)
  expect(err[1]).toMatch(/shop\.ts:3:3: Duplicate key "total" in object literal, first in line 2$/)
})

test('in what the definition imports, every one of them', async () => {
  const path = written({
    'shop.ts': "import { more } from './more.ts'\nexport default { a: 1, ...more, ['b']: 1, b() {} }\n",
    'more.ts': 'export const more: object = { c: 1, c: 2 }\n',
  })
  await expect(refuseDoubledKeys(path)).rejects.toThrow(
    expect.objectContaining({
      code: 'definition_invalid',
      message: expect.stringMatching(/has 2 keys twice[\s\S]*more\.ts:1:37: .*"c"[\s\S]*shop\.ts:2:43: .*"b"/),
    }),
  )
})

test('the file itself where an import is none that a bundler resolves', async () => {
  const path = written({ 'shop.ts': "import 'virtual:nothing'\nimport './gone.ts'\nexport default { a: 1, a: 2 }\n" })
  await expect(refuseDoubledKeys(path)).rejects.toThrow(/shop\.ts:3:24: Duplicate key "a"/)
})

test('what cannot be parsed says where', async () => {
  const path = written({ 'shop.ts': 'export default {\n  a: 1\n  b: 2\n}\n' })
  await expect(refuseDoubledKeys(path)).rejects.toThrow(
    /shop\.ts cannot be parsed: .*shop\.ts:3:3: Expected "}" but found "b"/,
  )
})

test('a key that overrides what was spread before it is none', async () => {
  await refuseDoubledKeys(written({ 'shop.ts': 'const a = { b: 1 }\nexport default { ...a, b: 2 }\n' }))
  await refuseDoubledKeys('pipelines/card-fraud.ts')
})
