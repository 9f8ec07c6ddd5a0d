/** `produce` and `replay` of CSV, Parquet and packed files, from the arguments to the topic: columns, resuming, what is not sent. */
import { appendFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { ensureTopics } from '../../cli/topics/requirements.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import type { Broker, BrokerData } from '../../runtime/broker.ts'
import { systemClock } from '../../runtime/clock.ts'
import { isFramed, unframed } from '../../runtime/framed-records.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { createVirtualClock } from '../../testing/virtual-clock.ts'
import { type CallOptions, call, scratchFolder } from './call.ts'

const env = { MILLRACE_NAMESPACE: 'files-test' }
const path = 'pipelines/card-fraud.ts'
const plan = compile(cardFraud, { namespace: 'files-test' })
const atMs = Date.UTC(2018, 3, 1)
const map = 'txId=TX_ID,customerId=CUSTOMER,terminalId=TERMINAL,amount=AMOUNT,at=TIME'
const asTransactions = ['--stream', 'transactions', '--map', map]

async function setUp() {
  const memory = createMemoryBroker({ clock: systemClock })
  await ensureTopics(memory.admin, plan, 2)
  const broker: Broker = { ...memory, close: async () => undefined }
  const folder = await scratchFolder()
  const produce = (source: string, args: readonly string[] = asTransactions, more: CallOptions = {}) =>
    call(['produce', path, '--source', source, ...args], { env, openBroker: () => broker, ...more })
  return { broker, folder, produce }
}

/** In the order of the partitions, which hold one customer each here. */
async function transactionsIn(broker: BrokerData): Promise<Array<Record<string, unknown>>> {
  const { topic, codec } = plan.scored
  const fetcher = await broker.fetcher()
  const from = [0, 1].map((partition) => ({ topic, partition, offset: 0 }))
  const fetched = await fetcher.fetch(from, { maxWaitMs: 0, partitionBytesMax: 1e9 })
  await fetcher.close()
  return fetched.flatMap(({ records }) =>
    Array.from(records, ({ value }) => {
      const decoded = codec.decode(value)
      return decoded.ok ? decoded.event : { undecodable: true }
    }),
  )
}

const idsIn = async (broker: Broker) => (await transactionsIn(broker.data)).map(({ txId }) => txId)

const header = 'TX_ID;CUSTOMER;TERMINAL;AMOUNT;TIME;SHOP'
const row = (n: number, amount: string = String(n)) =>
  `t${n};c;m;${amount};${new Date(atMs + n * 1_000).toISOString()};x`
const csv = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `${row(from + i)}\n`).join('')
const ids = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => `t${from + i}`)
const withSemicolons = [...asTransactions, '--delimiter', ';']

describe('columns', () => {
  test('of other names are mapped, and unused ones are reported', async () => {
    const { broker, folder, produce } = await setUp()
    const file = join(folder, 'tx.csv')
    await writeFile(file, `${header}\n${csv(0, 3)}`)
    const { code, out, err } = await produce(file, withSemicolons)
    expect(code, err.join('\n')).toBe(0)
    expect(err).toEqual([`${file}: columns that are not read: SHOP.`])
    expect(out[0]).toMatch(/^Sent 3 events in \d+\.\d s/)
    expect(await transactionsIn(broker.data)).toEqual(
      [0, 1, 2].map((n) => ({ txId: `t${n}`, customerId: 'c', terminalId: 'm', amount: n, at: atMs + n * 1_000 })),
    )
  })

  test('that are missing are one error, before Kafka is contacted', async () => {
    const { folder } = await setUp()
    const file = join(folder, 'tx.csv')
    await writeFile(file, `${header}\n${csv(0, 3)}`)
    const args = ['produce', path, '--source', file, '--stream', 'transactions', '--delimiter', ';']
    const openBroker = () => expect.fail('no broker is needed')
    const { code, err } = await call(args, { env, openBroker })
    expect([code, ...err]).toEqual([
      2,
      `error: ${file} lacks columns that the stream transactions needs: txId, customerId, terminalId, amount, at.`,
      '  columns of the file: TX_ID, CUSTOMER, TERMINAL, AMOUNT, TIME, SHOP',
      "  to name them: --map 'txId=TX_ID,customerId=CUSTOMER,terminalId=TERMINAL,amount=AMOUNT,at=<column>'",
      'Call the command as the message says; --help shows examples.',
    ])
  })

  test('packed text and Parquet are read too, and keys of JSON lines are mapped', async () => {
    const { broker, folder, produce } = await setUp()
    const [packed, lines] = [join(folder, 'tx.tsv.GZ'), join(folder, 'tx.jsonl.gz')]
    const text = `${header}\n${csv(0, 2)}`.replaceAll(';', '\t')
    await writeFile(packed, gzipSync(text))
    await writeFile(
      lines,
      gzipSync('{"TX_ID":"t2","CUSTOMER":"c","TERMINAL":"m","AMOUNT":5,"TIME":1522540800000,"at":"x"}'),
    )
    for (const file of [packed, lines]) expect(await produce(file)).toMatchObject({ code: 0 })
    expect(await idsIn(broker)).toEqual(['t0', 't1', 't2'])
    const parquet = fileURLToPath(new URL('../producers/fixtures/zstd.parquet', import.meta.url))
    const toParquet = 'txId=TX_ID,customerId=CUSTOMER,terminalId=CUSTOMER,amount=AMOUNT,at=AT'
    const { out } = await produce(parquet, ['--stream', 'transactions', '--map', toParquet])
    // One amount is missing, two have more than two decimals or too many digits.
    expect(out.slice(-1)).toEqual(['  not sent, since they are no valid events: 3 (missing 1, decimals 1, range 1)'])
    expect(await idsIn(broker)).toHaveLength(7)
  })
})

describe('options that exclude each other are rejected', () => {
  const rejectedOptions: Array<[string[], string]> = [
    [
      ['--source', 'stdin', '--resume'],
      '--resume applies to a file or a generated source: standard input cannot be read',
    ],
    [['--source', 'stdin', '--format', 'parquet'], 'Parquet is not read from standard input'],
    [['--source', 'stdin', '--delimiter', ';'], '--delimiter applies to CSV only, and stdin is jsonl.'],
    [['--source', 'orders=tx.csv'], 'card-fraud has no stream orders. Did you mean '],
    [
      ['--source', 'transactions=x.csv', '--stream', 'chargebacks'],
      'is of the stream transactions, and --stream says chargebacks',
    ],
    [['--source', 'a.csv', '--source', 'a.csv'], '--source a.csv is given twice.'],
    [['--source', 'stdin', '--source', 'chargebacks=stdin'], '--source stdin is given twice'],
    [['--source', 'handbook', '--source', 'a.csv'], '--source handbook gives all its streams in order'],
    [
      ['--source', 'transactions=a.csv', '--delimiter', 'chargebacks=;'],
      '--delimiter is given for chargebacks, but sources are of transactions.',
    ],
    [['--source', 'a.csv', '--sort', '--unsorted'], "option '--unsorted' cannot be used with option '--sort'"],
    [['--source', 'handbook', '--format', 'csv'], '--format applies to a file or stdin only'],
    [['--source', 'LICENSE'], 'The ending of LICENSE does not say what it holds; expected .csv, .tsv'],
    [['--source', 'none.csv'], 'Source none.csv cannot be read: ENOENT'],
    [['--source', 'test'], 'Source test cannot be read: it is no file'],
    [['--source', 'LICENSE', '--format', 'csv'], 'LICENSE does not say which stream its rows belong to'],
    [['--source', 'stdin', '--map', 'id=x'], '--map names id, which card-fraud has no field for. Did you mean at?'],
    [['--source', 'stdin', '--map', 'at=x', '--map', 'txId=y,at=z'], 'The field at is mapped twice.'],
    [['--source', 'stdin', '--map', 'at'], 'Expected field=column, such as customerId=CUSTOMER_ID, received "at".'],
    [['--source', 'stdin', '--format', 'csv', '--delimiter', '""'], 'Expected one character such as ";"'],
    [['--source', 'stdin', '--format', 'xml'], 'Allowed choices are csv, jsonl, parquet.'],
  ]
  test.each(rejectedOptions)('%s', async (args, expected) => {
    const { code, err } = await call(['produce', path, ...args], { env, openBroker: () => expect.fail('none') })
    expect(code).toBeGreaterThan(0)
    expect(err.join('\n')).toContain(expected)
  })
})

describe('resume', () => {
  test('continues after what was sent, also where lines were added since', async () => {
    const { broker, folder, produce } = await setUp()
    const file = join(folder, 'tx.csv')
    await writeFile(file, `${header}\n${csv(0, 50)}`)
    const clock = createVirtualClock(0)
    const onLine = (line: string, process: NodeJS.EventEmitter) => {
      if (line.includes(' events, ')) process.emit('SIGTERM')
    }
    const stopped = await produce(file, [...withSemicolons, '--rate', '20'], { clock, onLine })
    expect(stopped.out[0]).toMatch(/^Stopped after 2\d events/)
    expect(stopped.err[1]).toMatch(/^2\d events, 2\d\/s, event time 2018-04-01T00:00:\S+, 100 % read$/)
    await appendFile(file, csv(50, 60))
    const figures = join(folder, 'figures.json')
    const resumed = await produce(file, [...withSemicolons, '--resume', '--json', figures])
    expect(resumed.err[1]).toMatch(/: 2\d rows are completed; continuing after them\.$/)
    expect(resumed.out.slice(1)).toEqual([
      expect.stringMatching(/transactions: (?:3\d|40)$/),
      '  chargebacks: 0',
      expect.stringMatching(/ {2}rows completed by an earlier run: 2\d/),
    ])
    const { events, skipped } = JSON.parse(await readFile(figures, 'utf8'))
    expect(events + skipped).toBe(60)
    expect(await idsIn(broker)).toEqual(ids(0, 60))
  })

  test('is rejected in a file that was changed', async () => {
    const { folder, produce } = await setUp()
    const file = join(folder, 'tx.csv')
    await writeFile(file, `${header}\n${csv(0, 5)}`)
    await produce(file, withSemicolons)
    await writeFile(file, `${header}\n${csv(1, 6)}`)
    const { code, err } = await produce(file, [...withSemicolons, '--resume'])
    expect([code, err[1]]).toEqual([
      1,
      `error: ${file} has changed since a part of it was sent: it was written again. The position no longer matches its rows.`,
    ])
    expect(await produce(file, withSemicolons)).toMatchObject({ code: 0 })
  })

  test('works for a generated source', async () => {
    const { broker, produce } = await setUp()
    const day = ['--until', '2018-04-01T01:00:00Z']
    const { out } = await produce('handbook', day)
    const again = await produce('handbook', [...day, '--resume'])
    expect(again.out[0]).toMatch(/^Sent 0 events/)
    expect(again.out.at(-1)).toBe(`  rows completed by an earlier run: ${/\d+/.exec(out[0]!)![0]}`)
    expect(await idsIn(broker)).toHaveLength(Number(/\d+/.exec(out[0]!)![0]))
  })
})

describe('several sources', () => {
  const lines = (n: number, at: (n: number) => number) =>
    Array.from({ length: n }, (_, i) => `t${i},c,m,${i},${new Date(atMs + at(i)).toISOString()}`).join('\n')
  const chargeback = (n: number, at: number) =>
    JSON.stringify({ txId: `t${n}`, customerId: 'c', terminalId: 'm', txAt: atMs, reportedAt: atMs + at })

  async function files(at: (n: number) => number = (n) => n * 1_000) {
    const made = await setUp()
    const [tx, cb] = [join(made.folder, 'tx.csv'), join(made.folder, 'cb.jsonl')]
    await writeFile(tx, `txId,customerId,terminalId,amount,at\n${lines(6, at)}\n`)
    await writeFile(cb, `${chargeback(0, 2_000)}\n${chargeback(1, 3_500)}\n`)
    const args = ['--source', `transactions=${tx}`, '--source', `chargebacks=${cb}`]
    return { ...made, tx, cb, args }
  }

  test('are merged by event time, of one instant in canonical order', async () => {
    const { args } = await files()
    const sent: string[] = []
    const broker = createMemoryBroker({ clock: systemClock, onTransact: async () => undefined })
    await ensureTopics(broker.admin, plan, 1)
    const recording: Broker = {
      ...broker,
      close: async () => undefined,
      groups: {
        ...broker.groups,
        worker: async (options) => {
          const worker = await broker.groups.worker(options)
          return {
            ...worker,
            transact: (records, ...more) => {
              const single = records.flatMap((one) => (isFramed(one) ? unframed(one) : one))
              sent.push(...single.map(({ topic, key }) => `${topic.split('.').at(-1)} ${key}`))
              return worker.transact(records, ...more)
            },
          }
        },
      },
    }
    const { code, err } = await call(['produce', path, ...args], { env, openBroker: () => recording })
    expect(code, err.join('\n')).toBe(0)
    const [t, c] = ['transactions c', 'chargebacks c']
    expect(sent).toEqual([t, t, t, c, t, c, t, t])
  })

  test('out of order say which row and how to sort it, and are sorted with --sort', async () => {
    const { broker, tx, args, produce } = await files((n) => (n === 3 ? 500 : n * 1_000))
    const [source, ...more] = args.slice(1)
    const refused = await produce(source!, more)
    expect([refused.code, refused.err[0]]).toEqual([
      2,
      `error: ${tx} is not in the order of event time: ${tx}, line 5 (2018-04-01T00:00:00.500Z) is 1500ms before ${tx}, line 4 ` +
        '(2018-04-01T00:00:02.000Z), the first of 1 such rows, and the stream transactions declares a disorder of 0ms. To have it sorted, in a ' +
        'temporary folder, add --sort. Nothing was sent; --unsorted sends the rows as they are.',
    ])
    expect(await idsIn(broker)).toEqual([])
    const sorted = await produce(source!, [...more, '--sort'])
    expect(sorted.code, sorted.err.join('\n')).toBe(0)
    expect(await idsIn(broker)).toEqual(['t0', 't3', 't1', 't2', 't4', 't5'])
    expect(await produce(source!, [...more, '--unsorted'])).toMatchObject({ code: 0 })
  })

  test('have their own positions: lines added to one are sent, whatever order the sources are named in', async () => {
    const { broker, tx, args, produce } = await files()
    const figures = join(tx, '..', 'figures.json')
    await produce(args[1]!, args.slice(2))
    await appendFile(tx, 't6,c,m,6,2018-04-01T00:01:00Z\n')
    const reversed = [...args.slice(2), ...args.slice(0, 2)]
    const { code, err } = await produce(reversed[1]!, [...reversed.slice(2), '--resume', '--json', figures])
    expect(code, err.join('\n')).toBe(0)
    expect(JSON.parse(await readFile(figures, 'utf8'))).toMatchObject({ events: 1, skipped: 8 })
    expect(await idsIn(broker)).toEqual(['t0', 't1', 't2', 't3', 't4', 't5', 't6'])
  })

  test('are replayed in the same order', async () => {
    const { folder, args } = await files()
    const out = join(folder, 'out.csv')
    const { code, err } = await call(['replay', path, ...args, '--out', out])
    expect(code, err.join('\n')).toBe(0)
    expect((await readFile(out, 'utf8')).trim().split('\n')).toHaveLength(7)
  })

  test('map columns by stream', async () => {
    const { broker, folder, produce } = await setUp()
    const file = join(folder, 'both.csv')
    await writeFile(file, `stream,A,B,m,1,at\ntransactions,t1,c,m,1,${atMs}\nchargebacks,c,t1,m,1,${atMs}\n`)
    const map =
      'transactions.txId=A,transactions.customerId=B,terminalId=m,amount=1,chargebacks.txId=B,chargebacks.customerId=A,txAt=at,reportedAt=at'
    const { code, err } = await produce(file, ['--map', map])
    expect(code, err.join('\n')).toBe(0)
    expect(await idsIn(broker)).toEqual(['t1'])
  })
})

describe('rows that are not sent', () => {
  const parsed = (line: string) => JSON.parse(line) as Record<string, unknown>

  test('are written so that they can be repaired and sent', async () => {
    const { broker, folder, produce } = await setUp()
    const [file, rejected] = [join(folder, 'tx.csv'), join(folder, 'rejected.jsonl')]
    await writeFile(file, [header, row(0), row(1, 'x'), 't2;c', row(3, '-3'), ';c;m;1;;x', row(4)].join('\n'))
    const { out } = await produce(file, [...withSemicolons, '--rejected', rejected])
    expect(out.at(-1)).toBe('  not sent, since they are no valid events: 4 (type 1, not_csv 1, range 1, length 1)')
    const lines = (await readFile(rejected, 'utf8')).trim().split('\n')
    expect(lines.map(parsed)).toEqual([
      {
        stream: 'transactions',
        txId: 't1',
        customerId: 'c',
        terminalId: 'm',
        amount: 'x',
        at: '2018-04-01T00:00:01.000Z',
        $rejected: {
          row: 2,
          position: [0, 2],
          location: `${file}, line 3`,
          problems: [
            {
              path: '/amount',
              code: 'type',
              expected: 'a finite number >= 0 with at most 2 decimals',
              received: 'x',
            },
          ],
        },
      },
      { $rejected: expect.objectContaining({ row: 3, location: `${file}, line 4`, text: 't2;c' }) },
      expect.objectContaining({ txId: 't3', amount: -3 }),
      expect.objectContaining({ txId: '', amount: 1 }),
    ])
    const repaired = join(folder, 'repaired.jsonl')
    await writeFile(repaired, `${lines[0]!.replace('"amount":"x"', '"amount":1')}\n${lines[2]!.replace('-3', '3')}\n`)
    expect(await produce(repaired, [])).toMatchObject({ code: 0 })
    expect(await idsIn(broker)).toEqual(['t0', 't4', 't1', 't3'])
  })

  test('are in the file once, however often the run was resumed', async () => {
    const { folder, produce } = await setUp()
    const [file, rejected] = [join(folder, 'tx.csv'), join(folder, 'rejected.jsonl')]
    await writeFile(file, `${[header, row(0, 'x'), row(1), row(2, 'y')].join('\n')}\n`)
    const args = [...withSemicolons, '--rejected', rejected]
    await produce(file, args)
    const once = await readFile(rejected, 'utf8')
    // As a run leaves it that dies between the file and the commit, in the middle of a line.
    await appendFile(
      rejected,
      `${once.split('\n')[1]!.replace('"position":[0,3]', '"position":[0,4]')}\n{"stream":"tra`,
    )
    await appendFile(file, `${row(3, 'z')}\n`)
    await produce(file, [...args, '--resume'])
    const rows = (await readFile(rejected, 'utf8')).trim().split('\n').map(parsed)
    expect(rows.map(({ amount, $rejected }) => [amount, ($rejected as { row: number }).row])).toEqual([
      ['x', 1],
      ['y', 3],
      ['z', 4],
    ])
  })

  test('never continue in a file of another kind', async () => {
    const { folder, produce } = await setUp()
    const [file, rejected] = [join(folder, 'tx.csv'), join(folder, 'other.jsonl')]
    await writeFile(file, `${header}\n${csv(0, 1)}`)
    await writeFile(rejected, '{"a":1}\n')
    const { code, err } = await produce(file, [...withSemicolons, '--resume', '--rejected', rejected])
    expect([code, err.at(-2)]).toEqual([2, expect.stringContaining('was not written by --rejected')])
    expect(await readFile(rejected, 'utf8')).toBe('{"a":1}\n')
  })
})

test('replay reads the same files', async () => {
  const folder = await scratchFolder()
  const [file, out] = [join(folder, 'tx.csv'), join(folder, 'features.csv')]
  await writeFile(file, `${header}\n${csv(1, 3)}`)
  const { code, err } = await call(['replay', path, '--source', file, ...withSemicolons, '--out', out])
  expect(code, err.join('\n')).toBe(0)
  const lines = (await readFile(out, 'utf8')).trim().split('\n')
  expect(lines.slice(1).map((line) => line.split(',').slice(0, 5))).toEqual([
    ['t1', '0', 'c', 'm', '1'],
    ['t2', '1', 'c', 'm', '2'],
  ])
})
