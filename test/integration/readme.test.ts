/** The commands that the README shows for a running pipeline, typed as printed there. */
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, inject, test } from 'vitest'
import { codeBlocks } from '../support/code-blocks.ts'
import { startCommand } from '../support/command.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const shell = promisify(execFile)

test('the queries of the README answer beside a running pipeline', { timeout: 180_000 }, async () => {
  const environment = {
    KAFKA_BROKERS: inject('kafkaBrokers'),
    REDIS_URL: inject('redisUrl'),
    MILLRACE_NAMESPACE: `readme-${process.pid}`,
    MILLRACE_HTTP_PORT: '0',
  }
  const run = startCommand(['run', 'pipelines/card-fraud.ts', '--create-topics'], environment)
  await run.printed('health and metrics: http')
  const url = /metrics: (http\S+)/.exec(run.output())![1]!
  const day = ['--source', 'handbook', '--until', '2018-04-02']
  const produce = startCommand(['produce', 'pipelines/card-fraud.ts', ...day], environment)
  expect(await produce.exitCode, produce.output()).toBe(0)
  await untilPredicted(url, 9_488)

  const block = codeBlocks(readFileSync(`${root}README.md`, 'utf8')).filter(({ language }) => language === 'sh')[1]!
  const [customer, metrics, features, post, openapi] = block.text
    .trim()
    .split('\n')
    .map((line) =>
      line.replaceAll('http://127.0.0.1:8080', url).replace('features pipelines', `features --url ${url} pipelines`),
    )
  const type = async (line: string) => (await shell('sh', ['-c', line], { cwd: root })).stdout
  expect(JSON.parse(await type(`${customer} -s`))).toMatchObject({ entity: 'customer', key: '596' })
  expect(await type(`${metrics} -s`)).toContain('millrace_predictions_total{model="none"} 9488')
  const printed = await type(features!)
  expect(printed).toContain('3156')
  expect(printed).toContain('terminalRisk30d')
  expect(JSON.parse(await type(`${post} -s`))).toMatchObject({ accepted: 1, results: [{ id: 'mine-1' }] })
  const past = codeBlocks(readFileSync(`${root}docs/time.md`, 'utf8')).find(({ language }) => language === 'sh')!
  const [asOf, through] = past.text
    .trim()
    .split('\n')
    .map((line) => line.replace('features', `features --url ${url}`))
  await untilPredicted(url, 9_489)
  expect(await type(asOf!)).toMatch(/asOf, known then[\s\S]*2018-05-16T00:00:00.000Z,transactions,\d,\d+/)
  expect(await type(through!)).toMatch(/through, known then[\s\S]*everything of the instant/)
  expect(JSON.parse(await type(`${openapi} -s`))).toMatchObject({ openapi: '3.1.0' })
})

async function untilPredicted(url: string, count: number): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    const text = await (await fetch(`${url}/metrics`)).text()
    if (text.includes(`millrace_predictions_total{model="none"} ${count}`)) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`not ${count} predictions after a minute`)
}
