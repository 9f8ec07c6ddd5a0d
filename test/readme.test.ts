/** Every code block of the README and docs is tried here, or in `test/integration/readme.test.ts` where it needs servers. */
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { createReplay } from '../processors/replay.ts'
import { systemClock } from '../runtime/clock.ts'
import { configTable } from '../runtime/config/config.ts'
import { createMemoryBroker } from '../runtime/memory/broker.ts'
import { kafkaRights, redisRights } from '../runtime/rights.ts'
import type { Pipeline } from '../schemas/definition/definition.ts'
import { errorCatalogue } from '../schemas/kernel/errors.ts'
import { compile } from '../schemas/plan/compile.ts'
import { call } from './cli/call.ts'
import { codeBlocks } from './support/code-blocks.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const readme = codeBlocks(readFileSync(join(root, 'README.md'), 'utf8'))
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> }

describe('README', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-readme-'))
  afterAll(() => rmSync(folder, { recursive: true }))

  test('has the blocks that are tried', () => {
    expect(readme.map(({ language }) => language)).toEqual(['sh', 'text', 'sh', 'ts', 'sh', 'sh'])
  })

  test('its definition compiles and computes', async () => {
    const block = readme.find(({ language }) => language === 'ts')!
    symlinkSync(join(root, 'schemas'), join(folder, 'schemas'))
    mkdirSync(join(folder, 'pipelines'))
    const file = join(folder, 'pipelines/order-returns.ts')
    writeFileSync(file, block.text)
    const { default: pipeline } = (await import(pathToFileURL(file).href)) as { default: Pipeline }
    const plan = compile(pipeline)
    expect(plan.features.map(({ name }) => name)).toEqual(['total', 'orders7d', 'spent7d', 'returns30d'])
    const day = 86_400_000
    const replay = createReplay(plan, { partitions: 2 })
    const replayed = [
      replay.push(0, { orderId: 'a', userId: 'u', total: 10, at: day }),
      replay.push(1, { orderId: 'a', userId: 'u', at: 2 * day }),
      replay.push(0, { orderId: 'b', userId: 'u', total: 20.5, at: 3 * day }),
      replay.flush(),
    ].flat()
    expect(replayed.map(({ id, vector }) => [id, ...vector])).toEqual([
      ['a', 10, 1, 10, 0],
      ['b', 20.5, 2, 15.25, 1],
    ])
  })

  test('lists every command with the words of its help', async () => {
    const { out } = await call(['complete', '--', ''])
    const commands = out.map((line) => line.split('\t')).filter(([name]) => name !== 'help')
    const rows = readFileSync(join(root, 'README.md'), 'utf8').split('\n')
    const start = rows.indexOf('| command | what it does |') + 2
    expect(rows.slice(start, rows.indexOf('', start))).toEqual(
      commands.map(([name, what]) => `| \`${name}\` | ${what} |`),
    )
  })

  test.skipIf(spawnSync('bash', ['--version']).status !== 0)('its completion completes', () => {
    const ask = ['COMP_WORDS=(millrace docto)', 'COMP_CWORD=1', '_millrace', 'echo "$COMPREPLY"']
    const typed = [readme.at(-1)!.text, ...ask].join('\n')
    const { stdout, stderr } = spawnSync('bash', ['-c', typed], { cwd: root, encoding: 'utf8' })
    expect([stdout, stderr]).toEqual(['doctor\n', ''])
  })

  test('its CSV is accepted by its command', async () => {
    const line = readme.flatMap(({ text }) => text.split('\n')).find((text) => text.includes(' produce '))!
    const args = line.split(' -- ')[1]!.split(' ')
    const [definition, csv] = [join(folder, 'pipelines/order-returns.ts'), join(folder, 'orders.csv')]
    writeFileSync(csv, 'ORDER_NO,CUSTOMER,total,at\na,u,10,2026-01-01T00:00:00Z\nb,"u",20.50,1767312000000\n')
    const resolvedArgs = args.map((arg) =>
      arg.replace('pipelines/order-returns.ts', definition).replace('orders.csv', csv),
    )
    const broker = createMemoryBroker({ clock: systemClock })
    const topics = ['orders', 'returns'].map((topic) => ({ topic, partitions: 2, config: {} }))
    for (const topic of ['order-returns.schemas', 'orders.schemas', 'returns.schemas'])
      topics.push({ topic, partitions: 1, config: {} })
    await broker.admin.ensureTopics(topics)
    const { code, out, err } = await call(resolvedArgs, { openBroker: () => broker })
    expect([code, err]).toEqual([0, []])
    expect(out.slice(1)).toEqual(['  orders: 2', '  returns: 0'])
  })

  test('every npm command is a script', () => {
    const commands = readme
      .filter(({ language }) => language === 'sh')
      .flatMap(({ text }) => [...text.matchAll(/npm (?:run (?:-s )?)?([\w:]+)/g)])
    const named = commands.map((match) => match[1]!).filter((name) => name !== 'ci' && name !== 'run')
    expect(named.length).toBeGreaterThan(3)
    expect(named.filter((name) => !(name in scripts))).toEqual([])
  })
})

test('docs hold no untested block', () => {
  const docs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).filter((path) =>
    path.endsWith('.md'),
  )
  const untried = docs.flatMap((path) =>
    codeBlocks(readFileSync(join(root, 'docs', path), 'utf8'))
      // The definition's test is run by `testing/docs.test.ts`, the own model by `online-model/models/docs.test.ts`, the examples of builders
      // by `schemas/reference/reference.test.ts`.
      .filter(({ language }) => language !== '' && language !== 'text')
      .filter(({ language }) => !(language === 'ts' && ['definition.md', 'testing.md', 'models.md'].includes(path)))
      // By `producers/docs.test.ts`.
      .filter(() => path !== 'producing.md')
      // The consumers are run by `integration/consuming.test.ts`.
      .filter(() => path !== 'consuming.md')
      .flatMap(({ language, text }) => (language === 'sh' && isOfScripts(text) ? [] : [`${path}: ${language}`])),
  )
  expect(untried).toEqual([])
})

describe('the page that follows one event', () => {
  const page = readFileSync(join(root, 'docs/follow-one-event.md'), 'utf8')
  const functions = [...page.matchAll(/`(\w+)\(\)`\s+in\s+`([\w/.-]+\.ts)`/g)].map(
    (match) => [match[1]!, match[2]!] as const,
  )

  test('has ten places, each of them a function', () => {
    const places = [...page.matchAll(/^(\d+)\. `\w+\(\)` in `/gm)].map((match) => Number(match[1]))
    expect(places).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    // None is named without its file, which would go unchecked below.
    expect(page.match(/`\w+\(\)`/g)).toHaveLength(functions.length)
  })

  test.each(functions)('%s() is in %s', (name, path) => {
    expect(readFileSync(join(root, path), 'utf8')).toMatch(new RegExp(`\\bfunction ${name}\\(`))
  })

  test('names files that exist', () => {
    const files = [...page.matchAll(/`([\w/.-]+\.ts)`/g)].map((match) => match[1]!)
    expect(files.length).toBeGreaterThan(functions.length)
    expect(files.filter((path) => !existsSync(join(root, path)))).toEqual([])
  })
})

/** Commands that repeat a measurement: they take long, so only their scripts are checked. */
function isOfScripts(text: string): boolean {
  return text
    .trim()
    .split('\n')
    .every((line) => /^npm (?:run (?:-s )?)?([\w:]+)/.test(line))
}

describe('generated pages (vitest -u writes them again)', () => {
  test('configuration', async () => {
    const rows = configTable().map(({ variable, type, default: fallback, unit, sentence }) => [
      `\`${variable}\``,
      type,
      fallback,
      unit,
      sentence,
    ])
    const page = `# Configuration\n\nSettings are read from the environment once, at start.\n\n${table(['variable', 'type', 'default', 'unit', 'meaning'], rows)}`
    await expect(page).toMatchFileSnapshot('../docs/configuration.md')
  })

  test('the rights of the page on security', async () => {
    const written = readFileSync(join(root, 'docs/security.md'), 'utf8')
    const page = written.replace(/^## Rights that Millrace needs$[\s\S]*?(?=^## )/m, () => `${rightsSection()}\n\n`)
    await expect(page).toMatchFileSnapshot('../docs/security.md')
  })

  test('errors', async () => {
    const rows = Object.entries(errorCatalogue).map(([code, { retry, meaning, remedy }]) => [
      `\`${code}\``,
      retry ? 'yes' : 'no',
      meaning,
      remedy,
    ])
    const page = `# Errors\n\nSwitch on the code, never on the text.\n\n${table(['code', 'passes by itself', 'meaning', 'what to do'], rows)}`
    await expect(page).toMatchFileSnapshot('../docs/errors.md')
  })
})

/** Of docs/security.md, from its heading to the next one. */
function rightsSection(): string {
  const cells = (neededBy: readonly string[]) => neededBy.map((command) => `\`${command}\``).join(', ')
  const line = redisRights.map(({ command }) => `+${command}`).join(' ')
  return [
    '## Rights that Millrace needs',
    'In Kafka, on names that begin with the namespace, and on the raw topics and the topics of schemas beside them (`<raw topic>.schemas`). Read and\n' +
      'Write imply Describe. A pipeline that only reads raw topics needs no Write on either. `start` and `verify` need all\n' +
      'of these, on names that begin with `start-` (unless a namespace is set) and `verify-`. Before version 2.8, Kafka also requires\n' +
      'IdempotentWrite on the cluster for every command that writes. For events posted over HTTP, `run` needs Write on the raw\n' +
      'topics and on the topics of schemas beside them.',
    table(
      ['resource', 'operation', 'needed by'],
      kafkaRights.map(({ resource, operation, neededBy }) => [resource, operation, cells(neededBy)]),
    ).trimEnd(),
    "In Redis, on keys that begin with `{`, the namespace and the pipeline's name:",
    `\`\`\`text\nuser millrace on >password ~{card-fraud.* ${line}\n\`\`\``,
    table(
      ['command', 'needed by'],
      redisRights.map(({ command, neededBy }) => [command.toUpperCase(), cells(neededBy)]),
    ).trimEnd(),
    'Where REDIS_URL names a database (`redis://host:port/1`), `run` and `doctor` need `+select` as well.',
  ].join('\n\n')
}

function table(head: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  const lines = [head, head.map(() => '---'), ...rows]
  return `${lines.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}\n`
}
