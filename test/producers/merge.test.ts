/** Several sources as one: merged, sorted on the disk, put in order within a declared disorder; and what is said of one that is not. */
import { readdir } from 'node:fs/promises'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createOrderWatch, outOfOrderText } from '../../producers/event-order.ts'
import { inOrder, mergeRows } from '../../producers/merge.ts'
import { createRowCheck, type SourceEvent } from '../../producers/prepare.ts'
import { sortedRows } from '../../producers/sort-rows.ts'
import { count, definePipeline, entity, prior, stream, text, timestamp } from '../../schemas/definition/definition.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { scratchFolder } from '../cli/call.ts'
import { drawn } from '../support/nightly.ts'

const fields = { id: text(), key: text(), at: timestamp() }
const instants = { from: '1970-01-01' }
const orders = stream('orders', { id: 'id', key: 'key', time: 'at', disorder: '5s', lateness: '60s', instants, fields })
const returns = stream('returns', { id: 'id', key: 'key', time: 'at', instants, fields })
const user = entity('user', [orders.fields.key, returns.fields.key])
const plan = compile(
  definePipeline({
    name: 'merging',
    version: 1,
    scores: orders,
    features: { returns1d: count(returns, { by: user, over: '1d' }) },
    label: { from: returns, value: 1, otherwise: { value: 0, after: '1d' } },
    model: prior(),
  }),
)
const check = createRowCheck(plan.streams)

const row = (stream: string, id: string, at: number | string): SourceEvent => ({
  stream,
  values: { id, key: 'k', at },
  location: id,
})
const idsOf = (events: readonly SourceEvent[]) => events.map(({ location }) => location)

async function all(rows: AsyncIterable<readonly SourceEvent[]>): Promise<SourceEvent[]> {
  const events: SourceEvent[] = []
  for await (const chunk of rows) events.push(...chunk)
  return events
}

describe('a merge', () => {
  test('is in the order of event time, of one instant in that of streams, with invalid rows behind the row before', async () => {
    const first = [
      [row('returns', 'r1', 10), row('returns', 'r2', 20)],
      [row('returns', 'none', 'x')],
      [row('returns', 'r3', 30)],
    ]
    const second = [
      [row('orders', 'none2', 'x'), row('orders', 'o1', 20)],
      [row('orders', 'o2', 21), row('orders', 'o3', 40)],
    ]
    const merged = await all(mergeRows([first, second], check))
    expect(idsOf(merged)).toEqual(['none2', 'r1', 'o1', 'r2', 'none', 'o2', 'r3', 'o3'])
    expect(merged.map(({ source }) => source)).toEqual([1, 0, 1, 0, 0, 1, 0, 1])
  })

  test('is the same however its sources are cut, and every source keeps its order', async () => {
    const sources = fc.array(fc.array(fc.nat(30), { maxLength: 12 }), { minLength: 1, maxLength: 4 })
    await fc.assert(
      fc.asyncProperty(sources, fc.integer({ min: 1, max: 5 }), async (times, size) => {
        const rows = times.map((source, s) => source.map((at, n) => row(s % 2 ? 'orders' : 'returns', `${s}-${n}`, at)))
        const cut = rows.map((source) => {
          const chunks: SourceEvent[][] = []
          for (let from = 0; from < source.length; from += size) chunks.push(source.slice(from, from + size))
          return chunks
        })
        const whole = idsOf(
          await all(
            mergeRows(
              rows.map((source) => [source]),
              check,
            ),
          ),
        )
        expect(idsOf(await all(mergeRows(cut, check)))).toEqual(whole)
        for (const [s, source] of rows.entries()) {
          expect(whole.filter((id) => id!.startsWith(`${s}-`))).toEqual(idsOf(source))
        }
      }),
      { numRuns: drawn({ always: 100, nightly: 500 }) },
    )
  })

  test('ends the sources that it did not read to their end', async () => {
    let ended = 0
    async function* endless(): AsyncGenerator<SourceEvent[]> {
      try {
        for (let at = 0; ; at++) yield [row('orders', `${at}`, at)]
      } finally {
        ended++
      }
    }
    for await (const _ of mergeRows([endless(), endless()], check)) break
    expect(ended).toBe(2)
  })
})

describe('a sort on the disk', () => {
  const times = fc.array(fc.oneof(fc.nat(50), fc.constant('x')), { maxLength: 40 })

  test('is stable, keeps the number of each row, and leaves nothing behind', async () => {
    const folder = await scratchFolder()
    await fc.assert(
      fc.asyncProperty(times, async (drawnTimes) => {
        const rows = drawnTimes.map((at, n) => row(n % 3 ? 'orders' : 'returns', `${n}`, at))
        let place = [-1, -1]
        const expected = rows
          .map((event, n) => {
            const checked = check(event)
            if (checked.kind === 'event') place = [checked.timeMs, checked.stream.index]
            return { event, n, place }
          })
          .sort((a, b) => a.place[0]! - b.place[0]! || a.place[1]! - b.place[1]! || a.n - b.n)
        const options = { sourceName: 'f', check, printLine: () => undefined, folder }
        const sorted = await all(sortedRows([rows.slice(0, 7), rows.slice(7)], options))
        expect(sorted).toEqual(expected.map(({ event, n }) => ({ ...event, row: n + 1 })))
        expect(await readdir(folder)).toEqual([])
      }),
      { numRuns: drawn({ always: 15, nightly: 100 }) },
    )
  })

  test('keeps values that JSON does not have, and removes its folder also where reading stops', async () => {
    const folder = await scratchFolder()
    const odd: SourceEvent = {
      stream: 'orders',
      values: { id: 2n ** 60n, key: Number.NaN, at: -0 },
      location: 'odd',
      isText: true,
    }
    const lines: string[] = []
    const options = { sourceName: 'f.csv', check, printLine: (line: string) => void lines.push(line), folder }
    for await (const [first] of sortedRows([[odd, row('orders', 'a', 1)]], options)) {
      expect(first).toEqual({ ...odd, row: 1 })
      expect(await readdir(folder)).toHaveLength(1)
      break
    }
    expect(await readdir(folder)).toEqual([])
    expect(lines[0]).toMatch(/^f\.csv: 2 rows are sorted by event time in .*millrace-sort-\w+, with 1 MB of disk/)
  })

  test('of more rows than its memory holds spills them', { timeout: 60_000 }, async () => {
    const folder = await scratchFolder()
    const rows = 40_000
    const padding = 'p'.repeat(700)
    async function* many(): AsyncGenerator<SourceEvent[]> {
      for (let from = 0; from < rows; from += 2_000) {
        yield Array.from({ length: 2_000 }, (_, i): SourceEvent => {
          const at = ((from + i) * 7_919) % rows
          return { stream: 'orders', values: { id: `${at}`, key: 'k', at, padding }, location: '' }
        })
      }
    }
    const options = { sourceName: 'f', check, printLine: () => undefined, folder, memoryBytesMax: 64 * 1_024 * 1_024 }
    let next = 0
    for await (const chunk of sortedRows(many(), options)) {
      for (const event of chunk)
        if ((('values' in event && event.values) as { at: number }).at !== next++) expect.fail('order')
    }
    expect(next).toBe(rows)
  })

  test('in a folder that cannot be written says so', async () => {
    const options = { sourceName: 'f.csv', check, printLine: () => undefined, folder: '/nowhere' }
    await expect(all(sortedRows([[row('orders', 'a', 1)]], options))).rejects.toMatchObject({
      code: 'output_unwritable',
      message: expect.stringContaining('f.csv cannot be sorted in /nowhere: ENOENT'),
    })
  })
})

test('rows within the declared disorder are put in order as a running pipeline would', async () => {
  const rows = [
    [row('orders', 'a', 10), row('orders', 'c', 14), row('orders', 'b', 12)],
    [row('orders', 'd', 14), row('orders', 'e', 13)],
  ]
  expect(idsOf(await all(inOrder(rows, 5, check)))).toEqual(['a', 'b', 'e', 'c', 'd'])
})

test('a row beyond the disorder of its stream is named with the row that it should come before', () => {
  const watch = createOrderWatch()
  for (const event of [
    row('orders', 'line 2', 60_000),
    row('orders', 'line 3', 55_000),
    row('returns', 'line 4', 59_000),
  ])
    watch.add(check(event), event.location!)
  watch.add(check(row('returns', 'line 5', 1)), 'line 5')
  expect([watch.isSorted, watch.outOfOrder]).toEqual([false, 2])
  expect(outOfOrderText('r.csv', watch.first!, watch.outOfOrder)).toBe(
    'r.csv is not in the order of event time: line 4 (1970-01-01T00:00:59.000Z) is 1s before line 2 (1970-01-01T00:01:00.000Z), the first ' +
      'of 2 such rows, and the stream returns declares a disorder of 0ms.',
  )
})
