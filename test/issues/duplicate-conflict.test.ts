/**
 * Ids were compared by a hash of 53 bits without a key: two ids with one hash are found in seconds, and the second payment was taken for a
 * repetition of the first and vanished. So did an event that came with the id of another and other values. Both are seen now: different
 * ids are different events, and the same id with other values is a dead letter.
 */
import { expect, test } from 'vitest'
import { createPipelineRunner } from '../../testing/index.ts'
import { click, clicksPipeline, clicksStartMs, refund } from '../support/clicks.ts'

const twins = ['tx-24978987', 'tx-169165420'] as const

/** cyrb53, as ids were hashed. */
function hash53(id: string): number {
  let high = 0xdeadbeef
  let low = 0x41c6ce57
  for (let index = 0; index < id.length; index++) {
    high = Math.imul(high ^ id.charCodeAt(index), 2654435761)
    low = Math.imul(low ^ id.charCodeAt(index), 1597334677)
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507)
  high ^= Math.imul(low ^ (low >>> 13), 3266489909)
  low = Math.imul(low ^ (low >>> 16), 2246822507)
  low ^= Math.imul(high ^ (high >>> 13), 3266489909)
  return 2 ** 32 * (low & 0x1fffff) + (high >>> 0)
}

async function openRunner(disorder: '0s' | '20s' = '0s') {
  const startMs = clicksStartMs + 3_600_000
  return createPipelineRunner({ pipeline: clicksPipeline({ stages: 1, disorder }), partitions: 1, startMs })
}

test('two ids that had one hash are two events', async () => {
  expect(hash53(twins[0])).toBe(hash53(twins[1]))
  const runner = await openRunner()
  await runner.sendAll([click(twins[0], 'anna', 0, { amount: 2 }), click(twins[1], 'anna', 10, { amount: 3 })])
  await runner.run()
  // Anna's clicks of a minute, and what they sum to.
  const features = await runner.features()
  expect(features[twins[1]]).toMatchObject({ userCount1m: 2, userSum: 5 })
  expect(await runner.rejections()).toEqual([])
})

test('the same id with other values is a dead letter; a repetition is counted and nothing else', async () => {
  const runner = await openRunner()
  const first = click('a', 'anna', 0, { amount: 2 })
  const others = [click('a', 'anna', 0, { amount: 3 }), click('a', 'anna', 1, { amount: 2 }), click('a', 'bert', 0)]
  const reports = [refund('a', 'anna', 2), refund('a', 'anna', 3)]
  await runner.sendAll([first, first, ...others, ...reports, click('b', 'anna', 20, { amount: 4 })])
  await runner.run()
  const rejections = await runner.rejections()
  expect(rejections.map(({ offset, problems }) => [offset, problems.map(({ code, path }) => [code, path])])).toEqual([
    [2, [['duplicate_conflict', '/clickId']]],
    [3, [['duplicate_conflict', '/clickId']]],
  ])
  expect(rejections[0]!.problems[0]!.expected).toContain('of 2024-01-01T00:00:00.000Z (clicks 0:0)')
  // The id belongs to an entity: what Bert has done is not what Anna has.
  const predictions = await runner.predictions()
  expect(predictions.map(({ id, origin }) => [id, origin.offset])).toEqual([
    ['a', 0],
    ['a', 4],
    ['b', 5],
  ])
  expect((await runner.features()).b).toMatchObject({ userCount1m: 2, userSum: 6, refunds: 1 })
})

test('so it is where the other one lies before it in order and both are still held', async () => {
  const runner = await openRunner('20s')
  await runner.sendAll([
    click('a', 'anna', 10, { amount: 2 }),
    click('a', 'anna', 5, { amount: 7 }),
    click('b', 'anna', 60, { amount: 4 }),
  ])
  await runner.run()
  expect((await runner.rejections()).map(({ offset, problems: [first] }) => [offset, first!.code])).toEqual([
    [1, 'duplicate_conflict'],
  ])
  expect((await runner.features()).b).toMatchObject({ userCount1m: 2, userSum: 6 })
})
