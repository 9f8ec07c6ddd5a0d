/** The committed Avro schemas, and what may change in them without a new version of the definition. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import avro from 'avsc'
import { describe, expect, test } from 'vitest'
import { compareSchemas, type SchemaFile, schemaFiles } from '../../cli/derive/schema-files.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import {
  count,
  definePipeline,
  entity,
  type FieldSpecs,
  logisticRegression,
  number,
  stream,
  text,
  timestamp,
} from '../../schemas/definition/definition.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { call, scratchFolder } from './call.ts'

const cardFraudPath = 'pipelines/card-fraud.ts'

/** A pipeline whose clicks have these fields besides the necessary ones. */
function filesOf(version: number, fields: FieldSpecs, features: readonly string[] = ['clicks1h']): SchemaFile[] {
  const clicks = stream('clicks', {
    id: 'id',
    key: 'user',
    time: 'at',
    fields: { id: text(), user: text(), at: timestamp(), ...fields },
  })
  const sales = stream('sales', {
    id: 'id',
    key: 'user',
    time: 'at',
    fields: { id: text(), user: text(), at: timestamp() },
  })
  const user = entity('user', [clicks.fields.user])
  const pipeline = definePipeline({
    name: 'clicks',
    version,
    scores: clicks,
    features: Object.fromEntries(features.map((name, i) => [name, count(clicks, { by: user, over: `${i + 1}h` })])),
    label: { from: sales, value: 1, otherwise: { value: 0, after: '1d' } },
    model: logisticRegression(),
  })
  return schemaFiles(compile(pipeline))
}

const textsOf = (files: readonly SchemaFile[]) => new Map(files.map(({ name, text }) => [name, text]))
const changesOf = (old: SchemaFile[], wanted: SchemaFile[], version: number) =>
  compareSchemas(wanted, textsOf(old), version).filter(({ state }) => state !== 'fresh')

test('the committed schemas are as the definition derives them', async () => {
  const { code, out, err } = await call(['schemas', cardFraudPath, '--check'])
  expect({ code, out, err }).toEqual({
    code: 0,
    out: ['10 schemas in schemas/card-fraud are as the definition derives them.'],
    err: [],
  })
})

test('files are named by role and record, and Avro reads them', () => {
  const files = schemaFiles(compile(cardFraud))
  expect(files.map(({ name }) => name)).toEqual([
    'raw.transactions.avsc',
    'raw.chargebacks.avsc',
    'hop.terminal_transactions.avsc',
    'hop.terminal_chargebacks.avsc',
    'hop.terminal_mark.avsc',
    'predictions.prediction.avsc',
    'rejected.rejection.avsc',
    'models.model_version.avsc',
    'models.alias_change.avsc',
    'models.version_note.avsc',
  ])
  const [transactions] = files
  const type = avro.Type.forSchema(JSON.parse(transactions!.text))
  const event = { txId: '1', customerId: '2', terminalId: '3', amount: 4.5, at: 6 }
  // A reader with the file decodes what the codec writes, after the ten bytes of the single-object header.
  const written = compile(cardFraud).scored.codec.encode(event).subarray(10)
  expect({ ...type.fromBuffer(written) }).toEqual(event)
})

describe('comparison', () => {
  test('an optional field may be added and removed', () => {
    const old = filesOf(1, {})
    const wanted = filesOf(1, { page: text({ optional: true }) })
    expect(changesOf(old, wanted, 1)).toEqual([{ name: 'raw.clicks.avsc', state: 'stale', breaks: null }])
    expect(changesOf(wanted, old, 1)).toEqual([{ name: 'raw.clicks.avsc', state: 'stale', breaks: null }])
  })

  test('a required field that old records lack breaks them', () => {
    const [change] = changesOf(filesOf(1, {}), filesOf(1, { page: text() }), 1)
    expect(change).toMatchObject({ name: 'raw.clicks.avsc', state: 'stale' })
    expect(change!.breaks).toContain('page')
  })

  test('another type of a field breaks them', () => {
    const [change] = changesOf(filesOf(1, { price: text() }), filesOf(1, { price: number() }), 1)
    expect(change).toMatchObject({ name: 'raw.clicks.avsc', state: 'stale', breaks: expect.stringContaining('double') })
  })

  test('with a raised version nothing is a break', () => {
    const changes = changesOf(filesOf(1, { price: text() }), filesOf(2, { price: number() }), 2)
    expect(changes.map(({ state, breaks }) => `${state} ${breaks}`)).toEqual(Array(7).fill('stale null'))
  })

  test('a record type that was removed breaks its records, a file that is no schema too', () => {
    const wanted = filesOf(1, {})
    const present = textsOf(wanted)
    present.set('hop.old_mark.avsc', present.get('raw.clicks.avsc')!)
    present.set('raw.sales.avsc', '{')
    const changes = compareSchemas(wanted, present, 1).filter(({ state }) => state !== 'fresh')
    expect(changes).toEqual([
      { name: 'raw.sales.avsc', state: 'stale', breaks: 'the file is no Avro schema' },
      { name: 'hop.old_mark.avsc', state: 'left over', breaks: 'its records could not be read any more' },
    ])
    expect(compareSchemas(wanted, present, 2).find(({ state }) => state === 'left over')!.breaks).toBeNull()
  })
})

test('a definition that publishes JSON has a JSON schema beside the Avro one, which breaks nothing', () => {
  const avro = schemaFiles(compile(cardFraud))
  const json = schemaFiles(compile({ ...cardFraud, predictionFormat: 'json' }))
  const added = json.filter(({ name }) => !avro.some((file) => file.name === name))
  expect(added.map(({ name }) => name)).toEqual(['predictions.prediction.schema.json'])
  expect(JSON.parse(added[0]!.text).properties.features.properties).toHaveProperty('terminalRisk30d')
  const stale = json.map(({ name, text }) => (name === added[0]!.name ? { name, text: '{}' } : { name, text }))
  expect(changesOf(stale, json, 1)).toEqual([{ name: added[0]!.name, state: 'stale', breaks: null }])
  expect(changesOf(json, avro, 1)).toEqual([{ name: added[0]!.name, state: 'left over', breaks: null }])
})

describe('millrace schemas', () => {
  test('--write writes what is missing, --check reports what is stale, and a second --write repairs it', async () => {
    const folder = await scratchFolder()
    const own = join(folder, 'card-fraud')
    const args = ['schemas', cardFraudPath, '--folder', folder]
    const first = await call([...args, '--write'])
    expect([first.code, first.out.at(-1)]).toEqual([0, `10 schemas in ${own}, 10 changed.`])
    expect((await readdir(own)).length).toBe(10)
    expect((await call([...args, '--check'])).code).toBe(0)

    const stale = join(own, 'raw.chargebacks.avsc')
    const schema = JSON.parse(await readFile(stale, 'utf8'))
    await writeFile(stale, JSON.stringify({ ...schema, doc: 'by hand' }))
    expect(await call([...args, '--check'])).toEqual({
      code: 1,
      out: [`stale  ${stale}`],
      err: ['1 schemas differ. Type: millrace schemas pipelines/card-fraud.ts --write'],
    })
    const again = await call([...args, '--write'])
    expect(again.out).toEqual([`written  ${stale}`, `10 schemas in ${own}, 1 changed.`])
    expect((await call([...args, '--check'])).code).toBe(0)
  })

  test('--write rejects what old records could not be read with, and changes nothing', async () => {
    const folder = await scratchFolder()
    const own = join(folder, 'card-fraud')
    await mkdir(own)
    const old = schemaFiles(compile(cardFraud)).map(({ name, text }) => {
      const schema = JSON.parse(text)
      // As if the field had been added to the definition since.
      if (name === 'raw.transactions.avsc') {
        schema.fields = schema.fields.filter((field: { name: string }) => field.name !== 'terminalId')
      }
      return { name, text: `${JSON.stringify(schema, null, 2)}\n` }
    })
    for (const { name, text } of old) await writeFile(join(own, name), text)
    const { code, out, err } = await call(['schemas', cardFraudPath, '--folder', folder, '--write'])
    expect([code, out]).toEqual([1, []])
    expect(err[0]).toBe('error: Records already in Kafka could not be read with the changed schemas:')
    expect(err[1]).toMatch(new RegExp(`^ {2}${join(own, 'raw.transactions.avsc')}: .*terminalId`))
    expect(err).toContain("Revert the change, or raise the definition's version above 1 and use a new namespace.")
    for (const { name, text } of old) expect(await readFile(join(own, name), 'utf8')).toBe(text)
  })
})
