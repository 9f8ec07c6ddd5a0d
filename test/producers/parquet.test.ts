/** The files are made by `fixtures/make_parquet.py` with pyarrow 26. */
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { type ParquetOptions, parquetRows } from '../../producers/parquet.ts'
import type { FieldKind } from '../../schemas/kernel/event.ts'
import { createEventCodec } from '../../schemas/wire/event-codec.ts'
import { scratchFolder } from '../cli/call.ts'
import { all, checked, rowOptions } from './rows.ts'

const fixture = (name: string) => fileURLToPath(new URL(`fixtures/${name}.parquet`, import.meta.url))
const map = new Map([
  ['id', 'TX_ID'],
  ['amount', 'AMOUNT'],
  ['at', 'AT'],
  ['note', 'NOTE'],
])
const read = (path: string, more: Partial<ParquetOptions> = {}) =>
  all(parquetRows(path, { ...rowOptions({ map }), ...more }))

const atMs = Date.UTC(2018, 3, 1) + 123
const more = { count: null, first: null }

describe('events', () => {
  test.each([['none'], ['snappy'], ['gzip'], ['zstd'], ['lz4'], ['brotli'], ['v2']])(
    'compressed as %s',
    async (codec) => {
      const lines: string[] = []
      const events = await read(fixture(codec), { printLine: (line) => lines.push(line) })
      expect(events.map(checked)).toEqual([
        { id: '9007199254740993', amount: 1.5, at: atMs, note: 'a', ...more },
        { id: '9007199254740994', amount: 0.1, at: atMs + 1_000, note: 'b', ...more },
        'f, row 3 /amount missing',
        { id: '9007199254740996', amount: 250, at: atMs + 3_000, note: 'd', ...more },
        { id: '9007199254740997', amount: 5e-324, at: atMs + 4_000, note: null, ...more },
        { id: '9007199254740998', amount: 1e300, at: atMs + 5_000, note: null, ...more },
        { id: '9007199254740999', amount: 0, at: atMs + 6_000, note: 'g', ...more },
      ])
      expect(lines).toEqual(['f: columns that are not read: CUSTOMER.'])
    },
  )

  test('come a row group at a time, and how many there are is known before', async () => {
    const sizes: unknown[] = []
    const onRows = (rows: number) => sizes.push(`${rows} rows`)
    for await (const chunk of parquetRows(fixture('snappy'), { ...rowOptions({ map }), onRows }))
      sizes.push(chunk.length)
    expect(sizes).toEqual(['7 rows', 3, 3, 1])
  })
})

/** The three rows of a column as a field of this kind takes them; a rejected one as its code. */
async function column(name: string, kind: FieldKind, file = 'types') {
  const fields = [{ name, kind, optional: true }]
  const codec = createEventCodec('one', 'test', fields)
  const events = await read(fixture(file), { map: new Map(), streams: [{ name: 'one', fields }], stream: 'one' })
  return events.map((event) => {
    if ('problems' in event) return event.problems
    if ('leftOut' in event) return 'left out'
    const result = codec.check(event.values, { fromText: event.isText ?? false })
    return result.ok ? result.event[name] : result.problems[0]!.code
  })
}

describe('values', () => {
  const instant = Date.UTC(2018, 3, 1, 0, 0, 31, 123)
  test.each<[string, FieldKind, unknown[], string?]>([
    ['int8', 'integer', [1, -128, null]],
    ['uint32', 'integer', [1, 4_294_967_295, null]],
    ['int64', 'integer', [1, 'type', null]],
    ['int64', 'number', [1, 'type', null]],
    ['int64', 'text', ['1', '9007199254740993', null]],
    ['uint64', 'integer', [1, 'type', null]],
    ['uint64', 'text', ['1', '18446744073709551615', null]],
    ['float32', 'number', [0.5, Math.fround(0.1), null]],
    ['float64', 'number', [0.1, 'type', null]],
    ['float64', 'integer', ['type', 'type', null]],
    ['decimal9', 'number', [1.1, -0.05, null]],
    ['decimal18', 'number', [1.1, 90_071_992_547_409.94, null]],
    ['decimal18', 'text', ['1.1', '90071992547409.93', null]],
    ['decimal38', 'integer', [12, 'type', null]],
    ['decimal9', 'number', [1.1, -0.05, null], 'decimal-bytes'],
    ['decimal38', 'text', ['12', '9007199254740993', null], 'decimal-bytes'],
    ['boolean', 'flag', [true, false, null]],
    ['boolean', 'number', ['type', 'type', null]],
    ['int8', 'flag', [true, 'type', null]],
    ['date', 'timestamp', [Date.UTC(2018, 3, 1), 'range', null]],
    ['ms', 'timestamp', [instant, Date.UTC(9999, 3, 1, 0, 0, 31, 123), null]],
    ['us', 'timestamp', [instant, 'range', null]],
    ['ns', 'timestamp', [instant, 'range', null]],
    ['int96', 'timestamp', [instant, instant, null], 'int96'],
    ['ms', 'text', ['2018-04-01T00:00:31.123Z', '9999-04-01T00:00:31.123Z', null]],
    ['ms', 'number', ['type', 'type', null]],
    ['text', 'text', ['1.50', 'ä\n', null]],
    ['text', 'number', [1.5, 'type', null]],
    ['bytes', 'text', ['abc', 'type', null]],
  ])('%s as %s', async (name, kind, expected, file) => {
    expect(await column(name, kind, file)).toEqual(expected)
  })

  test.each(['list', 'record'])('a column of type %s is rejected before anything is read', async (name) => {
    await expect(column(name, 'text')).rejects.toThrow(`Column ${name} of f holds lists or records`)
  })
})

describe('an unsuitable file is reported', () => {
  test('without the columns', async () => {
    await expect(read(fixture('none'), { map: new Map() })).rejects.toThrow(
      "to name them: --map 'id=<column>,amount=AMOUNT,at=AT'",
    )
  })

  test('that is none, is cut off, or is not there', async () => {
    const folder = await scratchFolder()
    const [text, cut, broken] = ['text', 'cut', 'broken'].map((name) => join(folder, name)) as [string, string, string]
    await writeFile(text, 'id,amount,at\n')
    await expect(read(text)).rejects.toThrow('f cannot be read as Parquet: parquet file invalid (footer != PAR1).')
    const whole = await readFile(fixture('snappy'))
    await writeFile(cut, whole.subarray(0, 2_000))
    await expect(read(cut)).rejects.toMatchObject({ code: 'input_unreadable' })
    await copyFile(fixture('gzip'), broken)
    const bytes = await readFile(broken)
    await writeFile(broken, bytes.fill(0xff, 4, 400))
    await expect(read(broken)).rejects.toThrow(/^f, row group 1, column \w+ cannot be read as Parquet: /)
    await expect(read(join(folder, 'none'))).rejects.toThrow('f cannot be read as Parquet: ENOENT')
  })

  test('whose row groups are too large for memory', async () => {
    await expect(read(fixture('none'), { groupBytesMax: 100 })).rejects.toThrow(
      /^Row group 1 of f has \d+ bytes in the columns that are read, and at most 100 are taken into memory: write/,
    )
  })
})
