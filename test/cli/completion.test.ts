/** Completions: of the command itself, and of real shells that have sourced the script. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { call } from './call.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const cardFraud = 'pipelines/card-fraud.ts'

const offered = async (...words: string[]) => {
  const { code, out, err } = await call(['complete', '--', ...words])
  expect([code, err]).toEqual([0, []])
  return out.map((line) => line.split('\t')[0]!)
}

describe('complete', () => {
  test('commands, with what they do', async () => {
    expect(await offered('t')).toEqual(['train', 'trainer', 'topics', 'tail'])
    const { out } = await call(['complete', '--', 'topi'])
    expect(out).toEqual([
      'topics\tList the topics of a pipeline, what is missing or wrong, and the commands that fix it.',
    ])
    expect(await offered('')).toContain('completion')
    expect(await offered('')).not.toContain('complete')
  })

  test.each([
    [['run', cardFraud, '--re'], ['--rebuild']],
    [
      ['tail', cardFraud, 'rejected', '--m'],
      ['--min-score', '--max-score', '--model'],
    ],
    [
      ['tail', cardFraud, ''],
      ['predictions', 'rejected', 'models', 'transactions', 'chargebacks'],
    ],
    [['tail', cardFraud, 't'], ['transactions']],
    [
      ['tail', cardFraud, 'rejected', '--stream', ''],
      ['transactions', 'chargebacks'],
    ],
    [['tail', cardFraud, 'rejected', '--stage', 't'], ['terminal']],
    [['tail', '--json', '--from', 'start', cardFraud, 'm'], ['models']],
    [
      ['tail', cardFraud, 'predictions', '--from', ''],
      ['start', 'end'],
    ],
    [['tail', cardFraud, 'predictions', '--from=e'], ['--from=end']],
    [['features', cardFraud, 'c'], ['customer']],
    [['features', cardFraud, 'customer', '596', '--knowledge', 'n'], ['now']],
    [['features', cardFraud, 'customer', '596', ''], []],
    [['run', 'pip'], [':files']],
    [['train', cardFraud, '--out', ''], [':files']],
    [['schemas', cardFraud, '--folder', ''], [':folders']],
    [
      ['produce', cardFraud, '--source', ''],
      ['handbook', 'stdin', ':files'],
    ],
    [['run', cardFraud, ''], []],
    [['nonsense', ''], []],
    [
      ['completion', ''],
      ['bash', 'zsh', 'fish'],
    ],
    // A definition that cannot be loaded has no names.
    [
      ['tail', 'test/cli/fixtures/broken.ts', ''],
      ['predictions', 'rejected', 'models'],
    ],
    [['features', 'gone.ts', ''], []],
  ])('%j offers %j', async (words, expected) => {
    expect(await offered(...words)).toEqual(expected)
  })

  test('a wrong setting is no matter of completion', async () => {
    const { code, out } = await call(['complete', '--', 'prod'], { env: { MILLRACE_PARTITIONS: 'many' } })
    expect([code, out.length]).toEqual([0, 1])
  })

  test('every option with a value has choices, or a value name that is known here', async () => {
    const unknown: string[] = []
    const known = /^(?:file|folder|source|name|entity)$/
    const numbers = /^(?:days|count|events|factor|seed|rows|lines|score|share)$/
    const texts = /^(?:day|url|instant|id|key|version|condition|end|when|code|format|character|texts|which|kind|place)$/
    for (const command of await offered('')) {
      if (command === 'help') continue
      const { out } = await call([command, '--help'])
      for (const line of out) {
        const name = /^ {2}--[\w-]+ <([\w-]+)>/.exec(line)?.[1]
        if (name !== undefined && ![known, numbers, texts].some((one) => one.test(name)))
          unknown.push(`${command} <${name}>`)
      }
    }
    expect(unknown).toEqual([])
  })
})

const has = (shell: string) => spawnSync(shell, ['--version']).status === 0

describe('a shell', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-completion-'))
  afterAll(() => rmSync(folder, { recursive: true }))
  const millrace = `"${process.execPath}" --import tsx "${join(root, 'cli/main.ts')}"`

  function run(shell: string, script: string): string[] {
    const file = join(folder, `${shell}-script`)
    writeFileSync(file, script)
    const { status, stdout, stderr } = spawnSync(shell, [file], { cwd: root, encoding: 'utf8' })
    expect([status, stderr]).toEqual([0, ''])
    return stdout.split('\n').filter((line) => line !== '')
  }

  test.skipIf(!has('bash'))('bash completes commands, options, values and files', async () => {
    const { out } = await call(['completion', 'bash'])
    const ask = (...words: string[]) =>
      [
        `COMP_WORDS=(millrace ${words.map((word) => `'${word}'`).join(' ')})`,
        `COMP_CWORD=${words.length}`,
        '_millrace',
        'echo "$' + '{COMPREPLY[*]}"',
      ].join('; ')
    const asked = [
      ask('run', cardFraud, '--creat'),
      ask('features', cardFraud, ''),
      ask('tail', cardFraud, 'predictions', '--from', '=', 's'),
      ask('run', 'pipelines/card'),
    ]
    expect(run('bash', [`millrace() { ${millrace} "$@"; }`, ...out, ...asked].join('\n'))).toEqual([
      '--create-topics',
      'customer terminal',
      'start',
      'pipelines/card-fraud.ts',
    ])
  })

  test.each(['zsh', 'fish'])('%s reads the script', async (shell) => {
    const { out } = await call(['completion', shell])
    expect(out.join('\n')).toContain('millrace complete -- ')
    if (!has(shell)) {
      console.log(`LEFT OUT: the completion of ${shell}, which is not on this machine.`)
      return
    }
    run(shell, [shell === 'zsh' ? 'autoload -U compinit; compinit -D' : '', ...out].join('\n'))
  })
})
