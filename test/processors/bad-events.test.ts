/** Bad events become rejections with the exact problem; the good ones around them are processed as if those had never come. */
import { expect, test } from 'vitest'
import { partitionOf } from '../../runtime/partition.ts'
import { createPipelineRunner, predictedVectors, replayed, replayedVectors } from '../../testing/index.ts'
import { click, clicksPipeline, clicksStartMs } from '../support/clicks.ts'

const partitions = 2
const startMs = clicksStartMs + 3_600_000 * 5
/** Anna's partition, and the other one. */
const home = partitionOf(Buffer.from('anna'), partitions)
const away = 1 - home

async function runWith(
  send: (runner: Awaited<ReturnType<typeof createPipelineRunner>>) => Promise<void>,
  rejected: number,
) {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions, startMs })
  const good = [click('g1', 'anna', 1), click('g2', 'anna', 7_200), click('g3', 'anna', 7_210)]
  await runner.sendAll(good.slice(0, 2))
  await send(runner)
  await runner.sendAll(good.slice(2))
  const worker = runner.start()
  await worker.until('all are processed', () => {
    const { totals } = worker.metrics
    return totals.predictions === 3 && totals.rejected === rejected
  })
  await runner.clock.sleep(2_000)
  await worker.stop()
  expect(predictedVectors(await runner.predictions())).toEqual(replayedVectors(replayed(runner.plan, partitions, good)))
  const rejections = await runner.rejections()
  expect(rejections.length).toBe(rejected)
  return { rejections, worker }
}

const json = (values: object) => JSON.stringify(values)
const valid = { clickId: 'b', user: 'anna', page: 'home', amount: 1, at: clicksStartMs + 7_200_000 }

test.each([
  [
    'no JSON',
    '{"clickId":',
    '',
    'not_json',
    'a JSON object in UTF-8, an Avro single object or the Confluent wire format',
  ],
  ['nothing', '', '', 'empty', 'an event'],
  ['another shape', '[1]', '', 'type', 'an object with the fields of the event; one event at a time'],
  [
    'a missing field',
    json({ ...valid, user: undefined }),
    '/user',
    'missing',
    'text of 1 to 256 characters in valid UTF-8',
  ],
  [
    'too many decimals',
    json({ ...valid, amount: 0.001 }),
    '/amount',
    'decimals',
    'a finite number with at most 2 decimals',
  ],
])('%s', async (_, value, path, code, expected) => {
  const { rejections } = await runWith((runner) => runner.sendRaw('clicks', home, value, 'anna'), 1)
  expect(rejections[0]).toMatchObject({
    stage: 'user',
    topic: 'clicks',
    partition: home,
    offset: 2,
    appendedAtMs: startMs,
    key: Buffer.from('anna'),
    value: Buffer.from(value),
    problems: [{ path, code, expected }],
  })
})

test('a tombstone', async () => {
  const { rejections } = await runWith((runner) => runner.sendRaw('clicks', home, null), 1)
  expect(rejections[0]).toMatchObject({ value: null, problems: [{ path: '', code: 'empty', received: 'a tombstone' }] })
})

test('all mistakes of an event at once', async () => {
  const { rejections } = await runWith(
    (runner) => runner.sendRaw('clicks', home, json({ ...valid, page: '', at: 'yesterday' })),
    1,
  )
  expect(rejections[0]!.problems.map(({ path, code }) => `${path} ${code}`)).toEqual(['/page length', '/at type'])
})

test('a key in the partition of another', async () => {
  const { rejections } = await runWith((runner) => runner.sendRaw('clicks', away, json(valid)), 1)
  expect(rejections[0]!.problems).toEqual([
    {
      path: '/user',
      code: 'partition_mismatch',
      expected: `partition ${home} of 2, where the key anna belongs by murmur2`,
      received: `partition ${away}`,
    },
  ])
})

test('dated ahead of its arrival, before it moves any clock', async () => {
  const { rejections } = await runWith(async (runner) => {
    await runner.sendRaw('clicks', home, json({ ...valid, at: startMs + 300_001 }))
  }, 1)
  expect(rejections[0]!.problems).toEqual([
    {
      path: '/at',
      code: 'ahead',
      expected: 'at most 5m after 2024-01-01T05:00:00.000Z, when the record was appended',
      received: '2024-01-01T05:05:00.001Z',
    },
  ])
})

test('later than the declared lateness', async () => {
  const { rejections, worker } = await runWith(async (runner) => {
    await runner.sendRaw('clicks', home, json({ ...valid, at: clicksStartMs + 3_599_999 }))
  }, 1)
  expect(rejections[0]!.problems).toEqual([
    {
      path: '/at',
      code: 'late',
      expected: 'at most 1h before 2024-01-01T02:00:00.000Z, the latest earlier event of the partition',
      received: '2024-01-01T00:59:59.999Z',
    },
  ])
  expect(worker.metrics.totals.late).toBe(0)
})

test('a function that throws: the rejection comes from the last stage and is an event that the raw topic takes', async () => {
  const { rejections } = await runWith((runner) => runner.send('clicks', { ...valid, user: 'bert', amount: 13 }), 1)
  const [rejection] = rejections
  const partition = partitionOf(Buffer.from('bert'), partitions)
  expect(rejection).toMatchObject({ stage: 'page', topic: 'clicks', partition, key: Buffer.from('bert') })
  expect(rejection!.problems).toEqual([
    {
      path: '/features/guarded',
      code: 'function_threw',
      expected: 'a function that does not throw',
      received: expect.stringMatching(/^Error: unlucky at .*clicks\.ts/),
    },
  ])
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions, startMs })
  expect(runner.plan.scored.codec.decode(rejection!.value)).toEqual({
    ok: true,
    event: { ...valid, user: 'bert', amount: 13 },
  })
})

test('a value that is not finite', async () => {
  const { rejections } = await runWith((runner) => runner.send('clicks', { ...valid, user: 'bert', amount: 17 }), 1)
  expect(rejections[0]!.problems).toEqual([
    {
      path: '/features/guarded',
      code: 'not_finite',
      expected: 'a finite number or null',
      received: 'Infinity from (17)',
    },
  ])
})

test('a missing value is no mistake', async () => {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions, startMs })
  await runner.sendAll([click('n', 'anna', 1, { amount: null })])
  const worker = runner.start()
  await worker.until('it is scored', () => worker.metrics.totals.predictions === 1)
  await worker.stop()
  const [prediction] = await runner.predictions()
  expect(prediction!.features).toEqual([Number.NaN, Number.NaN, 1, 0, 0, 0])
})

test('repetitions are dropped without a trace; the first one of an id wins, and one that says something else is a dead letter', async () => {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions, startMs })
  const good = [click('a', 'anna', 1), click('b', 'anna', 2), click('c', 'anna', 3), click('d', 'bert', 4)]
  await runner.sendAll(good.slice(0, 3))
  await runner.sendAll([click('a', 'anna', 1), click('b', 'anna', 3, { amount: 9 })])
  await runner.sendAll(good.slice(3))
  const worker = runner.start()
  await worker.until('all are processed', () => {
    const { totals } = worker.metrics
    return totals.predictions === 4 && totals.duplicates === 1 && totals.rejected === 1
  })
  await runner.clock.sleep(2_000)
  await worker.stop()
  expect(predictedVectors(await runner.predictions())).toEqual(replayedVectors(replayed(runner.plan, partitions, good)))
  expect((await runner.rejections()).map(({ problems }) => problems.map(({ code }) => code))).toEqual([
    ['duplicate_conflict'],
  ])
})
