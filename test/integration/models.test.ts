/**
 * Models change while events flow, by the command as a user types it: nothing is lost or scored twice, and every prediction names its
 * version, in shadow too.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { AuditFigures } from '../../cli/proof/audit-route.ts'
import { predictor } from '../../online-model/models/scorer.ts'
import { modelToJson } from '../../online-model/registry/model-file.ts'
import { readSpans, wholeLog } from '../../runtime/read-log.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { ModelVersion, Prediction } from '../../schemas/wire/records.ts'
import { ownFolder, readJson, startCommand } from '../support/command.ts'
import { runPipeline } from '../support/running-pipeline.ts'

const definition = 'pipelines/card-fraud.ts'

/** Weighs one feature only, so that two of them agree on nothing. */
function modelOf(plan: Plan, weighed: number): ModelVersion {
  const features = plan.features.map(({ name }) => name)
  const ones = features.map(() => 1)
  const weights = features.map((_, i) => (i === weighed ? 0.01 : 0))
  return {
    kind: 'version',
    version: `of-feature-${weighed}`,
    createdAtMs: 0,
    fingerprint: plan.fingerprint,
    seed: 0,
    model: { kind: 'logistic', features, means: ones, scales: ones, weights, intercept: -3 },
    metrics: {},
    trainedOn: [],
    parent: null,
    origin: 'manual',
  }
}

test('promotion, shadow and rollback under load', { timeout: 400_000 }, async () => {
  const { plan, url, broker, environment, output } = await runPipeline('models')
  const folder = ownFolder()
  const made = [modelOf(plan, 0), modelOf(plan, 3)]
  const file = (n: number) => join(folder, `model-${n}.json`)
  for (const [n, model] of made.entries()) await writeFile(file(n), modelToJson(model))

  const models = async (...args: string[]) => {
    const command = startCommand(['models', args[0]!, definition, ...args.slice(1)], environment)
    expect(await command.exitCode, command.output()).toBe(0)
    return command.output()
  }
  const figures = join(folder, 'produce.json')
  const produce = startCommand(
    ['produce', definition, '--source', 'handbook', '--until', '2018-04-03', '--rate', '500', '--json', figures],
    environment,
  )
  /** Until the process has committed 300 predictions more by this model. */
  const scoredBy = async (model: string) => {
    const count = async () => {
      const page = await (await fetch(`${url}/metrics`)).text()
      return Number(new RegExp(`^millrace_predictions_total\\{model="${model}"\\} (\\d+)$`, 'm').exec(page)?.[1] ?? 0)
    }
    for (const before = await count(); (await count()) < before + 300; ) {
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  await scoredBy('none')
  expect(await models('import', file(0), '--as', 'champion')).toContain('v1 is the champion now, the first one.')
  await scoredBy('v1')
  expect(await models('import', file(1), '--as', 'challenger')).toContain('v2 is a challenger now')
  await scoredBy('v1')
  expect(await models('promote', 'v2', '--keep-former')).toContain('v2 is the champion now instead of v1.')
  await scoredBy('v2')
  expect(await models('rollback', '--reason', 'a test')).toContain('v1 is the champion again; v2 was rolled back')
  await scoredBy('v1')
  expect(await produce.exitCode, produce.output()).toBe(0)

  const sent = readJson<{ byStream: Record<string, number> }>(figures).byStream.transactions!
  const predictions = await untilAll(sent)
  expect(new Set(predictions.map(({ id }) => id)).size).toBe(sent)
  expect(predictions.length).toBe(sent)

  // Who scored, and what, follows from the registry and the logged vector alone.
  const scorers = new Map(made.map(({ model }, n) => [`v${n + 1}`, predictor(model, plan)]))
  for (const { score, modelVersion, features, shadow } of predictions) {
    expect(score).toBe(modelVersion === null ? null : scorers.get(modelVersion)!(features))
    for (const one of shadow) expect(one.score).toBe(scorers.get(one.version)!(features))
  }
  const eras = new Set(predictions.map(({ modelVersion, shadow }) => `${modelVersion} ${shadow.map((s) => s.version)}`))
  expect([...eras].sort()).toEqual(['null ', 'v1 ', 'v1 v2', 'v2 ', 'v2 v1'].filter((era) => eras.has(era)))
  expect([eras.has('null '), eras.has('v1 v2'), eras.has('v2 v1'), eras.has('v1 ')]).toEqual([true, true, true, true])

  // At a batch boundary, and never back and forth: each partition has the champions in the order of the changes.
  for (let partition = 0; partition < 4; partition++) {
    const own = predictions.filter((one) => one.partition === partition).map(({ modelVersion }) => `${modelVersion}`)
    const turns = own.filter((version, i) => version !== own[i - 1])
    expect('null v1 v2 v1'.endsWith(turns.join(' ')) || 'null v1 v2 v1'.startsWith(turns.join(' '))).toBe(true)
  }
  expect(await models('list')).toMatch(/^v2 +rolled back /m)
  expect(output()).not.toContain('does not score')

  const json = join(folder, 'audit.json')
  const audit = startCommand(['audit', definition, '--sample', '1', '--once', '--json', json], environment)
  expect(await audit.exitCode, audit.output()).toBe(0)
  expect(readJson<AuditFigures>(json)).toMatchObject({ differing: 0, skipped: {}, pending: 0, predictions: sent })

  /** All predictions of the log once they are as many, in the order of their partitions; more may be there than expected. */
  async function untilAll(count: number): Promise<Array<Prediction & { readonly partition: number }>> {
    const { topic, codec } = plan.predictions
    for (let tries = 0; ; tries++) {
      const found: Array<Prediction & { readonly partition: number }> = []
      const fetcher = await broker.data.fetcher()
      const spans = await wholeLog(broker.data, [topic])
      await readSpans(fetcher, spans, ({ value }, { partition }) => found.push({ ...codec.decode(value!), partition }))
      await fetcher.close()
      if (found.length >= count || tries > 100) return found
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
  }
})
