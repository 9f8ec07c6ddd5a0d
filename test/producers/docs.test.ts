/** The blocks of docs/producing.md on files as the page describes them, with the definition of the README. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { systemClock } from '../../runtime/clock.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { call, scratchFolder } from '../cli/call.ts'
import { codeBlocks } from '../support/code-blocks.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const blocksOf = (page: string) => codeBlocks(readFileSync(join(root, page), 'utf8'))

async function setUp() {
  const folder = await scratchFolder()
  symlinkSync(join(root, 'schemas'), join(folder, 'schemas'))
  mkdirSync(join(folder, 'pipelines'))
  const definition = blocksOf('README.md').find(({ language }) => language === 'ts')!
  writeFileSync(join(folder, 'pipelines/order-returns.ts'), definition.text)
  const broker = createMemoryBroker({ clock: systemClock })
  const topics = ['orders', 'returns'].map((topic) => ({ topic, partitions: 2, config: {} }))
  for (const topic of ['order-returns.schemas', 'orders.schemas', 'returns.schemas'])
    topics.push({ topic, partitions: 1, config: {} })
  await broker.admin.ensureTopics(topics)
  /** The arguments of a command of the page, with its files in the folder. */
  const argsOf = (text: string) =>
    text
      .replaceAll('\\\n', ' ')
      .trim()
      .split(/\s+/)
      .slice(1)
      .map((word) => word.replaceAll("'", '').replace(/([\w/-]+\.(?:csv|ts|jsonl))/, (file) => join(folder, file)))
  return { folder, broker, argsOf }
}

const commands = blocksOf('docs/producing.md').filter(({ language }) => language === 'sh')

test('several streams are sent in one command, and the later order sees the return', async () => {
  const { folder, broker, argsOf } = await setUp()
  writeFileSync(
    join(folder, 'orders.csv'),
    'ORDER_NO,CUSTOMER,total,at\na,u,10,2026-01-01T10:00:00Z\nb,u,20.5,2026-01-01T12:00:00Z\n',
  )
  writeFileSync(join(folder, 'returns.csv'), 'orderId;CUSTOMER;at\na;u;2026-01-01T11:00:00Z\n')
  const args = argsOf(commands[0]!.text)
  const { code, out, err } = await call(args, { openBroker: () => broker })
  expect([code, err]).toEqual([0, []])
  expect(out.slice(1)).toEqual(['  orders: 2', '  returns: 1'])
  const file = join(folder, 'out.csv')
  expect(await call(['replay', ...args.slice(1), '--out', file])).toMatchObject({ code: 0 })
  const [head, ...rows] = readFileSync(file, 'utf8').trim().split('\n')
  const column = head!.split(',').indexOf('returns30d')
  expect(rows.map((row) => row.split(',')[column])).toEqual(['0', '1'])
})

test('sent one after the other, they are computed again in order', async () => {
  const { folder, broker, argsOf } = await setUp()
  const own = (topic: string) => ({ topic: `order-returns.${topic}`, partitions: 2, config: {} })
  await broker.admin.ensureTopics([own('predictions'), { ...own('models'), partitions: 1 }])
  const openBroker = () => ({ ...broker, close: async () => undefined })
  writeFileSync(
    join(folder, 'orders.csv'),
    'orderId,userId,total,at\na,u,10,2026-01-01T10:00:00Z\nb,u,20.5,2026-01-01T12:00:00Z\n',
  )
  writeFileSync(join(folder, 'returns.csv'), 'orderId,userId,at\na,u,2026-01-01T11:00:00Z\n')
  for (const stream of ['orders', 'returns']) {
    const source = join(folder, `${stream}.csv`)
    const args = ['produce', join(folder, 'pipelines/order-returns.ts'), '--source', source, '--stream', stream]
    expect(await call(args, { openBroker })).toMatchObject({ code: 0 })
  }
  const block = commands.find(({ text }) => text.startsWith('millrace recompute'))!
  const { code, out } = await call(argsOf(block.text), { openBroker })
  expect([code, out[0]]).toEqual([0, expect.stringMatching(/again\.csv: 2 rows from 3 events/)])
  const [head, ...rows] = readFileSync(join(folder, 'again.csv'), 'utf8').trim().split('\n')
  const column = head!.split(',').indexOf('returns30d')
  expect(rows.map((row) => row.split(',')[column])).toEqual(['0', '1'])
})

test('its mapping gives returns from the rows of orders, and a dry run shows them and what would be refused', async () => {
  const { folder } = await setUp()
  const definition = blocksOf('README.md').find(({ language }) => language === 'ts')!
  writeFileSync(
    join(folder, 'pipelines/order-streams.ts'),
    definition.text.replace('const returns', 'export const returns'),
  )
  const mapping = join(folder, 'pipelines/returns.ts')
  writeFileSync(mapping, blocksOf('docs/producing.md').find(({ language }) => language === 'ts')!.text)
  const file = join(folder, 'orders.csv')
  writeFileSync(
    file,
    'ORDER_NO;LINE;userId;RETURNED_AT\na;1;u;2026-03-29 01:30\na;2;u;\nb;1;u;2026-03-29 02:30\nc;1;;2026-03-29 04:00\n',
  )
  const args = [
    'produce',
    join(folder, 'pipelines/order-returns.ts'),
    '--source',
    `returns=${file}`,
    '--mapping',
    mapping,
  ]
  const openBroker = () => expect.fail('no broker is needed')
  const { code, out, err } = await call([...args, '--zone', 'Europe/Berlin', '--dry-run'], { openBroker })
  expect([code, err]).toEqual([3, [`${file}: cells are separated by ";".`]])
  expect(out).toEqual([
    '{"stream":"returns","orderId":"a-1","userId":"u","at":1774744200000}',
    'Nothing was sent. 1 events would be, event time 2026-03-29T00:30:00.000Z to 2026-03-29T00:30:00.000Z.',
    '  returns: 1',
    '  left out by the mapping: 1',
    '  refused: 2 rows',
    '  1 × returns type: /at expected a time that Europe/Berlin had: the clocks were set forward over it, received 2026-03-29 02:30',
    `      ${file}, line 4`,
    expect.stringMatching(/^ {2}1 × returns length: \/userId expected text of 1 to 256 characters/),
    `      ${file}, line 5`,
  ])
  const allowed = await call([...args, '--zone', 'Europe/Berlin', '--dry-run', '--allow-rejects', '2'], { openBroker })
  expect(allowed.code).toBe(0)
})
