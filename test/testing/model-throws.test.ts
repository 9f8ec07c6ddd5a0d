/** A run with a model that throws ends with what it threw, and leaves nothing running. */
import { expect, test } from 'vitest'
import type { CurrentModel } from '../../processors/batch/scoring.ts'
import { createPipelineRunner, oneByOne } from '../../testing/index.ts'
import { click, clicksPipeline, clicksStartMs } from '../support/clicks.ts'

const throwing: CurrentModel = () =>
  oneByOne({
    version: 'v1',
    score: () => {
      throw new TypeError('no weights')
    },
  })

test.each([undefined, { seed: 1 }, { seed: 2 }])('with the faults of %j', async (faults) => {
  const startMs = clicksStartMs + 3_600_000
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions: 2, startMs })
  await runner.sendAll([click('a', 'anna', 0), click('b', 'bert', 1)])
  const starts: string[] = []
  const observer = { trace: (process: string, what: string) => void (what === 'starts' && starts.push(process)) }
  const run = runner.run({ workers: 2, currentModel: throwing, observer, ...(faults ? { faults } : {}) })
  await expect(run).rejects.toThrow('no weights')
  const before = starts.length
  await runner.clock.sleep(60_000)
  expect(starts).toHaveLength(before)
})

test('while a producer beside it waits for predictions that never come', async () => {
  const startMs = clicksStartMs + 3_600_000
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions: 1, startMs })
  await runner.sendAll([click('a', 'anna', 0)])
  const during = new Promise<void>(() => undefined)
  await expect(runner.run({ currentModel: throwing, during })).rejects.toThrow('no weights')
})
