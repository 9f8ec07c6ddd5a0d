/** `millrace replay` on a few days of the Handbook and on files: the CSV holds exactly what the replay gives. */
import { existsSync } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse } from 'csv-parse/sync'
import { describe, expect, test } from 'vitest'
import { predictor } from '../../online-model/models/scorer.ts'
import { modelToJson } from '../../online-model/registry/model-file.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import { createReplay } from '../../processors/replay.ts'
import type { EventValues } from '../../schemas/kernel/event.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import { call, scratchFolder } from './call.ts'

const plan = compile(cardFraud)
const features = plan.features.map(({ name }) => name)
const atMs = Date.UTC(2020, 0, 1)

function transaction(n: number, values: object = {}) {
  return {
    stream: 'transactions',
    txId: `t${n}`,
    customerId: 'c1',
    terminalId: 'm1',
    amount: n + 0.1,
    at: atMs + n * 1_500,
    ...values,
  }
}

async function replayLines(events: readonly object[], more: readonly string[] = []) {
  const folder = await scratchFolder()
  const [source, out] = [join(folder, 'events.jsonl'), join(folder, 'out.csv')]
  await writeFile(source, events.map((event) => JSON.stringify(event)).join('\n'))
  const called = await call(['replay', 'pipelines/card-fraud.ts', '--source', source, '--out', out, ...more])
  const rows: Record<string, string>[] = existsSync(out) ? parse(await readFile(out), { columns: true }) : []
  return { ...called, folder, source, out: called.out, rows, files: await readdir(folder) }
}

const model: ModelVersion = {
  kind: 'version',
  version: 'v7',
  createdAtMs: 0,
  fingerprint: plan.fingerprint,
  seed: 0,
  model: {
    kind: 'logistic',
    features,
    means: features.map((_, i) => i),
    scales: features.map((_, i) => 1 + i / 3),
    weights: features.map((_, i) => Math.sin(i)),
    intercept: -1.5,
  },
  metrics: {},
  trainedOn: [],
  parent: null,
  origin: 'manual',
}

describe('the file', () => {
  test('has the columns of the definition, and numbers that read back as the same doubles', async () => {
    const events = [transaction(0), transaction(1, { amount: 0.3 }), transaction(2)]
    const { code, rows } = await replayLines(events)
    expect(code).toBe(0)
    expect(Object.keys(rows[0]!)).toEqual(['txId', 'seconds', 'customer', 'terminal', ...features])

    const replay = createReplay(plan, { partitions: 4 })
    const expected = events.flatMap((event) => replay.push(0, event as unknown as EventValues)).concat(replay.flush())
    expect(expected).toHaveLength(3)
    expect(rows.map(({ txId, seconds, customer, terminal }) => [txId, seconds, customer, terminal])).toEqual([
      ['t0', '0', 'c1', 'm1'],
      ['t1', '1.5', 'c1', 'm1'],
      ['t2', '3', 'c1', 'm1'],
    ])
    for (const [i, row] of rows.entries()) {
      const values = features.map((name) => (row[name] === '' ? Number.NaN : Number(row[name])))
      expect(Buffer.from(Float64Array.from(values).buffer)).toEqual(
        Buffer.from(Float64Array.from(expected[i]!.vector).buffer),
      )
    }
    expect(rows[2]!.customerMean7d).toBe(String((0.1 * 10 + 3 + 21) / 30))
  })

  test('has scores of a model in its last column', async () => {
    const folder = await scratchFolder()
    await writeFile(join(folder, 'model.json'), modelToJson(model))
    const figures = join(folder, 'figures.json')
    const { code, rows, out, source } = await replayLines(
      [transaction(0), transaction(1)],
      ['--model', join(folder, 'model.json'), '--json', figures],
    )
    expect(code).toBe(0)
    const score = predictor(model.model, plan)
    for (const row of rows) expect(Number(row.score)).toBe(score(features.map((name) => Number(row[name]))))
    expect(Object.keys(rows[0]!).at(-1)).toBe('score')
    expect(out[0]).toBe(
      `${source.replace('events.jsonl', 'out.csv')}: 2 rows from 2 events in ${/in (\S+) s/.exec(out[0]!)![1]} s; ` +
        '0 duplicates and 0 rejected events left out.',
    )
    expect(JSON.parse(await readFile(figures, 'utf8'))).toMatchObject({
      rows: 2,
      events: 2,
      duplicates: 0,
      model: 'v7',
    })
  })

  test('leaves duplicates out and counts them', async () => {
    const { rows, out } = await replayLines([transaction(0), transaction(0), transaction(9)])
    expect(rows.map(({ txId }) => txId)).toEqual(['t0', 't9'])
    expect(out[0]).toContain('2 rows from 3 events')
    expect(out[0]).toContain('1 duplicates and 0 rejected')
  })

  test('of the Handbook counts seconds from its start', async () => {
    const out = join(await scratchFolder(), 'handbook.csv')
    const { code } = await call([
      'replay',
      'pipelines/card-fraud.ts',
      '--source',
      'handbook',
      '--until',
      '2018-04-02',
      '--out',
      out,
    ])
    expect(code).toBe(0)
    const rows: Record<string, string>[] = parse(await readFile(out), { columns: true })
    expect(
      rows.slice(0, 3).map(({ seconds, customer, terminal, amount }) => [seconds, customer, terminal, amount]),
    ).toEqual([
      ['31', '596', '3156', '57.16'],
      ['130', '4961', '3412', '81.51'],
      ['476', '2', '1365', '146'],
    ])
    expect(rows).toHaveLength(9_488)
  })
})

describe('events that are left out', () => {
  const clicks = 'test/cli/fixtures/clicks.ts'
  const click = (clickId: string, seconds: number, values: object = {}) => {
    const at = Date.UTC(2024, 0, 1) + seconds * 1_000
    return JSON.stringify({ stream: 'clicks', clickId, user: 'anna', page: 'home', amount: 1, at, ...values })
  }

  async function replayClicks(lines: readonly string[], ...more: readonly string[]) {
    const folder = await scratchFolder()
    const [source, out, json] = [join(folder, 'clicks.jsonl'), join(folder, 'out.csv'), join(folder, 'out.json')]
    await writeFile(source, lines.join('\n'))
    const called = await call(['replay', clicks, '--source', source, '--out', out, '--json', json, ...more])
    return { ...called, source, figures: existsSync(json) ? JSON.parse(await readFile(json, 'utf8')) : null }
  }

  test('are told with the reason and an example, and the exit code says so', async () => {
    const events = [
      click('a', 0),
      click('b', 1, { amount: 13 }),
      click('c', 2, { amount: 17 }),
      click('d', 3, { amount: 13 }),
    ]
    const { code, out, figures } = await replayClicks(events)
    expect(code).toBe(3)
    expect(out.slice(1)).toEqual([
      '  2 × clicks function_threw',
      expect.stringMatching(
        /^ {6}b of 2024-01-01T00:00:01.000Z: \/features\/guarded expected a function that does not throw, /,
      ),
      '  1 × clicks not_finite',
      expect.stringMatching(
        /^ {6}c of 2024-01-01T00:00:02.000Z: \/features\/guarded expected a finite number or null, /,
      ),
    ])
    expect(figures).toMatchObject({
      rows: 1,
      rejected: 3,
      reasons: { 'clicks function_threw': 2, 'clicks not_finite': 1 },
    })
  })

  test('so many are allowed, of rows that are no events and of those without features together', async () => {
    const events = [click('a', 0), click('b', 1, { amount: 13 }), click('c', 2, { amount: 'x' })]
    const allowed = await replayClicks(events, '--allow-rejects', '2')
    expect(allowed.code).toBe(0)
    expect(allowed.out.join('\n')).toMatch(/1 × clicks type\n {6}.*clicks\.jsonl, line 3: \/amount expected/)
    expect((await replayClicks(events, '--allow-rejects', '1')).code).toBe(3)
  })

  test('within the declared disorder none is: the rows are put in order, as a running pipeline does', async () => {
    const folder = await scratchFolder()
    await writeFile(
      join(folder, 'disordered.ts'),
      `import { clicksPipeline } from '${join(process.cwd(), 'test/support/clicks.ts')}'\n` +
        "export default clicksPipeline({ disorder: '10s' })\n",
    )
    const source = join(folder, 'clicks.jsonl')
    await writeFile(source, [click('b', 5), click('a', 0), click('c', 6)].join('\n'))
    const out = join(folder, 'out.csv')
    const { code } = await call(['replay', join(folder, 'disordered.ts'), '--source', source, '--out', out])
    expect(code).toBe(0)
    const rows: Record<string, string>[] = parse(await readFile(out), { columns: true })
    expect(rows.map(({ clickId, userCount1m }) => [clickId, userCount1m])).toEqual([
      ['a', '1'],
      ['b', '2'],
      ['c', '3'],
    ])
  })
})

describe('nothing is left behind', () => {
  test('when an event is none', async () => {
    const { code, err, files } = await replayLines([transaction(0), transaction(1, { amount: -1 })])
    expect(code).toBe(1)
    expect(err[0]).toMatch(
      /^error: The replay's source holds no valid event at .*events\.jsonl, line 2: \/amount expected a finite number >= 0.*, received -1\.$/,
    )
    expect(files).toEqual(['events.jsonl'])
  })

  test('when events are out of order', async () => {
    const { code, err, files } = await replayLines([transaction(1), transaction(0)])
    expect([code, files]).toEqual([2, ['events.jsonl']])
    expect(err[0]).toMatch(
      /events\.jsonl is not in the order of event time: .*line 2 .* is 1500ms before .*line 1 .* To have it sorted, .*, add --sort\.$/,
    )
  })

  test('when it is stopped: an older file stays as it is', async () => {
    const out = join(await scratchFolder(), 'out.csv')
    await writeFile(out, 'older')
    const exits: number[] = []
    const args = ['replay', 'pipelines/card-fraud.ts', '--source', 'stdin', '--out', out]
    const called = await call(args, {
      stdin: JSON.stringify(transaction(0)),
      exits,
      onStdin: (process) => process.emit('SIGINT'),
    })
    expect(called).toEqual({
      code: 130,
      out: [],
      err: ['Stopping. A second signal stops immediately.', `Stopped: ${out} was not written.`],
    })
    expect(await readFile(out, 'utf8')).toBe('older')
    expect(exits).toEqual([])
  })

  test('when there is no model', async () => {
    const { code, err, files } = await replayLines([transaction(0)], ['--model', 'gone.json'])
    expect([code, files]).toEqual([1, ['events.jsonl']])
    expect(err[0]).toMatch(/^error: Model gone\.json cannot be read: ENOENT/)
  })
})
