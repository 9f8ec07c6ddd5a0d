/** For any arguments `millrace` answers with a message and an exit code of its own, and the examples in its help work. */
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { createVirtualClock } from '../../testing/virtual-clock.ts'
import { drawn } from '../support/nightly.ts'
import { type Called, call, scratchFolder } from './call.ts'

/** Names of the commands with their descriptions, as the command itself lists them. */
const { out: listed } = await call(['complete', '--', ''])
const commands = new Map(listed.map((line) => line.split('\t') as [string, string]).filter(([name]) => name !== 'help'))
const helpOf = async (name: string) => (await call([name, '--help'])).out
const optionsOf = async (name: string) =>
  (await call(['complete', '--', name, '--'])).out.map((line) => line.split('\t')[0]!)

describe('every command', () => {
  test.each([...commands])('%s reports what it does and shows examples that parse', async (name, description) => {
    expect(description).toMatch(/^[A-Z].+\.$/)
    const help = await helpOf(name)
    const examples = help.slice(help.indexOf('Examples:') + 1).map((line) => line.trim())
    expect(help).toContain('Examples:')
    expect(examples.length).toBeGreaterThan(0)
    const known = await optionsOf(name)
    for (const example of examples) {
      const [program, ...rest] = example.split(' ')
      if (program === 'npm') continue
      expect([program, rest[0]]).toEqual(['millrace', name])
      for (const flag of rest.filter((word) => word.startsWith('--'))) expect(known).toContain(flag)
      // Parsed up to the end, where the option that does not exist is rejected; nothing else of it is.
      const words = rest.map((word) => word.replace(/^'|'$/g, ''))
      const { code, err } = await call([...words, '--no-such-option'])
      expect([example, code, err[0]]).toEqual([example, 2, "error: unknown option '--no-such-option'"])
    }
  })

  test('has a page of help (vitest -u writes it again)', async () => {
    const pages = await Promise.all(
      [...commands.keys()].map(
        async (name) => `## ${name}\n\n\`\`\`text\n${(await helpOf(name)).join('\n')}\n\`\`\`\n`,
      ),
    )
    const head =
      '# Commands\n\nThe output of `millrace <command> --help`. Commands that print figures can also write them to a file with `--json <file>`.\n'
    await expect([head, ...pages].join('\n')).toMatchFileSnapshot('../../docs/commands.md')
  })

  test('that prints figures writes them to a file as well', async () => {
    const figures = ['start', 'produce', 'train', 'replay', 'backtest', 'verify', 'topics', 'doctor']
    for (const name of figures) {
      const help = (await helpOf(name)).join('\n')
      expect([name, /--json <file>\s+write the figures/.test(help)]).toEqual([name, true])
    }
  })
})

describe('any arguments', () => {
  /** They start servers or a process that stays, or run the whole benchmark. */
  const isLong = (args: readonly string[]) =>
    ['start', 'verify', 'run'].includes(args[0] ?? '') || args.includes('handbook') || args.includes('--write')

  async function answer(args: readonly string[]): Promise<Called> {
    const clock = createVirtualClock(Date.UTC(2024, 0, 1))
    return call(args, {
      env: { KAFKA_BROKERS: 'localhost:1' },
      clock,
      openBroker: () => createMemoryBroker({ clock }),
      fetch: () => Promise.reject(new TypeError('fetch failed')),
      stdin: 'nonsense\n',
    })
  }

  function expectAnswer(args: readonly string[], { code, out, err }: Called): void {
    const output = [...out, ...err].join('\n')
    expect([args, [0, 1, 2].includes(code)]).toEqual([args, true])
    expect([args, output.includes('Millrace made a mistake')]).toEqual([args, false])
    if (code !== 0) expect([args, /^error: .+|^FAIL|^Usage: |exist/m.test(output)]).toEqual([args, true])
  }

  test('of words that mean something somewhere', async () => {
    const out = join(await scratchFolder(), 'out')
    const words = [
      ...commands.keys(),
      'complete',
      ...new Set((await Promise.all([...commands.keys()].map(optionsOf))).flat()),
      ...['pipelines/card-fraud.ts', 'test/cli/fixtures/broken.ts', 'gone.ts', 'gone.jsonl', 'stdin', out],
      ...['customer', 'terminal', 'transactions', 'predictions', 'rejected', 'models', 'start', 'end', 'bash'],
      ...[
        '0',
        '1',
        '-1',
        '4096',
        '1e999',
        'NaN',
        '2018-04-01',
        '2018-02-30',
        'http://127.0.0.1:1',
        'amount>=1',
        'x>',
        'late',
      ],
      ...['--', '-', '', '=', '--json=x/y/z', '--from=start', '--until=2018-04-01', '--count=1'],
    ]
    const args = fc
      .tuple(
        fc.constantFrom(...commands.keys(), 'complete'),
        fc.constantFrom([], ['pipelines/card-fraud.ts'], ['pipelines/card-fraud.ts']),
        fc.array(fc.constantFrom(...words), { maxLength: 6 }),
      )
      .map(([name, definition, rest]) => [name, ...definition, ...rest])
      // A tail without an end continues; one with an end in the past ends.
      .map((list) => (list[0] === 'tail' ? [...list, '--until', '2018-01-01'] : list))
      .filter((list) => !isLong(list))
      // Files are only written where they can be removed again.
      .filter((list) => !list.some((word, i) => ['--out', '--json'].includes(list[i - 1] ?? '') && word !== out))
    await fc.assert(
      fc.asyncProperty(args, async (list) => expectAnswer(list, await answer(list))),
      { numRuns: drawn({ always: 50, nightly: 150 }), seed: 15 },
    )
  })

  test('of any words', async () => {
    const word = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.constantFrom('tail', 'doctor', '--json', '-'))
    await fc.assert(
      fc.asyncProperty(
        fc.array(word, { maxLength: 5 }).filter((list) => !isLong(list)),
        async (list) => expectAnswer(list, await answer(list)),
      ),
      { numRuns: drawn({ always: 40, nightly: 100 }), seed: 15 },
    )
  })
})
