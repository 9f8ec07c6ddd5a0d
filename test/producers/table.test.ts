import { describe, expect, test } from 'vitest'
import { type RowOptions, readTable } from '../../producers/table.ts'
import { rowOptions, sales } from './rows.ts'

const rejection = (columns: string[], more: Partial<RowOptions> = {}) => {
  try {
    readTable(columns, rowOptions({ sourceName: 'tx.csv', ...more }))
  } catch (error) {
    const { code, message } = error as { code: string; message: string }
    return [code, ...message.split('\n')]
  }
  return 'nothing'
}

describe('columns that the stream needs and the file lacks are one error', () => {
  test('with the names that are meant', () => {
    expect(rejection(['TX_ID', 'Amount', 'DATE_AT', 'note'])).toEqual([
      'usage',
      'tx.csv lacks columns that the stream sales needs: id, amount, at.',
      '  columns of the file: TX_ID, Amount, DATE_AT, note',
      "  to name them: --map 'id=<column>,amount=Amount,at=<column>'",
    ])
  })

  test('a map that is already given is kept, and a column that is taken is not meant again', () => {
    const map = new Map([['id', 'ID']])
    expect(rejection(['ID', 'amounts', 'at'], { map }).slice(-1)).toEqual([
      '  to name them: --map id=ID,amount=amounts',
    ])
  })

  test('a first row that holds no names is seen', () => {
    expect(rejection(['17', '2018-04-01', 'x']).slice(-1)).toEqual([
      '  the first row must hold the names of the columns; here it holds values',
    ])
  })

  test('columns of optional fields may be absent', () => {
    expect(rejection(['id', 'amount', 'at'])).toBe('nothing')
  })
})

test('names are put in quotes for the shell', () => {
  const map = new Map([['id', "it's"]])
  expect(rejection(["it's", 'amount'], { map }).slice(-1)).toEqual([`  to name them: --map 'id=it'\\''s,at=<column>'`])
})

test('a map must name columns that are there', () => {
  expect(rejection(['id', 'amount', 'at'], { map: new Map([['note', 'REMARK']]) })).toEqual([
    'usage',
    '--map note=REMARK names a column that tx.csv does not have.',
    '  columns of the file: id, amount, at',
  ])
})

test('a doubled column is rejected where it is read, and only there', () => {
  expect(rejection(['id', 'amount', 'at', 'id']).slice(0, 2)).toEqual([
    'usage',
    'tx.csv has two columns id, and id is read from it: rename one.',
  ])
  expect(rejection(['id', 'amount', 'at', 'x', 'x'])).toBe('nothing')
})

test('without a stream there must be a column that names it', () => {
  const streams = [sales, { ...sales, name: 'refunds' }]
  expect(rejection(['id', 'amount', 'at'], { streams, stream: null })).toEqual([
    'usage',
    'tx.csv does not say which stream its rows belong to: name it with --stream (sales, refunds), or give the file a column stream.',
    '  columns of the file: id, amount, at',
  ])
})

test('a mapped column wins over one of the field’s own name', () => {
  const table = readTable(['id', 'amount', 'at', 'ID2'], rowOptions({ map: new Map([['id', 'ID2']]) }))
  expect(table.event((column) => column, 'f, row 1', 1)).toMatchObject({ values: { id: 3, amount: 1, at: 2 } })
  expect(table.used).toEqual([1, 2, 3])
})
