/** The example of docs/models.md, as a user would have it in a definition. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { modelOf, scoringOf } from '../../../online-model/models/model-of.ts'
import { definePipeline } from '../../../schemas/definition/definition.ts'
import type { CustomModelPlan } from '../../../schemas/models/custom.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import { createRandom } from '../../../testing/random.ts'
import { sound } from '../../schemas/shop-definition.ts'
import { codeBlocks } from '../../support/code-blocks.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))

test('the model of the documentation learns, in both ways alike', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-models-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const block = codeBlocks(readFileSync(join(root, 'docs/models.md'), 'utf8')).find(({ text }) =>
    /customModel</.test(text),
  )!
  const path = join(folder, 'grid.ts')
  writeFileSync(
    path,
    block.text.replace("'millrace'", `'${pathToFileURL(join(root, 'schemas/definition/definition.ts'))}'`),
  )
  const { grid } = (await import(/* @vite-ignore */ pathToFileURL(path).href)) as { grid: CustomModelPlan }

  const plan = compile(definePipeline({ ...sound, model: grid, learn: { continuously: true } }))
  const features = plan.features.map(({ name }) => name)
  const random = createRandom(1)
  const rowCount = 2_000
  const rows = Float64Array.from({ length: rowCount * features.length }, () => 400 * random.next() ** 3)
  const labels = Uint8Array.from({ length: rowCount }, (_, row) => Number(rows[row * features.length]! > 150))
  const model = modelOf(plan.model)
  const { weights } = await model.fit({ rows, labels, rowCount, features, weights: null }, { seed: 0 })
  const learner = await model.learner!(features, { seed: 0, state: null })
  const vectors = Array.from({ length: rowCount }, (_, row) =>
    rows.subarray(row * features.length).subarray(0, features.length),
  )
  vectors.forEach((vector, row) => {
    learner.learn(vector, labels[row] as 0 | 1)
  })
  expect(learner.weights()).toEqual(weights)
  const { predict } = scoringOf(weights, plan.model)
  const right = vectors.filter((vector, row) => predict(vector) > 0.5 === (labels[row] === 1)).length
  expect(right / rowCount).toBeGreaterThan(0.9)
})
