/**
 * Files as people have them: separators, encodings, decimal commas, missing values, dates, zones, ids and mappings, as CSV rows become
 * events.
 */
import { describe, expect, test } from 'vitest'
import { type CellOptions, plainCells } from '../../producers/cells.ts'
import { csvRows } from '../../producers/csv.ts'
import { dateFormat, dayMonthOf } from '../../producers/date-format.ts'
import { encodingNamed } from '../../producers/decode-text.ts'
import { localZone } from '../../producers/local-time.ts'
import type { RowOptions } from '../../producers/table.ts'
import { all, checked, inPieces, rowOptions } from './rows.ts'

const berlin = localZone('Europe/Berlin')

async function read(
  text: string | Buffer,
  {
    cells = {},
    encoding = null,
    ...more
  }: Partial<Omit<RowOptions, 'cells'>> & {
    cells?: Partial<CellOptions>
    encoding?: string | null
  } = {},
) {
  const lines: string[] = []
  const options = rowOptions({ printLine: (line) => lines.push(line), cells: { ...plainCells, ...cells }, ...more })
  const rows = await all(csvRows(inPieces(text, 7), { ...options, delimiter: null, encoding }))
  return { rows: rows.map(checked), raw: rows, lines }
}

const value = async (text: string, cells: Partial<CellOptions>) => {
  const { raw } = await read(`id,amount,at\na,"${text}",0\n`, { cells })
  return raw.map(checked)[0]
}
const instant = async (text: string, cells: Partial<CellOptions>) => {
  const { raw, rows } = await read(`id,amount,at\na,1,"${text}"\n`, { cells })
  const [first] = raw
  if (first && 'problems' in first) return first.problems[0]!.expected
  const event = rows[0]!
  return typeof event === 'string' ? event : new Date(event.at as number).toISOString()
}

describe('the separator', () => {
  test.each([
    [';', 'id;amount;at\na;1,5;0\nb;2,5;0\n'],
    ['\t', 'id\tamount\tat\na\t1,5\t0\n'],
    ['|', 'id|amount|at\n"a;b;c"|1|0\n'],
    [',', 'id,amount,at\n"a;b",1,0\n"c;d",1,0\n'],
  ])('%j is found', async (found, text) => {
    const { rows, lines } = await read(text, { cells: { decimal: ',' } })
    expect(rows[0]).toMatchObject({ at: 0 })
    expect(lines).toEqual(found === ',' ? [] : [`f: cells are separated by ${JSON.stringify(found)}.`])
  })

  test('that cannot be told is asked for', async () => {
    await expect(read('a;b,c\n1;2,3\n')).rejects.toMatchObject({
      code: 'usage',
      message: 'The cells of f may be separated by "," or ";": say which with --delimiter.',
    })
  })
})

test('encodings are read as they are named', async () => {
  const text = 'id,amount,at\nJosé €,1,0\n'
  const latin = Buffer.concat([
    Buffer.from('id,amount,at\nJos'),
    Buffer.from([0xe9, 0x20, 0x80]),
    Buffer.from(',1,0\n'),
  ])
  for (const [bytes, encoding] of [
    [latin, encodingNamed('latin1')],
    [Buffer.from(text, 'utf16le'), 'utf-16le'],
    [Buffer.from(`\ufeff${text}`, 'utf16le'), null],
    [Buffer.from(`\ufeff${text}`), null],
  ] as const) {
    expect((await read(bytes, { encoding })).rows).toMatchObject([{ id: 'José €' }])
  }
  expect((await read(latin)).rows).toEqual(['f, line 2 /id type'])
  expect(() => encodingNamed('latin-99')).toThrow('--encoding latin-99 is unknown')
})

test('a decimal comma is read where it is said, and a point is then refused', async () => {
  expect(await value('1,5', { decimal: ',' })).toMatchObject({ amount: 1.5 })
  expect(await value(' -,5 ', { decimal: ',' })).toMatchObject({ amount: -0.5 })
  for (const text of ['1.234,5', '1.5', '1,2,3', 'x'])
    expect(await value(text, { decimal: ',' })).toBe('f, line 2 /amount type')
  expect(await value('1,5', {})).toBe('f, line 2 /amount type')
})

test('texts that mean no value are none, where they are named', async () => {
  const text = 'id,amount,at,note,count\na,1,0,NA,-\nNA,1,0,x,1\n'
  const { rows } = await read(text, { cells: { missing: new Set(['NA', '-']) } })
  expect(rows).toEqual([{ id: 'a', amount: 1, at: 0, note: null, count: null, first: null }, 'f, line 3 /id missing'])
  expect((await read(text)).rows[0]).toBe('f, line 2 /count type')
})

test('spaces around texts stay unless they are trimmed', async () => {
  const text = 'id,amount,at\n a , 1 , 0 \n'
  expect((await read(text)).rows).toMatchObject([{ id: ' a ', amount: 1, at: 0 }])
  expect((await read(text, { cells: { trim: true } })).rows).toMatchObject([{ id: 'a', amount: 1, at: 0 }])
})

describe('dates', () => {
  const zone = localZone('UTC')

  test('in a format that is given', async () => {
    const dates = (format: string) => ({ zone, dates: new Map([['at', dateFormat('at', format)]]) })
    expect(await instant('31.12.2025 23:59', dates('dd.MM.yyyy HH:mm'))).toBe('2025-12-31T23:59:00.000Z')
    expect(await instant('3/4/25 1:05 PM', dates('M/d/yy h:mm a'))).toBe('2025-03-04T13:05:00.000Z')
    expect(await instant('1 Feb 2026 00:00 +02:00', dates('d MMM yyyy HH:mm ZZ'))).toBe('2026-01-31T22:00:00.000Z')
    expect(await instant('1700000000.123', dates('seconds'))).toBe('2023-11-14T22:13:20.123Z')
    expect(await instant('1700000000123456', dates('microseconds'))).toBe('2023-11-14T22:13:20.123Z')
    expect(await instant('30.02.2026', dates('dd.MM.yyyy'))).toBe('an instant as dd.MM.yyyy')
    expect(() => dateFormat('at', 'DD.MM.YYYY')).toThrow(
      '--dates at=DD.MM.YYYY is no format: expected one such as dd.MM.yyyy',
    )
  })

  test('that begin with the year need a zone only', async () => {
    for (const text of ['2026-03-01 10:00', '2026/3/1 10:00:00', '2026.03.01T10:00:00,000'])
      expect(await instant(text, { zone })).toBe('2026-03-01T10:00:00.000Z')
    expect(await instant('2026-03-01', { zone })).toBe('2026-03-01T00:00:00.000Z')
    expect(await instant('2026-02-30', { zone })).toContain('type')
    expect(await instant('2026-03-01 10:00', {})).toBe(
      'an instant with its zone, or --zone that says which zone local times are of',
    )
  })

  test.each(['2024-00-15', '2024-13-01', '2024-02-30', '2024-05-00', '0085-05-01', '2024/00/15 10:00'])(
    'of no real day, such as %s, are no instants',
    async (text) => {
      expect(await instant(text, { zone: berlin })).not.toMatch(/^\d{4}-/)
    },
  )

  test('that end with the year are read where the values show which is the day, and never guessed', async () => {
    const { rows, lines } = await read('id,amount,at\na,1,03/04/2026\nb,1,13/04/2026\n', { cells: { zone } })
    expect(rows).toMatchObject([{ at: Date.UTC(2026, 3, 3) }, { at: Date.UTC(2026, 3, 13) }])
    expect(lines).toEqual(['f: dates such as 03/04/2026 in at are read with the day first, as their values show.'])
    await expect(read('id,amount,at\na,1,03/04/2026\n', { cells: { zone } })).rejects.toMatchObject({
      code: 'usage',
      message: expect.stringContaining(
        'none of the first 1 rows shows which is the day: give the format, as with --dates at=dd/MM/yyyy',
      ),
    })
    expect([['13.1.2026', '1.13.2026'], ['1-13-2026'], ['x']].map(dayMonthOf)).toEqual([null, 'month first', null])
  })
})

describe('a zone', () => {
  test('gives local times their instants, and says where the clocks were changed', async () => {
    expect(await instant('2026-03-29 01:59', { zone: berlin })).toBe('2026-03-29T00:59:00.000Z')
    expect(await instant('2026-03-29 02:30', { zone: berlin })).toBe(
      'a time that Europe/Berlin had: the clocks were set forward over it',
    )
    expect(await instant('2026-03-29 03:00', { zone: berlin })).toBe('2026-03-29T01:00:00.000Z')
    expect(await instant('2026-10-25 02:30', { zone: berlin })).toBe('2026-10-25T00:30:00.000Z')
    expect(await instant('2026-10-25 02:30', { zone: berlin, overlap: 'later' })).toBe('2026-10-25T01:30:00.000Z')
    expect(await instant('2026-10-25 02:30', { zone: berlin, overlap: 'refuse' })).toContain('had once')
    const { lines } = await read('id,amount,at\na,1,2026-10-25 02:30\n', { cells: { zone: berlin } })
    expect(lines).toEqual([
      'f: 1 times are in an hour that Europe/Berlin had twice: the earlier instant is taken (--overlap).',
    ])
  })

  test.each([
    'Europe/Berlin',
    'America/New_York',
    'Australia/Lord_Howe',
    'Africa/Casablanca',
    'Pacific/Apia',
    'Asia/Kolkata',
  ])('%s agrees with the calendar of the platform in every hour of four years', (name) => {
    const { instantOf } = localZone(name)
    const format = new Intl.DateTimeFormat('en', {
      timeZone: name,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
    })
    const localOf = (ms: number) => {
      const part = Object.fromEntries(format.formatToParts(ms).map(({ type, value }) => [type, Number(value)]))
      return Date.UTC(part.year!, part.month! - 1, part.day!, part.hour!, part.minute!)
    }
    for (let ms = Date.UTC(2010, 11, 1); ms < Date.UTC(2012, 1, 1); ms += 7_200_000) {
      const found = instantOf(localOf(ms))
      const instants =
        found.kind === 'one' ? [found.ms] : found.kind === 'overlap' ? [found.earlierMs, found.laterMs] : []
      expect(instants).toContain(ms)
    }
  })

  test('of an unknown name is refused', () => {
    expect(() => localZone('Europe/Berlln')).toThrow('--zone Europe/Berlln is no time zone')
  })
})

describe('ids', () => {
  const streams = [{ ...rowOptions().streams[0]!, idField: 'id' }]
  const text = 'amount,at,x\n1,0,p\nbad,0\n2,0,p\n1,0,p\n'

  test('are the numbers of rows, malformed ones counted', async () => {
    const { raw } = await read(text, { streams, id: { kind: 'row', prefix: 'tx.csv' } })
    expect(raw.map(checked)).toMatchObject(
      [{ id: 'tx.csv-1' }, /line 3/, { id: 'tx.csv-3' }, { id: 'tx.csv-4' }].map((one) =>
        one instanceof RegExp ? expect.stringMatching(one) : one,
      ),
    )
  })

  test('are hashes of columns, equal for equal rows', async () => {
    const idsOf = async (columns: readonly string[] | null) =>
      (await read(text, { streams, id: { kind: 'hash', columns } })).rows.map((row) =>
        typeof row === 'string' ? null : row.id,
      )
    const [first, , second, third] = await idsOf(['amount'])
    expect([first === third, first === second]).toEqual([true, false])
    expect(first).toMatch(/^[\w-]{22}$/)
    await expect(idsOf(['amunt'])).rejects.toMatchObject({ message: expect.stringContaining('--id names amunt') })
  })
})

describe('a mapping', () => {
  const mapped = (fields: object, where: ((row: Record<string, string>) => boolean) | null = null) =>
    ({ kind: 'mapping', stream: 'sales', where, fields }) as NonNullable<RowOptions['mapping']>
  const text = 'ORDER,LINE,cents,at\nA,1,150,0\nA,2,"1\n2",0\nB,1,100,0\n'

  test('computes fields, leaves rows out, and rejects those it throws at', async () => {
    const mapping = mapped(
      {
        id: (row: Record<string, string>, { row: n, file }: { row: number; file: string }) =>
          `${file}:${n}:${row.ORDER}-${row.LINE}`,
        amount: (row: Record<string, string>) => {
          if (row.cents!.includes('\n')) throw new Error('two lines')
          return Number(row.cents) / 100
        },
      },
      (row) => row.ORDER !== 'B',
    )
    const { rows, raw } = await read(text, { mapping })
    expect(rows).toEqual([
      { id: 'f:1:A-1', amount: 1.5, at: 0, note: null, count: null, first: null },
      'f, line 3 /amount function_threw',
      'f, line 5 left out',
    ])
    expect('problems' in raw[1]! && raw[1].problems[0]).toMatchObject({ received: 'two lines' })
  })

  test('that reads a column which is not there ends the reading', async () => {
    const mapping = mapped({ id: (row: Record<string, string>) => row.ORDR!, amount: () => 1 })
    await expect(read(text, { mapping })).rejects.toMatchObject({
      code: 'usage',
      message: 'The mapping reads ORDR, a column that f does not have. Did you mean ORDER?',
    })
  })
})
