/** Step 3: what a batch needs and is not in memory, from the store into the cache. */
import { describe, expect, test } from 'vitest'
import type { StoredLog, TaskStore } from '../../../feature-store/store.ts'
import type { OpenTask } from '../../../processors/batch/active-batch.ts'
import { load } from '../../../processors/batch/load.ts'
import { PipelineError } from '../../../schemas/kernel/errors.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import { activeBatch, heldEvent, openClicks, putLog } from '../../support/batch-steps.ts'
import { click, clicksPipeline } from '../../support/clicks.ts'
import { failureOf } from '../../support/failure-of.ts'
import { storedRowsOf } from '../../support/stored-logs.ts'

const plan = compile(clicksPipeline({ stages: 1 }))
const { width } = plan.stages[0]!.entity.layout

/** A log of one fact, at this time. */
const logAt = (time: number) => storedRowsOf([new Float64Array(width).fill(time)])

/** A task whose store answers with these logs and remembers what it was asked for. */
async function openWith(logs: Readonly<Record<string, StoredLog>>) {
  const asked: Array<readonly string[]> = []
  const store: TaskStore = {
    position: null,
    load: async (keys) => {
      asked.push(keys)
      return keys.map((key) => logs[key] ?? null)
    },
    apply: async () => expect.unreachable('loading applies nothing'),
  }
  const open: OpenTask = { ...(await openClicks(plan)), store }
  return { open, asked }
}

const batchOf = (open: OpenTask, users: readonly string[]) =>
  activeBatch(
    open,
    users.map((user, i) => heldEvent(plan, click(`c${i}`, user, i), i)),
  )

describe('loading', () => {
  test('asks once, for the keys that are missing, in the order of their events', async () => {
    const { open, asked } = await openWith({})
    putLog(open.cache, 'bert')
    await load([batchOf(open, ['dora', 'bert', 'anna', 'dora', 'cleo'])])
    expect(asked).toEqual([['dora', 'anna', 'cleo']])
    expect(['anna', 'bert', 'cleo', 'dora'].map((key) => open.cache.find(key).log === null)).toEqual(
      Array(4).fill(false),
    )
  })

  test('gives every key its own log', async () => {
    const { open } = await openWith({ anna: logAt(7), cleo: logAt(9) })
    await load([batchOf(open, ['cleo', 'bert', 'anna'])])
    const firstTime = (key: string) => open.cache.find(key).log!.rows[0]
    expect([firstTime('anna'), firstTime('bert'), firstTime('cleo')]).toEqual([7, undefined, 9])
  })

  test('asks nothing where everything is in memory', async () => {
    const { open, asked } = await openWith({})
    putLog(open.cache, 'anna')
    await load([batchOf(open, ['anna']), batchOf(open, [])])
    expect(asked).toEqual([])
  })

  test('asks the store of every task once', async () => {
    const [first, second] = [await openWith({}), await openWith({})]
    await load([batchOf(first.open, ['anna']), batchOf(second.open, ['bert'])])
    expect([first.asked, second.asked]).toEqual([[['anna']], [['bert']]])
  })

  test('fails with what a store refuses', async () => {
    const { open } = await openWith({})
    const fenced = new PipelineError('fenced', 'another owner')
    const other = { ...open, store: { ...open.store, load: () => Promise.reject(fenced) } }
    expect(await failureOf(load([batchOf(other, ['anna'])]))).toBe(fenced)
    expect(open.cache.find('anna').log).toBe(null)
  })
})
