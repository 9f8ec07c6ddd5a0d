/** What `npm run build` makes: the same command, which takes definitions in TypeScript too. */
import { spawnSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { build, removeBuild } from '../support/command.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))

let folder: string
beforeAll(() => {
  folder = build()
}, 120_000)
afterAll(() => removeBuild(folder))

function compiled(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(folder, 'cli/main.js'), ...args], {
    cwd: root,
    encoding: 'utf8',
  })
  return { status, output: stdout + stderr }
}

test('has the commands of the sources', { timeout: 60_000 }, () => {
  const source = spawnSync(process.execPath, ['--import', 'tsx', 'cli/main.ts', '--help'], {
    cwd: root,
    encoding: 'utf8',
  })
  expect(compiled('--help')).toEqual({ status: 0, output: source.stdout })
})

test.each([
  ['compiled', 'pipelines/card-fraud.js'],
  ['in TypeScript', 'pipelines/card-fraud.ts'],
  ['in TypeScript that awaits', 'test/cli/fixtures/compiled-awaits.ts'],
])('takes a definition %s', { timeout: 60_000 }, (_, definition) => {
  const path = definition.endsWith('.js') ? join(folder, definition) : definition
  if (path.includes('awaits')) {
    writeFileSync(
      join(root, path),
      "const { default: pipeline } = await import('../../../pipelines/card-fraud.ts')\nexport default pipeline\n",
    )
    onTestFinished(() => rmSync(join(root, path)))
  }
  const out = join(root, '.millrace', `compiled-${process.pid}.csv`)
  onTestFinished(() => rmSync(out, { force: true }))
  const done = compiled('replay', path, '--source', 'handbook', '--until', '2018-04-01T01:00:00Z', '--out', out)
  expect(done.status, done.output).toBe(0)
  const [head, ...rows] = readFileSync(out, 'utf8').trimEnd().split('\n')
  expect(head).toContain('customerCount1d')
  expect(rows.length).toBeGreaterThan(10)
})

test('reports what is wrong with a definition', { timeout: 60_000 }, () => {
  const { status, output } = compiled(
    'replay',
    'test/cli/fixtures/broken.ts',
    '--source',
    'handbook',
    '--out',
    'none.csv',
  )
  expect(status).toBe(1)
  expect(output).toContain('test/cli/fixtures/broken.ts cannot be loaded: ')
})
