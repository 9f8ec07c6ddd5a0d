/** `millrace models` from its arguments to its output, on the broker in memory. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { ensureTopics } from '../../cli/topics/requirements.ts'
import { evaluate } from '../../online-model/evaluation/evaluate.ts'
import { modelFromJson, modelToJson } from '../../online-model/registry/model-file.ts'
import { createRegistryWriter, type VersionDraft } from '../../online-model/registry/writer.ts'
import { evaluationSettings } from '../../online-model/trainer/served-evaluation.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import type { Broker } from '../../runtime/broker.ts'
import { createHttpServer, listen } from '../../runtime/http/server.ts'
import { createLog } from '../../runtime/log.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { createVirtualClock } from '../../testing/virtual-clock.ts'
import { call, scratchFolder } from './call.ts'

const env = { MILLRACE_NAMESPACE: 'models-test', USER: 'anna' }
const path = 'pipelines/card-fraud.ts'
const plan = compile(cardFraud, { namespace: env.MILLRACE_NAMESPACE })
const names = plan.features.map(({ name }) => name)
const startMs = Date.UTC(2024, 0, 1)
const cause = { by: 'a trainer', reason: 'better' }

function draft(weight: number, more: Partial<VersionDraft> = {}): VersionDraft {
  const ones = names.map(() => 1)
  const weights = names.map((_, i) => (i === 2 ? weight : 0.5))
  return {
    fingerprint: plan.fingerprint,
    seed: 4,
    model: { kind: 'logistic', features: names, means: ones, scales: ones, weights, intercept: 0 },
    metrics: { rows: 1_000, positives: 20, averagePrecision: 0.5 + weight / 100 },
    trainedOn: [{ topic: 'p', partition: 0, offset: 100 * weight }],
    parent: null,
    origin: 'retrain',
    ...more,
  }
}

/** A registry with `count` versions, of which none has an alias. */
async function withVersions(count: number) {
  const clock = createVirtualClock(startMs)
  const broker = createMemoryBroker({ clock })
  onTestFinished(() => broker.close())
  await ensureTopics(broker.admin, plan, 1)
  const { topic, codec } = plan.models
  const writer = createRegistryWriter({ broker: broker.data, codec, topic, clock: clock.nowMs })
  onTestFinished(() => writer.close())
  for (let i = 1; i <= count; i++) await writer.publish(draft(i))
  const kept: Broker = { ...broker, close: async () => undefined }
  const models = (...args: string[]) =>
    call(['models', args[0]!, path, ...args.slice(1)], { env, openBroker: () => kept, clock })
  return { writer, models, broker }
}

/** Nothing listens there. */
const unusedUrl = 'http://127.0.0.1:1'

/** A server that answers `/trainer` like that; null: 404. */
async function trainerAnswering(answer: () => object | null): Promise<string> {
  const server = createHttpServer({ log: createLog('silent') })
  server.get('/trainer', async (_, reply) => answer() ?? reply.code(404).send())
  onTestFinished(() => server.close())
  return listen(server, { host: '127.0.0.1', port: 0 })
}

describe('models list', () => {
  test('lists the role of each version, newest first', async () => {
    const { writer, models } = await withVersions(3)
    await writer.promote('v1', cause)
    await writer.promote('v2', cause)
    await writer.rollback({ ...cause, from: 'v2', fits: () => true })
    await writer.challenge('v3', cause)
    await writer.reject('v3', { ...cause, against: 'v1', figures: { gain: -0.1 } })
    await writer.publish(draft(4, { fingerprint: 'other', origin: 'continuous' }))
    const figures = join(await scratchFolder(), 'models.json')
    const { code, out } = await models('list', '--count', '3', '--trainer', unusedUrl, '--json', figures)
    expect(code).toBe(0)
    expect(out).toEqual([
      'version  standing               made                      origin      model     rows  positives  averagePrecision',
      'v4       of another definition  2024-01-01T00:00:00.000Z  continuous  logistic  1000  20         0.54',
      'v3       challenger-1, refused  2024-01-01T00:00:00.000Z  retrain     logistic  1000  20         0.53',
      'v2       rolled back            2024-01-01T00:00:00.000Z  retrain     logistic  1000  20         0.52',
      '1 older ones are not listed (--count).',
      '',
      `How they did as served is not known here: no trainer answers at ${unusedUrl} (bad port).`,
    ])
    const written = JSON.parse(await readFile(figures, 'utf8'))
    expect(written.versions.map(({ version }: { version: string }) => version)).toEqual(['v4', 'v3', 'v2'])
    expect(written.versions[1]).toMatchObject({
      aliases: ['challenger-1'],
      model: { shape: 'logistic', parameters: 16 },
      origin: 'retrain',
    })
    expect(written.history).toHaveLength(4)
    expect(written.evaluation).toBeNull()
  })

  test('reports what the trainer knows of them as served and in shadow', async () => {
    const { models } = await withVersions(2)
    const report = (version: string) => {
      const rows = Array.from({ length: 20 }, (_, row) => row)
      return evaluate(
        {
          labels: Uint8Array.from(rows, (row) => (row % 4 === 0 ? 1 : 0)),
          scores: Float64Array.from(rows, (row) => (row % 4 === 0 ? 0.8 : 0.1)),
          times: Float64Array.from(rows, (row) => startMs + row * 60_000),
          versions: new Int32Array(rows.length),
          versionNames: [version],
          keys: Int32Array.from(rows),
          labelDelays: new Float64Array(rows.length),
          weights: null,
        },
        evaluationSettings,
      )
    }
    const answer = {
      models: plan.models.topic,
      served: report('v1'),
      shadows: { v2: report('v2') },
      store: { maturedUntil: '2024-01-02T00:00:00.000Z' },
    }
    const url = await trainerAnswering(() => answer)
    const { out } = await models('list', '--trainer', url)
    const lines = out.slice(out.indexOf('') + 1).map((line) => line.split(/ {2,}/).slice(0, 5).join(' '))
    expect(lines).toEqual([
      expect.stringContaining(
        `How they did as served, by the labels of events until 2024-01-02T00:00:00.000Z (${url}/trainer`,
      ),
      'by name rows positives AP',
      'rolling 7 d 20 5 1.0000',
      'version v1 20 5 1.0000',
      'shadow v2 20 5 1.0000',
    ])
  })

  test.each([
    ['no label has matured', { served: null, store: { matured: 0 } }, /no label has matured yet, says the trainer/],
    ['not evaluated', { served: null, store: { matured: 5 } }, /it has not evaluated since its start/],
    ['of another namespace', { models: 'other.card-fraud.models' }, /is the trainer of other\.card-fraud\.models\.$/],
    ['of another version', { models: undefined }, /is no trainer of this version\.$/],
    ['nonsense', { store: null }, /is no trainer of this version\.$/],
    ['no trainer', null, /answered 404, which is no trainer\.$/],
  ])('says why it does not know: %s', async (_, answer, why) => {
    const { models } = await withVersions(1)
    const whole = { models: plan.models.topic, served: null, shadows: {}, store: {} }
    const url = await trainerAnswering(() => answer && { ...whole, ...answer })
    const { code, out } = await models('list', '--trainer', url)
    expect(code).toBe(0)
    expect(out.at(-1)).toMatch(why)
  })

  test('of an empty registry advises what to do', async () => {
    const { models } = await withVersions(0)
    expect((await models('list')).out).toEqual([
      'models-test.card-fraud.models has no version yet. Type: millrace train <definition>',
    ])
  })
})

describe('models show', () => {
  test('shows lineage, weights and what became of the version, and writes it to a file', async () => {
    const { writer, models } = await withVersions(2)
    await writer.reject('v2', { by: 'the gate', reason: 'v2 is worse.', against: null, figures: {} })
    await writer.promote('v2', cause)
    await writer.promote('v1', cause)
    await writer.rollback({ by: 'anna', reason: 'alerts', from: 'v1', fits: () => true })
    const file = join(await scratchFolder(), 'model.json')
    const { code, out } = await models('show', 'v1', '--out', file)
    expect(code).toBe(0)
    expect(out[0]).toBe('v1: rolled back')
    expect(out[1]).toBe(
      `  made 2024-01-01T00:00:00.000Z (retrain), parent none, seed 4, definition ${plan.fingerprint}`,
    )
    expect(out).toContain('  trained on p-0 before offset 100')
    expect(out).toContain('  model: logistic, 16 parameters')
    const greatest = out.indexOf('  log odds added by one standard deviation, greatest first:') + 1
    expect(out[greatest]).toMatch(new RegExp(`^ {4}${names[2]} +1$`))
    expect(out.slice(-5)).toEqual([
      '  what became of it:',
      '    2024-01-01T00:00:00.000Z  champion: v2 -> v1, by a trainer: better',
      '    2024-01-01T00:00:00.000Z  champion: v1 -> v2 (rollback), by anna: alerts',
      '  It was rolled back: only models promote makes it the champion again.',
      `model written to ${file}`,
    ])
    expect(modelFromJson(await readFile(file, 'utf8'), file)).toEqual(writer.state().versions.get('v1'))
    expect((await models('show', 'v2')).out).toContain(
      '    2024-01-01T00:00:00.000Z  refused, by the gate: v2 is worse.',
    )
  })

  test('of a version that there is none of reports which there are', async () => {
    const { models } = await withVersions(2)
    const { code, err } = await models('show', 'v7')
    expect([code, err]).toEqual([
      1,
      [
        'error: The registry models-test.card-fraud.models has no version v7; did you mean v1? The newest is v2.',
        'Name a version that millrace models list shows.',
      ],
    ])
  })
})

describe('a change', () => {
  test('of the champion, back, and again by command', async () => {
    const { writer, models } = await withVersions(3)
    expect((await models('rollback')).err[0]).toBe('error: There is no champion to roll back.')
    expect((await models('promote', 'v1')).out).toEqual(['v1 is the champion now, the first one.'])
    expect((await models('promote', 'v2', '--reason', 'checked', '--keep-former')).out).toEqual([
      'v2 is the champion now instead of v1.',
    ])
    expect((await models('rollback', '--reason', 'alerts')).out).toEqual([
      'v1 is the champion again; v2 was rolled back, and only models promote makes it the champion again.',
    ])
    expect((await models('rollback')).err[0]).toBe(
      'error: Nothing was changed: there is no version before v1 to roll back to.',
    )
    expect((await models('promote', 'v2')).out).toEqual([
      'v2 is the champion now instead of v1. Its rollback is cleared.',
    ])
    const state = await writer.refresh()
    expect(state.history.map(({ alias, version, by, reason, action }) => [alias, version, by, reason, action])).toEqual(
      [
        ['champion', 'v1', 'anna with millrace models', 'by command', 'set'],
        ['champion', 'v2', 'anna with millrace models', 'checked', 'set'],
        ['challenger-1', 'v1', 'anna with millrace models', 'was the champion before v2', 'set'],
        ['champion', 'v1', 'anna with millrace models', 'alerts', 'rollback'],
        ['champion', 'v2', 'anna with millrace models', 'by command', 'restore'],
      ],
    )
    const { code, err } = await models('promote', 'v2')
    expect([code, err[0]]).toEqual([1, 'error: Nothing was changed: v2 is the champion already.'])
  })

  test('of the challengers', async () => {
    const { writer, models } = await withVersions(5)
    await writer.promote('v1', cause)
    for (const name of ['v2', 'v3', 'v4']) {
      expect((await models('promote', name, '--as', 'challenger')).out).toEqual([
        `${name} is a challenger now: it scores in shadow from the next batch on.`,
      ])
    }
    expect((await models('promote', 'v5', '--as', 'challenger')).err[0]).toBe(
      'error: Nothing was changed: there are 3 challengers already (v2, v3, v4): dismiss one of them, or name the one to replace.',
    )
    expect((await models('promote', 'v5', '--as', 'challenger', '--replace', 'v3')).out).toEqual([
      'v5 is a challenger now instead of v3: it scores in shadow from the next batch on.',
    ])
    expect((await models('dismiss', 'v2')).out).toEqual(['v2 is no longer a challenger.'])
    expect((await models('dismiss', 'v2')).err[0]).toBe('error: Nothing was changed: v2 is no challenger.')
    expect((await models('promote', 'v2', '--replace', 'v4')).code).toBe(2)
    expect((await models('promote', 'v2', '--as', 'challenger', '--keep-former')).code).toBe(2)
    expect([...(await writer.refresh()).aliases]).toEqual([
      ['champion', 'v1'],
      ['challenger-2', 'v5'],
      ['challenger-3', 'v4'],
    ])
  })

  test('that came after another one reports who that was', async () => {
    const { writer, models, broker } = await withVersions(3)
    await writer.promote('v1', cause)
    // The rival's record is there before that of the command.
    const { producer } = broker.data
    let isRivalSent = false
    broker.data.producer = async () => {
      if (!isRivalSent) {
        isRivalSent = true
        await writer.promote('v3', { by: 'a rival', reason: 'quick' })
      }
      return producer()
    }
    const raced: Broker = { ...broker, close: async () => undefined }
    const { code, err } = await call(['models', 'promote', path, 'v2'], { env, openBroker: () => raced })
    expect([code, err[0]]).toEqual([
      1,
      'error: Nothing was changed: another change came first: a rival set champion to v3 at 2024-01-01T00:00:00.000Z (quick).',
    ])
    expect((await models('list')).out[1]).toMatch(/^v3 +champion /)
  })

  test('to a version of another definition, or that contradicts this one, is rejected', async () => {
    const { writer, models } = await withVersions(1)
    await writer.publish(draft(2, { fingerprint: 'other' }))
    await writer.publish(draft(3, { model: { kind: 'prior', features: ['x'], probability: 0.1 } }))
    const { code, err } = await models('promote', 'v2')
    expect([code, err[0]]).toEqual([
      1,
      `error: v2 cannot score this definition's events: it was trained on definition other, this one is ${plan.fingerprint}.`,
    ])
    expect((await models('promote', 'v3', '--as', 'challenger')).err[0]).toMatch(
      /^error: The model was trained on features that the definition is without: x/,
    )
    expect((await writer.refresh()).history).toEqual([])
  })
})

describe('models import', () => {
  test('publishes the model of a file under a name of this registry, and promotes it on request', async () => {
    const { writer, models } = await withVersions(1)
    const file = join(await scratchFolder(), 'model.json')
    await writeFile(
      file,
      modelToJson({ kind: 'version', version: 'v9', createdAtMs: 5, ...draft(7, { parent: 'v8' }) }),
    )
    const { code, out } = await models('import', file, '--as', 'challenger')
    expect([code, out]).toEqual([
      0,
      [`v2 was v9 of ${file}.`, 'v2 is a challenger now: it scores in shadow from the next batch on.'],
    ])
    expect((await writer.refresh()).versions.get('v2')).toEqual({
      ...draft(7),
      kind: 'version',
      version: 'v2',
      createdAtMs: startMs,
      origin: 'import',
      identities: {},
    })
    await writeFile(
      file,
      modelToJson({ kind: 'version', version: 'v9', createdAtMs: 5, ...draft(7, { fingerprint: 'f' }) }),
    )
    expect((await models('import', file)).err[0]).toMatch(
      /^error: The v9 of .*model.json cannot score this definition's events/,
    )
    await writeFile(file, '{}')
    expect((await models('import', file)).err[0]).toMatch(/is no model file/)
    expect((await writer.refresh()).versions.size).toBe(2)
  })
})

describe('models diff', () => {
  test('shows what is not the same, the weights that moved most first', async () => {
    const { models } = await withVersions(3)
    const { code, out } = await models('diff', 'v1', 'v3')
    expect(code).toBe(0)
    expect(out.slice(0, 6)).toEqual([
      '                  v1    v3    difference',
      'rows              1000  1000  0',
      'positives         20    20    0',
      'averagePrecision  0.51  0.53  +0.02',
      'p-0               100   300   +200',
      'Both models are logistic; the weights differ by 94.3 % of their norm.',
    ])
    expect(out[7]).toMatch(new RegExp(`^${names[2]} +1 +3 +\\+2$`))
    expect((await models('diff', 'v1', 'v1')).out).toContain('The weights are the same.')
  })
})
