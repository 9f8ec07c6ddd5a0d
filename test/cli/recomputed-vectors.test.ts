/** The file of `recompute` as vectors to train on: what is read, and what is refused. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { recomputedVectors } from '../../cli/learn/recomputed-vectors.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { clicksPipeline } from '../support/clicks.ts'
import { scratchFolder } from './call.ts'

const plan = compile(clicksPipeline())
const names = plan.features.map(({ name }) => name)
const header = ['clickId', 'time', 'user', 'page', ...names, 'score', 'model', 'published', 'definition'].join(',')
const line = (id: string, rest: { time?: string; amount?: string; definition?: string } = {}) => {
  const { time = '2024-01-01T00:00:01.000Z', amount = '1.5', definition = plan.fingerprint } = rest
  return [id, time, 'u', 'p', amount, '-0', '2', '3', '4', '', '', '', 'same', definition].join(',')
}

async function read(
  text: string,
  of: Pick<typeof plan, 'scored' | 'entityStages' | 'features' | 'fingerprint'> = plan,
) {
  const path = join(await scratchFolder(), 'recomputed.csv')
  await writeFile(path, text)
  const rows: unknown[] = []
  await recomputedVectors(path, of)((row) => void rows.push(row))
  return rows
}

test('rows are handed over in the order of the file, with what is missing', async () => {
  const rows = await read(`${header}\n${line('a')}\n${line('b', { amount: '', time: '1969-12-31T23:59:59.000Z' })}\n`)
  expect(rows).toEqual([
    { id: 'a', time: Date.UTC(2024, 0, 1, 0, 0, 1), features: [1.5, -0, 2, 3, 4, Number.NaN] },
    { id: 'b', time: -1_000, features: [Number.NaN, -0, 2, 3, 4, Number.NaN] },
  ])
})

test('a feature may have the name of an entity or of another column', async () => {
  const clashing = ['user', 'time', 'clickId', 'score', 'published', 'definition']
  const features = plan.features.map((feature, i) => ({ ...feature, name: clashing[i]! }))
  const columns = ['clickId', 'time', 'user', 'page', ...clashing, 'score', 'model', 'published', 'definition']
  const row = [
    'a',
    '2024-01-01T00:00:01.000Z',
    '77',
    '88',
    '1',
    '2',
    '3',
    '4',
    '5',
    '6',
    '9',
    'v1',
    'same',
    plan.fingerprint,
  ]
  expect(await read(`${columns}\n${row}\n`, { ...plan, features })).toEqual([
    { id: 'a', time: Date.UTC(2024, 0, 1, 0, 0, 1), features: [1, 2, 3, 4, 5, 6] },
  ])
  await expect(read(`${columns.slice(0, -1)}\n`, { ...plan, features })).rejects.toMatchObject({
    code: 'input_unreadable',
    message: expect.stringContaining(' has several columns clickId: expected the file that recompute writes '),
  })
})

test.each([
  ['', /recomputed\.csv is empty: expected the file that recompute writes\.$/],
  ['clickId,time\n', / has no column definition: expected the file that recompute writes for this definition\.$/],
  [`${header.replace(',guarded', '')}\n`, / has no column guarded: /],
  [
    `${header}\n${line('a')}\n${line('b', { definition: 'f0' })}\n`,
    /, line 3, was computed by definition f0; this one is [0-9a-f]{16}: recompute it with this definition\.$/,
  ],
  [`${header}\n${line('a', { amount: 'much' })}\n`, /, line 2: expected a number, received "much"\.$/],
  [`${header}\n${line('a', { time: 'noon' })}\n`, /, line 2: expected an instant, received "noon"\.$/],
  [`${header}\n${line('a')},1\n`, / is no CSV file of recompute: .*line 2/],
])('%j is refused', async (text, message) => {
  await expect(read(text)).rejects.toMatchObject({ code: 'input_unreadable', message: expect.stringMatching(message) })
})

test('a file that is not there is named', async () => {
  await expect(recomputedVectors('/nowhere/rows.csv', plan)(() => undefined)).rejects.toMatchObject({
    code: 'input_unreadable',
    message: expect.stringContaining('/nowhere/rows.csv cannot be read: ENOENT'),
  })
})
