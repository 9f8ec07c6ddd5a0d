/** The audit of a pipeline at work on real servers: nothing differs, and a prediction with one changed bit is found. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { AuditFigures } from '../../cli/proof/audit-route.ts'
import { ownFolder, readJson, startCommand } from '../support/command.ts'
import { runPipeline } from '../support/running-pipeline.ts'

test('run, produce, audit: 0 differ; a tampered prediction is found', { timeout: 400_000 }, async () => {
  const { plan, broker, environment } = await runPipeline('audit')
  const produce = startCommand(
    ['produce', 'pipelines/card-fraud.ts', '--source', 'handbook', '--until', '2018-04-02'],
    environment,
  )
  expect(await produce.exitCode, produce.output()).toBe(0)
  const topic = plan.predictions.topic
  const partitions = (await broker.data.partitionCounts([topic])).get(topic)!
  const positions = Array.from({ length: partitions }, (_, partition) => ({ topic, partition }))
  const ends = async () => (await broker.data.bounds(positions)).reduce((total, { end }) => total + end, 0)
  for (let before = -1, now = await ends(); now === 0 || now !== before; ) {
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    before = now
    now = await ends()
  }

  const audit = async () => {
    const file = join(ownFolder(), 'audit.json')
    const command = startCommand(
      ['audit', 'pipelines/card-fraud.ts', '--sample', '1', '--once', '--json', file],
      environment,
    )
    const exitCode = await command.exitCode
    return { exitCode, output: command.output(), figures: readJson<AuditFigures>(file) }
  }
  const whole = await audit()
  expect(whole, whole.output).toMatchObject({ exitCode: 0, figures: { differing: 0, skipped: {}, pending: 0 } })
  expect(whole.figures.predictions).toBeGreaterThan(5_000)

  const fetcher = await broker.data.fetcher()
  const [fetched] = await fetcher.fetch([{ topic, partition: 0, offset: 0 }], {
    maxWaitMs: 5_000,
    partitionBytesMax: 10_000,
  })
  await fetcher.close()
  const prediction = plan.predictions.codec.decode(fetched!.records[0]!.value!)
  const at = plan.features.findIndex(({ name }) => name === 'amount')
  const features = prediction.features.map((value, i) => (i === at ? value * (1 + Number.EPSILON) : value))
  const producer = await broker.data.producer()
  await producer.send([
    { topic, partition: 0, key: null, value: plan.predictions.codec.encode({ ...prediction, features }) },
  ])
  await producer.close()
  const tampered = await audit()
  expect(tampered).toMatchObject({ exitCode: 1, figures: { differing: 1, checked: whole.figures.checked + 1 } })
  expect(tampered.output).toContain(`amount: expected ${prediction.features[at]}, logged ${features[at]}`)
  expect(tampered.output).toContain(prediction.id)
})
