/** The file of a training store: restarts, what it rejects, bounds, copies. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DuckDBInstance } from '@duckdb/node-api'
import { describe, expect, onTestFinished, test } from 'vitest'
import { columnsOf } from '../../../online-model/training-store/layout.ts'
import type { TrainingStore } from '../../../online-model/training-store/store.ts'
import { text } from '../../../schemas/definition/definition.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import { clicksPipeline } from '../../support/clicks.ts'
import {
  batchOf,
  clicksPlan,
  folder,
  hourMs,
  label,
  openStore,
  prediction,
  rowLines,
  startMs,
} from './store-fixture.ts'

const everything = { fromMs: 0, untilMs: Number.MAX_SAFE_INTEGER }

/** `count` events, one a second, every tenth positive; all of them mature. */
async function fill(store: TrainingStore, count: number): Promise<void> {
  const rows = Array.from({ length: count }, (_, offset) => prediction(`e${offset}`, offset, { offset }))
  const labels = rows
    .filter((_, n) => n % 10 === 0)
    .map(({ prediction }, offset) => label(prediction.id, (prediction.time - startMs) / 1_000 + 60, { offset }))
  const end = count + 7_200
  await store.apply(
    batchOf(
      [...rows, prediction('end', end, { offset: count })],
      [...labels, label('end', end, { offset: labels.length })],
    ),
  )
}

describe('a file', () => {
  test('has all of it again after a restart', async () => {
    const file = join(folder(), 'store.duckdb')
    const first = await openStore({ file })
    await fill(first, 100)
    await first.saveState('learner', { upToSeq: 40, bytes: Buffer.from([0, 1, 255]) })
    const [status, rows] = [first.status(), await first.rows(everything, 'latest')]
    await first.close()
    const again = await openStore({ file, consumers: ['learner'] })
    expect(again.status()).toEqual(status)
    expect(await again.rows(everything, 'latest')).toEqual(rows)
    expect(await again.state('learner')).toEqual({ upToSeq: 40, bytes: Buffer.from([0, 1, 255]) })
    expect(await again.state('nobody')).toBeNull()
  })

  test('a failed batch leaves nothing behind', async () => {
    const store = await openStore({ file: join(folder(), 'store.duckdb') })
    await fill(store, 10)
    const status = store.status()
    const wrong = prediction('wrong', 5, { offset: 11 })
    const bent = { ...wrong, prediction: { ...wrong.prediction, time: 0.5 } }
    await expect(store.apply(batchOf([bent], [label('e1', 9_000, { offset: 2 })]))).rejects.toThrow()
    expect(store.status()).toEqual(status)
    expect(await store.query('SELECT count(*)::INTEGER FROM labels')).toEqual([[1]])
    await store.apply(batchOf([wrong], []))
    expect(store.status().counts.predictions).toBe(12)
  })

  test('is rejected while this process or another one has it open', async () => {
    const file = join(folder(), 'store.duckdb')
    const store = await openStore({ file })
    await expect(openStore({ file })).rejects.toMatchObject({
      code: 'training_store_locked',
      message:
        `The training store ${file} is taken: this process has it open already, and DuckDB lets one process in. ` +
        'Stop that one, name another file, or read a snapshot.',
    })
    await store.close()
    const script = `import { DuckDBInstance } from '@duckdb/node-api'
      const instance = await DuckDBInstance.create(${JSON.stringify(file)}); console.log('open'); setInterval(() => instance, 1e6)`
    const other = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void other.kill('SIGKILL'))
    await once(createInterface(other.stdout), 'line')
    await expect(openStore({ file })).rejects.toMatchObject({
      code: 'training_store_locked',
      message: expect.stringContaining(`is taken: process ${other.pid} has it open, and DuckDB lets one process in.`),
    })
    // As when it is killed: the file is free at once.
    other.kill('SIGKILL')
    await once(other, 'exit')
    await openStore({ file })
  })

  test('that is none or broken is rejected, and built again on request', async () => {
    const file = join(folder(), 'store.duckdb')
    writeFileSync(file, 'x'.repeat(20_000))
    await expect(openStore({ file })).rejects.toMatchObject({
      code: 'training_store_unreadable',
      message: expect.stringMatching(
        / cannot be read: DuckDB .* Remove the file: the next start builds it again from Kafka\.$/,
      ),
    })
    const store = await openStore({ file, rebuild: true })
    await fill(store, 100)
    await store.close()
    const bytes = readFileSync(file)
    bytes.fill(0xee, 0, 12_288)
    writeFileSync(file, bytes)
    await expect(openStore({ file })).rejects.toMatchObject({ code: 'training_store_unreadable' })
    await expect(openStore({ file: join(folder(), 'nowhere', 'store.duckdb') })).rejects.toMatchObject({
      code: 'training_store_failed',
      message: expect.stringContaining('Name a file in a folder that exists and may be written to.'),
    })
  })

  test('of an earlier definition keeps its rows, without the features that have changed', async () => {
    const file = join(folder(), 'store.duckdb')
    const first = await openStore({ file, consumers: ['learner'] })
    await fill(first, 100)
    await first.saveState('learner', { upToSeq: 40, bytes: Buffer.from([1]) })
    await first.saveState('schedule', { upToSeq: 0, bytes: Buffer.from([2]) })
    const [status, before] = [first.status(), await first.rows(everything, 'latest')]
    expect(first.earlierDefinition).toBeNull()
    await first.close()

    const other = compile(clicksPipeline({ over: '20m', moreFields: { note: text({ optional: true }) } }))
    const second = await openStore({ file, plan: other, consumers: ['learner'] })
    expect(second.earlierDefinition).toBe(clicksPlan.fingerprint)
    const { predictions } = status.counts
    expect(second.status()).toEqual({ ...status, counts: { ...status.counts, earlier: predictions } })
    expect(predictions).toBeGreaterThan(99)
    const after = await second.rows(everything, 'latest')
    expect(after).toMatchObject({
      rowCount: before.rowCount,
      ids: before.ids,
      labels: before.labels,
      seqs: before.seqs,
    })
    const [width, changed] = [other.features.length, ['userSum', 'refunds']]
    const expected = before.rows.map((value, at) =>
      changed.includes(other.features[at % width]!.name) ? Number.NaN : value,
    )
    expect(after.rows).toEqual(expected)
    // The learner learns from all rows again; when the next retraining is due has nothing to do with features.
    expect(await second.state('learner')).toBeNull()
    expect((await second.state('schedule'))?.bytes).toEqual(Buffer.from([2]))
    expect(await second.query('SELECT count(*)::INTEGER FROM training_rows WHERE userSum IS NOT NULL')).toEqual([[0]])
    await second.close()

    const third = await openStore({ file, plan: other })
    expect(third.earlierDefinition).toBeNull()
    await third.close()
    // A request to build it again discards the rows.
    const copy = `${file}.copy`
    writeFileSync(copy, readFileSync(file))
    const again = await openStore({ file: copy, rebuild: true })
    expect([again.earlierDefinition, again.status().maturedSeq]).toEqual([null, 0])
    await again.close()
    // A process that only reads changes nothing.
    await expect(openStore({ file, isReadOnly: true, clusterId: null })).rejects.toMatchObject({
      code: 'state_foreign',
      message: expect.stringMatching(
        / The trainer takes its rows over when it starts with this definition; until then, /,
      ),
    })
  })

  test('of an earlier definition keeps each feature in its column, also where names meet those of the store or differ in case', async () => {
    const file = join(folder(), 'store.duckdb')
    const named = (fingerprint: string, names: readonly string[]) => {
      const identity = new Map(clicksPlan.features.map((feature, i) => [names[i]!, feature.identity]))
      // In the order of the alphabet, so that the number of a column is another one.
      const features = [...names]
        .sort()
        .map((name) => ({ ...clicksPlan.features[0]!, name, identity: identity.get(name)! }))
      return { ...clicksPlan, fingerprint, features }
    }
    const before = named('before', ['score', 'Score', 'SCORE', 'label', 'feature_score', 'amount'])
    const after = named('after', ['score', 'Score', 'SCORE', 'label', 'feature_score', 'Amount'])
    const kept = after.features.filter(({ name }) => name !== 'SCORE' && name !== 'score').reverse()
    const first = await openStore({ file, plan: before })
    await fill(first, 100)
    const rows = await first.rows(everything, 'latest')
    await first.close()
    const second = await openStore({ file, plan: { ...after, features: kept } })
    const moved = await second.rows(everything, 'latest')
    const place = new Map(before.features.map(({ name }, i) => [name, i]))
    expect(Array.from(moved.rows)).toEqual(
      rows.ids.flatMap((_, row) =>
        kept.map(({ name }) => (place.has(name) ? rows.rows[row * 6 + place.get(name)!]! : Number.NaN)),
      ),
    )
  })

  test('of another definition, label, topic or cluster is rejected, and built again on request', async () => {
    const file = join(folder(), 'store.duckdb')
    await (await openStore({ file })).close()
    const changed = clicksPlan.features.map((feature) => ({ ...feature, identity: `another ${feature.name}` }))
    const other = { ...clicksPlan, fingerprint: 'another', features: changed }
    await expect(openStore({ file, plan: other })).rejects.toMatchObject({
      code: 'state_foreign',
      message:
        `The training store ${file} belongs to another definition's fingerprint: expected ${other.fingerprint}, ` +
        `it has ${clicksPlan.fingerprint}. Name another file, or start with --rebuild to build it again from Kafka.`,
    })
    await expect(openStore({ file, clusterId: 'there' })).rejects.toThrow(
      'belongs to another Kafka cluster: expected there, it has here.',
    )
    await expect(openStore({ file, plan: compile(clicksPipeline(), { namespace: 'n' }) })).rejects.toThrow(
      'belongs to another topic of predictions: expected n.clicks.predictions, it has clicks.predictions.',
    )
    const label = { ...clicksPlan.label, otherwise: { value: 0, afterMs: 5 } } as const
    await expect(openStore({ file, plan: { ...clicksPlan, label } })).rejects.toThrow('belongs to another label')
    const rebuilt = await openStore({ file, plan: other, rebuild: true })
    expect(rebuilt.status().maturedSeq).toBe(0)
  })

  test('that is a database of somebody else is left alone, also by a rebuild', async () => {
    const file = join(folder(), 'theirs.duckdb')
    const theirs = await DuckDBInstance.create(file)
    const connection = await theirs.connect()
    await connection.run('CREATE TABLE accounts (id INTEGER)')
    connection.closeSync()
    theirs.closeSync()
    await expect(openStore({ file, rebuild: true })).rejects.toMatchObject({
      code: 'state_foreign',
      message: `The file ${file} is a DuckDB database of something else (table accounts): name another file.`,
    })
  })
})

describe('bounds', () => {
  test('events older than the retention are removed, but not before they were handed out', async () => {
    const store = await openStore({ retentionMs: hourMs * 4, consumers: ['learner'] })
    await fill(store, 100)
    const far = 6 * 3_600
    await store.apply(batchOf([prediction('far', far, { offset: 101 })], [label('far', far, { offset: 11 })]))
    expect(store.status().rows.matured).toBe(101)
    await store.saveState('learner', { upToSeq: 50, bytes: Buffer.alloc(0) })
    const farther = far + 3_600
    await store.apply(
      batchOf([prediction('farther', farther, { offset: 102 })], [label('far', farther, { offset: 12 })]),
    )
    expect((await store.matured(0, 1_000)).seqs[0]).toBe(51)
    await store.saveState('learner', { upToSeq: 101, bytes: Buffer.alloc(0) })
    await store.apply(batchOf([prediction('farthest', farther + 900, { offset: 103 })], []))
    expect(store.status()).toMatchObject({ rows: { matured: 1, labels: 0 }, counts: { expired: 101 } })
    expect(rowLines(await store.matured(0, 1_000))).toEqual(['far 21600 1'])
  })

  test('too many rows are sampled: positives stay, negatives represent those removed', async () => {
    const store = await openStore({ rowsMax: 1_000 })
    await fill(store, 4_000)
    const rows = await store.rows(everything, 'latest')
    expect(rows.rowCount).toBeLessThanOrEqual(1_000)
    expect(store.status()).toMatchObject({ rows: { matured: rows.rowCount, waiting: 1 } })
    expect(rows.rowCount + store.status().counts.sampledOut).toBe(4_000)
    const positives = [...rows.labels].filter((value) => value === 1)
    expect(positives).toHaveLength(400)
    const weight = (value: number) =>
      rows.weights.reduce((sum, weight, row) => sum + (rows.labels[row] === value ? weight : 0), 0)
    expect(weight(1)).toBe(400)
    expect(weight(0)).toBeGreaterThan(3_600 * 0.8)
    expect(weight(0)).toBeLessThan(3_600 * 1.2)
    // The same events in another store: chosen by their ids.
    const other = await openStore({ rowsMax: 1_000 })
    await fill(other, 4_000)
    expect((await other.rows(everything, 'latest')).ids).toEqual(rows.ids)
  })

  test('too many that wait are sampled alike, and weigh as much when they mature', async () => {
    const store = await openStore({ rowsMax: 500 })
    const rows = Array.from({ length: 2_000 }, (_, offset) => prediction(`e${offset}`, offset, { offset }))
    await store.apply(batchOf(rows, []))
    const waiting = store.status().rows.waiting
    expect(waiting).toBeLessThanOrEqual(500)
    expect(waiting).toBeGreaterThan(100)
    await store.apply(batchOf([prediction('end', 9_999, { offset: 2_000 })], [label('end', 9_999, { offset: 0 })]))
    const { weights } = await store.matured(0, 1_000)
    expect(weights).toHaveLength(waiting)
    expect(new Set(weights).size).toBe(1)
    expect(weights[0]! * waiting).toBeGreaterThan(1_500)
    expect(weights[0]! * waiting).toBeLessThan(2_500)
  })
})

describe('copies', () => {
  test('a snapshot is the whole store, complete or not there, and others may read it at once', async () => {
    const at = folder()
    const store = await openStore({ file: join(at, 'store.duckdb') })
    await fill(store, 50)
    const copy = join(at, 'copy.duckdb')
    await store.snapshot(copy)
    await store.snapshot(copy)
    expect(readdirSync(at).filter((name) => name.startsWith('copy'))).toEqual(['copy.duckdb'])
    await fill(store, 50)
    const read = await openStore({ file: copy, isReadOnly: true })
    expect(read.status()).toEqual(store.status())
    expect(await read.rows(everything, 'latest')).toEqual(await store.rows(everything, 'latest'))
    expect(await read.find('e10')).toEqual(await store.find('e10'))
    const people =
      'SELECT event_id, label, event_time::VARCHAR, "userCount1m" FROM training_rows WHERE event_id = \'e10\''
    expect(await read.query(people)).toEqual([['e10', 1, '2024-01-01 00:00:10', -10]])
    await expect(store.snapshot(join(at, 'nowhere', 'copy.duckdb'))).rejects.toMatchObject({
      code: 'output_unwritable',
    })
    await store.apply(batchOf([prediction('more', 9_000, { offset: 200 })], []))
  })

  test('Parquet there and back is the same to the bit', async () => {
    const at = folder()
    const file = join(at, 'rows.parquet')
    const store = await openStore()
    await fill(store, 3_000)
    await store.apply(
      batchOf([], [label('e3', 99_999, { offset: 400 }), label('e10', 99_999, { offset: 401, outcome: null })]),
    )
    expect(await store.exportParquet(file)).toBe(3_000)
    const other = await openStore()
    expect(await other.importParquet(file)).toBe(3_000)
    expect(await other.importParquet(file)).toBe(0)
    const rows = await store.rows(everything, 'latest')
    expect(rows.labels.reduce((sum, value) => sum + value, 0)).toBe(300)
    expect(await other.rows(everything, 'latest')).toEqual({ ...rows, seqs: new Float64Array(3_000) })
    // They are not handed out, and what Kafka brings again of them is a duplicate.
    expect((await other.matured(0, 10)).rowCount).toBe(0)
    await other.apply(batchOf([prediction('e5', 5, { offset: 5 })], []))
    expect(other.status().counts).toMatchObject({ imported: 3_000, duplicatePredictions: 1, predictions: 0 })
    const again = join(at, 'again.parquet')
    await other.exportParquet(again)
    expect(readFileSync(again).equals(readFileSync(file))).toBe(true)
    expect(await store.exportParquet(again, { fromMs: startMs, untilMs: startMs + 10_000 })).toBe(10)
  })

  test('a Parquet file of something else is rejected', async () => {
    const at = folder()
    const [file, text] = [join(at, 'rows.parquet'), join(at, 'text')]
    const store = await openStore()
    await fill(store, 10)
    await store.exportParquet(file)
    const plan = compile(clicksPipeline({ over: '20m' }))
    const other = await openStore({ plan })
    await expect(other.importParquet(file)).rejects.toMatchObject({
      code: 'input_unreadable',
      message:
        `${file}: expected rows of definition ${plan.fingerprint} exported by millrace data, ` +
        `received rows of definition ${clicksPlan.fingerprint}.`,
    })
    writeFileSync(text, 'no parquet at all')
    await expect(store.importParquet(text)).rejects.toMatchObject({ code: 'input_unreadable' })
    await store.query(`COPY (SELECT 1 AS a) TO '${text}' (FORMAT parquet)`)
    await expect(store.importParquet(text)).rejects.toThrow('received a file that does not say what it holds')
  })

  test('columns are distinguished for any feature names', () => {
    const names = ['amount', 'Amount', 'id', 'feature_id', 'LABEL', 'weight']
    expect(columnsOf(names)).toEqual([
      'amount',
      'feature_Amount',
      'feature_id',
      'feature_feature_id',
      'feature_LABEL',
      'feature_weight',
    ])
  })
})
