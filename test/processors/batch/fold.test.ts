/** Step 4: the events of a batch become outputs, rejections, or nothing. */
import { describe, expect, test } from 'vitest'
import { liveRows } from '../../../feature-store/entity-log.ts'
import { fold } from '../../../processors/batch/fold.ts'
import { createFoldedEvents } from '../../../processors/batch/folded-events.ts'
import { recordOf, type StageEvent } from '../../../processors/batch/stage-event.ts'
import type { TaskBatch } from '../../../processors/batch/task.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import { rejectedByHeader } from '../../../schemas/wire/dead-letter.ts'
import { activeBatch, at, freshPosition, heldEvent, listFolded, openClicks, putLog } from '../../support/batch-steps.ts'
import { click, clicksPipeline } from '../../support/clicks.ts'

const plan = compile(clicksPipeline({ stages: 1 }))
const retentionMs = plan.stages[0]!.entity.retentionMs

/** A task with empty logs of Anna and Bert; `foldBatch` folds one batch into them. */
async function openUsers(of = plan) {
  const open = await openClicks(of)
  for (const key of ['anna', 'bert']) putLog(open.cache, key)
  const duplicates: string[] = []
  const metrics = { duplicate: (stage: string) => void duplicates.push(stage) }
  const folded = createFoldedEvents()
  function foldBatch(events: readonly StageEvent[], rest: Partial<TaskBatch> = {}) {
    const batch = activeBatch(open, events, rest)
    fold({ plan: of, metrics, folded }, batch)
    return { outputs: listFolded(folded), rejections: batch.rejections }
  }
  return { open, duplicates, foldBatch }
}

const held = (id: string, user: string, seconds: number, offset: number, rest: { amount?: number } = {}) =>
  heldEvent(plan, click(id, user, seconds, rest), offset)

describe('a batch is folded', () => {
  test('event by event into the log of its entity', async () => {
    const { foldBatch, open } = await openUsers()
    const { outputs, rejections } = foldBatch([
      held('a', 'anna', 0, 0),
      held('b', 'bert', 1, 1),
      held('c', 'anna', 2, 2),
    ])
    expect(outputs.map(({ event, numbers }) => [event.id, numbers![2]])).toEqual([
      ['a', 1],
      ['b', 1],
      ['c', 2],
    ])
    expect(rejections).toEqual([])
    expect(open.newestTime).toBe(at(2))
  })

  test('with its bad events beside it: the raw record with what is wrong', async () => {
    const { foldBatch } = await openUsers()
    const bad = held('bad', 'anna', 1, 1, { amount: 13 })
    const { outputs, rejections } = foldBatch([held('a', 'anna', 0, 0), bad, held('c', 'anna', 2, 2)])
    expect(outputs.map(({ event, numbers }) => [event.id, numbers![2]])).toEqual([
      ['a', 1],
      ['c', 2],
    ])
    expect(rejections).toMatchObject([
      { topic: 'clicks', partition: 0, offset: 1, value: recordOf(bad).value, problems: [{ code: 'function_threw' }] },
    ])
  })

  test('behind the records that were rejected as they were read', async () => {
    const { foldBatch } = await openUsers()
    const unreadable = {
      topic: 'clicks',
      partition: 0,
      offset: 0,
      appendedAtMs: 0,
      key: null,
      value: Buffer.from('bad'),
      headers: {},
      problems: [],
    }
    const { rejections } = foldBatch([held('bad', 'anna', 1, 1, { amount: 13 })], { rejections: [unreadable] })
    expect(rejections.map(({ offset }) => offset)).toEqual([0, 1])
  })

  test('without facts that are older than retention, by the slower of the newest event and the retention watermark', async () => {
    const { foldBatch, open } = await openUsers()
    const kept = (seconds: number, retentionWatermark: number, offset: number) => {
      foldBatch([held(`c${offset}`, 'anna', seconds, offset)], {
        position: { ...freshPosition(2), retentionWatermark },
      })
      return liveRows(putLog(open.cache, 'anna'))
    }
    const expiry = retentionMs / 1_000
    expect(kept(0, Number.NEGATIVE_INFINITY, 0)).toBe(1)
    expect(kept(expiry + 1, at(expiry), 1)).toBe(2)
    expect(kept(expiry + 2, at(expiry + 1), 2)).toBe(2)
    // The watermark knows of a later event, but nothing that late was folded here.
    expect(kept(expiry + 2, at(3 * expiry), 3)).toBe(3)
  })
})

describe('a duplicate', () => {
  test('gives nothing and is counted by stage', async () => {
    const { foldBatch, duplicates } = await openUsers()
    const { outputs, rejections } = foldBatch([held('a', 'anna', 0, 0), held('a', 'anna', 0, 1)])
    expect([outputs.length, rejections.length]).toEqual([1, 0])
    expect(duplicates).toEqual(['user'])
  })

  test('is an event that was read after one of its own id, even where that one is folded later', async () => {
    const { foldBatch, duplicates } = await openUsers()
    const repeats = { time: at(5), order: 0, isConflict: false }
    const { outputs } = foldBatch([{ ...held('a', 'anna', 0, 1), repeats }, held('a', 'anna', 5, 0)])
    expect(outputs.map(({ event }) => event.offset)).toEqual([0])
    expect(duplicates).toEqual(['user'])
  })

  test('is not counted again by a restore', async () => {
    const { foldBatch, duplicates } = await openUsers()
    const { outputs } = foldBatch([held('a', 'anna', 0, 0), held('a', 'anna', 0, 1)], { isRestore: true })
    expect(outputs.length).toBe(1)
    expect(duplicates).toEqual([])
  })
})

test('an event that a later stage had rejected goes on with the origin of its fact', async () => {
  const twoStages = compile(clicksPipeline({ stages: 2 }))
  const { foldBatch } = await openUsers(twoStages)
  const event = click('a', 'anna', 0)
  const requeued = heldEvent(twoStages, event, 7, { headers: { [rejectedByHeader]: Buffer.from('page') } })
  const { outputs } = foldBatch([heldEvent(twoStages, event, 2), requeued])
  expect(outputs.map(({ event }) => [event.offset, event.originPartition, event.originOffset])).toEqual([
    [2, 0, 2],
    [7, 0, 2],
  ])
})

test('an entity that was not loaded ends the batch', async () => {
  const { foldBatch } = await openUsers()
  expect(() => foldBatch([held('a', 'cleo', 0, 0)])).toThrow('entity cleo was not loaded before its batch')
})
