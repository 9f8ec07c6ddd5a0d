import { stringify } from 'csv-stringify/sync'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type CsvOptions, csvRows } from '../../producers/csv.ts'
import { all, checked, inPieces, rowOptions } from './rows.ts'

const read = (text: string | Buffer, more: Partial<CsvOptions> = {}, pieceBytes = 7) =>
  all(csvRows(inPieces(text, pieceBytes), { ...rowOptions(), delimiter: ',', ...more }))

const header = 'id,amount,at'

describe('rows', () => {
  test('are read by the names of their columns, in any order, and extra columns are reported once', async () => {
    const lines: string[] = []
    const [event] = await read(`,at,shop,amount,id\n0,2018-04-01T00:00:00Z,x,1.50,a\n`, {
      printLine: (line) => lines.push(line),
    })
    expect(event).toEqual({
      stream: 'sales',
      values: { id: 'a', amount: '1.50', at: '2018-04-01T00:00:00Z' },
      location: 'f, line 2',
      isText: true,
    })
    expect(lines).toEqual(['f: columns that are not read: shop.'])
  })

  test('become what their fields declare; an empty cell is a missing value', async () => {
    const lines = [
      `${header},note,count,first`,
      'a,+1.5e3,1522540800000,,7,1',
      'b,.5,2018-04-01 02:00:00+02:00,n,,false',
    ]
    expect((await read(lines.join('\r\n'))).map(checked)).toEqual([
      { id: 'a', amount: 1_500, at: 1_522_540_800_000, note: null, count: 7, first: true },
      { id: 'b', amount: 0.5, at: 1_522_540_800_000, note: 'n', count: null, first: false },
    ])
  })

  test('may be quoted, hold quotes, delimiters and ends of lines, and end as Windows ends them', async () => {
    const text = `\ufeff${header},note\r\n"a","1",5,"x, ""y"" \r\nz"\r\n\r\n"b",2,6,\nc,3,7,"\n\n"\r\nd,4,8,e`
    const events = await read(text)
    expect(events.map(({ location }) => location)).toEqual(['f, line 2', 'f, line 5', 'f, line 6', 'f, line 9'])
    expect(events.map(checked).map((event) => (event as { note: string | null }).note)).toEqual([
      'x, "y" \r\nz',
      null,
      '\n\n',
      'e',
    ])
  })

  test('have another delimiter, and UTF-16 with a byte order mark', async () => {
    expect((await read('id;amount;at\na;1;2', { delimiter: ';' })).map(checked)).toMatchObject([{ id: 'a', at: 2 }])
    const wide = Buffer.from(`\ufeff${header}\nä,1,2\n"ß\n",3,4\n`, 'utf16le')
    expect((await read(wide)).map(checked)).toMatchObject([{ id: 'ä' }, { id: 'ß\n', amount: 3 }])
  })

  test('that are none are reported with their line, once each, and the reading continues', async () => {
    const lines = [header, 'a,1,2', 'b,2', 'c,3,4,5', 'd"d"d,5,6', 'e,x,-1', ',7,8', 'f\xff,1,2', 'g,9,10']
    const events = await read(Buffer.from(lines.join('\n'), 'latin1'))
    expect(events.map(checked)).toEqual([
      { id: 'a', amount: 1, at: 2, note: null, count: null, first: null },
      'f, line 3  not_csv',
      'f, line 4  not_csv',
      'f, line 5  not_csv',
      'f, line 6 /amount type, /at range',
      'f, line 7 /id length',
      'f, line 8 /id type',
      { id: 'g', amount: 9, at: 10, note: null, count: null, first: null },
    ])
    expect(events[1]).toEqual({
      location: 'f, line 3',
      problems: [{ path: '', code: 'not_csv', expected: 'a row of 3 cells, as the header has', received: '2 cells' }],
      text: 'b,2',
    })
    expect(events[3]).toMatchObject({ problems: [{ received: 'a quote inside cell 1' }] })
  })

  test('may name their streams, of which some may be absent', async () => {
    const others = [
      ...rowOptions().streams,
      { name: 'refunds', fields: [...rowOptions().streams[0]!.fields.slice(0, 1)] },
    ]
    const streams = [...others, { name: 'visits', fields: [{ name: 'page', kind: 'text', optional: false } as const] }]
    const text = `stream,${header}\nrefunds,a,,\nsales,b,1,2\nshops,c,,\n`
    expect(await read(text, { streams, stream: null })).toMatchObject([
      { stream: 'refunds', values: { id: 'a' } },
      { stream: 'sales', values: { id: 'b', amount: '1' } },
      { problems: [{ path: '/stream', received: 'shops' }] },
    ])
    await expect(read(`${text}visits,d,,\n`, { streams, stream: null })).rejects.toThrow(
      'the stream visits needs: page',
    )
  })
})

describe('a file that becomes unreadable ends with the location', () => {
  test.each([
    ['nothing', '', 'f is empty: expected a row with the names of columns.'],
    [
      'a quote that is never closed',
      `${header}\na,1,2\n"b,3,4\nc,5,6\n`,
      'f cannot be read as CSV: the row after line 2 has a quote',
    ],
    [
      'text after a closing quote',
      `${header}\n"a"b,1,2\n`,
      'f cannot be read as CSV: in line 2 a cell continues after',
    ],
    ['a row without end', `${header}\n${'x'.repeat(200)}`, 'f cannot be read as CSV: the row after line 1 has more'],
    ['a wrong quote in the header', 'i"d\na', 'f cannot be read as CSV: line 1: Invalid Opening Quote'],
  ])('%s', async (_, text, expected) => {
    await expect(read(text, { rowCharactersMax: 100 })).rejects.toThrow(expected)
  })

  test('and so does a failure of the bytes', async () => {
    async function* failing() {
      yield Buffer.from(`${header}\na,1,2\n`)
      throw new Error('the disk is gone')
    }
    await expect(all(csvRows(failing(), { ...rowOptions(), delimiter: ',' }))).rejects.toThrow('the disk is gone')
  })
})

const cell = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
const event = fc.record({
  id: cell,
  amount: fc.double({ noDefaultInfinity: true, noNaN: true }).map((value) => value + 0),
  at: fc.nat(2 ** 31),
  note: fc.option(cell),
  count: fc.option(fc.maxSafeInteger().map((value) => value + 0)),
  first: fc.option(fc.boolean()),
})

test('what is written is read, with any content, split anywhere', async () => {
  const options = fc.record({
    delimiter: fc.constantFrom(',', ';', '\t', '|'),
    record_delimiter: fc.constantFrom('\n', '\r\n'),
    quoted: fc.boolean(),
    bom: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(
      fc.array(event, { maxLength: 20 }),
      options,
      fc.integer({ min: 1, max: 64 }),
      async (rows, how, cut) => {
        const cast = { boolean: String, number: String }
        const columns = ['note', 'id', 'amount', 'at', 'first', 'count']
        const text = stringify(rows, { ...how, header: true, columns, cast })
        const events = await read(text, { delimiter: how.delimiter }, cut)
        expect(events.map(checked)).toEqual(rows)
      },
    ),
    { seed: 20_261_125, numRuns: 200 },
  )
})
