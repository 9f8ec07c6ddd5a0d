/** The example of docs/testing.md, run by Vitest as a user runs it, on the definition of the README. */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, onTestFinished, test } from 'vitest'
import { codeBlocks } from '../support/code-blocks.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

test('the example passes', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-testing-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const blockOf = (path: string) =>
    codeBlocks(readFileSync(join(root, path), 'utf8')).find(({ language }) => language === 'ts')!.text
  for (const name of ['pipelines', 'test', 'node_modules']) mkdirSync(join(folder, name))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  writeFileSync(
    join(folder, 'vitest.config.ts'),
    "export default { test: { server: { deps: { inline: ['millrace'] } } } }",
  )
  writeFileSync(
    join(folder, 'pipelines/order-returns.ts'),
    blockOf('README.md').replace(/'\.\.\/schemas\/definition\/definition\.ts'/, "'millrace'"),
  )
  writeFileSync(join(folder, 'test/order-returns.test.ts'), blockOf('docs/testing.md'))
  symlinkSync(root, join(folder, 'node_modules/millrace'))
  symlinkSync(join(root, 'node_modules/vitest'), join(folder, 'node_modules/vitest'))
  const vitest = join(root, 'node_modules/vitest/vitest.mjs')
  const { stdout } = await promisify(execFile)(process.execPath, [vitest, 'run', '--reporter=json'], { cwd: folder })
  expect(JSON.parse(stdout)).toMatchObject({ success: true, numPassedTests: 3 })
}, 180_000)
