/**
 * The audit of a pipeline at work on real servers: nothing differs, a prediction with one changed bit is found, and so is every prediction
 * that was made without facts that came later; the doctor says what is wrong with it.
 */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { AuditFigures } from '../../cli/proof/audit-route.ts'
import { partitionOf } from '../../runtime/partition.ts'
import type { StreamEvent } from '../../testing/index.ts'
import { click, refund } from '../support/clicks.ts'
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
  const { replay } = whole.figures
  const noCause = { late: 0, overtaken: 0, early: 0, unexplained: 0 }
  expect(replay, whole.output).toMatchObject({ differing: noCause, skipped: {}, pending: 0 })
  expect(replay.compared).toBe(whole.figures.predictions)
  expect(whole.figures.predictions).toBeGreaterThan(5_000)

  const fetcher = await broker.data.fetcher()
  const [fetched] = await fetcher.fetch([{ topic, partition: 0, offset: 0 }], {
    maxWaitMs: 5_000,
    partitionBytesMax: 10_000,
  })
  await fetcher.close()
  const prediction = plan.predictions.codec.decode(fetched!.records.at(0).value!)
  const at = plan.features.findIndex(({ name }) => name === 'amount')
  const features = prediction.features.map((value, i) => (i === at ? value * (1 + Number.EPSILON) : value))
  const producer = await broker.data.producer()
  await producer.send([
    { topic, partition: 0, key: null, value: plan.predictions.codec.encode({ ...prediction, features }) },
  ])
  await producer.close()
  const tampered = await audit()
  expect(tampered).toMatchObject({ exitCode: 1, figures: { differing: 1, checked: whole.figures.checked + 1 } })
  expect(tampered.figures.replay.differing).toEqual({ ...noCause, unexplained: 1 })
  expect(tampered.output).toContain(`amount: expected ${prediction.features[at]}, logged ${features[at]}`)
  expect(tampered.output).toContain(prediction.id)
})

const clicksDefinition = 'test/cli/fixtures/clicks.ts'

test('streams sent one after the other: the audit counts what the facts came too late for, the doctor is not green', {
  timeout: 400_000,
}, async () => {
  const { plan, broker, environment } = await runPipeline('overtaken', {
    definition: clicksDefinition,
    settings: { MILLRACE_PARTITIONS: '2' },
  })
  const producer = await broker.data.producer()
  const send = (events: readonly StreamEvent[]) =>
    producer.send(
      events.map(({ stream: name, values }) => {
        const stream = plan.streams.find((candidate) => candidate.name === name)!
        const key = Buffer.from(values[stream.keyField] as string)
        return { topic: stream.topic, partition: partitionOf(key, 2), key, value: stream.codec.encode(values) }
      }),
    )
  const doctor = async () => {
    const command = startCommand(['doctor', clicksDefinition], environment)
    await command.exitCode
    return command.output().split('\n')
  }
  const lineOf = (lines: readonly string[], name: string) => lines.find((line) => line.slice(6).startsWith(`${name}:`))
  // An amount of 13 makes a function throw.
  await send(
    Array.from({ length: 200 }, (_, i) =>
      click(`c${i}`, `u${i % 7}`, i * 2, { page: `p${i % 3}`, amount: i < 100 ? 13 : 1 }),
    ),
  )
  const rejecting = await until(doctor, (lines) => /100 of the last 200/.test(lineOf(lines, 'rejected clicks') ?? ''))
  expect(lineOf(rejecting, 'rejected clicks')).toMatch(
    /^FAIL {2}rejected clicks: 100 of the last 200 events were rejected \(50 %\): 100 function_threw\. For example page: /,
  )
  expect(lineOf(rejecting, 'order page')).toMatch(/^ok /)
  await send(Array.from({ length: 100 }, (_, i) => refund(`c${i}`, `u${i % 7}`, i * 4, { page: `p${i % 3}` })))
  const overtaken = await until(doctor, (lines) => /^warn/.test(lineOf(lines, 'order page') ?? ''))
  expect(lineOf(overtaken, 'order page')).toMatch(/came when later ones had been folded/)

  const file = join(ownFolder(), 'audit.json')
  const audit = startCommand(['audit', clicksDefinition, '--sample', '1', '--once', '--json', file], environment)
  expect(await audit.exitCode, audit.output()).toBe(0)
  const { differing, replay } = readJson<AuditFigures>(file)
  expect(differing).toBe(0)
  expect(replay).toMatchObject({
    compared: 100,
    skipped: {},
    differing: { late: 0, overtaken: 100, early: 0, unexplained: 0 },
  })
  expect(audit.output()).toMatch(
    /100 overtaken: facts were sent after the prediction that they belong in; refunds of c\d+ furthest/,
  )
})

/** Asks again until it is so; after a minute what came last is returned, for the assertions to fail on. */
async function until<T>(ask: () => Promise<T>, isSo: (found: T) => boolean): Promise<T> {
  const endMs = performance.now() + 60_000
  for (;;) {
    const found = await ask()
    if (isSo(found) || performance.now() > endMs) return found
  }
}
