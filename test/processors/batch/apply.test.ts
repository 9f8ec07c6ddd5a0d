/** Step 7: what a batch changed, as one step a task from its last position to the next. */
import { describe, expect, test } from 'vitest'
import { createMemoryStore } from '../../../feature-store/memory-store.ts'
import { createStepWrites } from '../../../feature-store/step-writes.ts'
import { headerBytes } from '../../../feature-store/stored-log.ts'
import type { OpenTask } from '../../../processors/batch/active-batch.ts'
import { apply, takeSteps } from '../../../processors/batch/apply.ts'
import { fold } from '../../../processors/batch/fold.ts'
import { createFoldedEvents } from '../../../processors/batch/folded-events.ts'
import { createTask } from '../../../processors/batch/task.ts'
import { encodePosition, type TaskPosition } from '../../../processors/position.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import {
  activeBatch,
  at,
  freshPosition,
  heldEvent,
  identity,
  openTaskOf,
  putLog,
  taskOptions,
} from '../../support/batch-steps.ts'
import { click, clicksPipeline } from '../../support/clicks.ts'
import { failureOf } from '../../support/failure-of.ts'
import { listWrites } from '../../support/stored-logs.ts'

const plan = compile(clicksPipeline({ stages: 1 }))
const bytesPerRow = plan.stages[0]!.entity.layout.width * 8

async function openWithStore() {
  const store = createMemoryStore()
  const open = await openTaskOf(createTask(taskOptions(plan)), plan, store)
  const stored = async (key: string) => {
    const { logs, position } = await store.read('user', 0, [key])
    return { position, facts: logs[0] == null ? 0 : (logs[0][0]!.length - headerBytes) / bytesPerRow }
  }
  return { store, open, stored }
}

/** Where the task stands once so many clicks are done. */
function positionAfter(clicks: number): TaskPosition {
  const { inputs, ...rest } = freshPosition(2)
  return { ...rest, inputs: [{ ...inputs[0]!, resumeOffset: clicks, nextOffset: clicks }, inputs[1]!] }
}

const encodedAfter = (clicks: number) => encodePosition(positionAfter(clicks))

/** A batch of one click of Anna, folded. */
function foldedClick(open: OpenTask, offset: number) {
  const batch = activeBatch(open, [heldEvent(plan, click(`c${offset}`, 'anna', offset), offset)], {
    position: positionAfter(offset + 1),
  })
  putLog(open.cache, 'anna')
  const metrics = { duplicate: () => expect.unreachable('every id is new') }
  fold({ plan, metrics, folded: createFoldedEvents() }, batch)
  return batch
}

describe('steps', () => {
  test('go from one position to the next, each on top of the one before', async () => {
    const { open } = await openWithStore()
    const steps = [0, 1].flatMap((offset) => takeSteps([foldedClick(open, offset)]))
    expect(steps.map(({ step }) => [step.from, step.to])).toEqual([
      [null, encodedAfter(1)],
      [encodedAfter(1), encodedAfter(2)],
    ])
    expect(open.position).toBe(encodedAfter(2))
  })

  test('have what was changed since the last ones, once', async () => {
    const { open } = await openWithStore()
    const batch = foldedClick(open, 0)
    const [first] = takeSteps([batch])
    expect(listWrites(first!.step.writes).map(({ key, kind, bytes }) => [key, kind, bytes.length])).toEqual([
      ['anna', 'set', headerBytes + bytesPerRow],
    ])
    const { writes, ...step } = takeSteps([batch])[0]!.step
    expect(step).toEqual({ from: encodedAfter(1), to: encodedAfter(1) })
    expect(listWrites(writes)).toEqual([])
  })

  test('keep the bytes of their batch, whatever is folded after it', async () => {
    const { open, stored } = await openWithStore()
    const first = takeSteps([foldedClick(open, 0)])
    foldedClick(open, 1)
    await apply(first)
    expect(await stored('anna')).toEqual({ position: encodedAfter(1), facts: 1 })
  })
})

describe('applying', () => {
  test('brings logs and position into the store', async () => {
    const { open, stored } = await openWithStore()
    for (const offset of [0, 1, 2]) await apply(takeSteps([foldedClick(open, offset)]))
    expect(await stored('anna')).toEqual({ position: encodedAfter(3), facts: 3 })
    expect(putLog(open.cache, 'anna').rows[0]).toBe(at(0))
  })

  test('asks nothing of the store where the position has not moved', async () => {
    const { open } = await openWithStore()
    const step = { from: encodedAfter(1), to: encodedAfter(1), writes: createStepWrites() }
    const store = { ...open.store, apply: async () => expect.unreachable('there is nothing to apply') }
    await expect(apply([{ store, step }])).resolves.toBeUndefined()
  })

  test('fails as fenced where the store has another owner', async () => {
    const { open, store, stored } = await openWithStore()
    await store.claim('user', 0, 'somebody else', identity)
    expect(await failureOf(apply(takeSteps([foldedClick(open, 0)])))).toMatchObject({ code: 'fenced' })
    expect(await stored('anna')).toEqual({ position: null, facts: 0 })
  })

  test('fails as lost where the store stands at another position', async () => {
    const { open, store } = await openWithStore()
    await apply(takeSteps([foldedClick(open, 0)]))
    store.loseTail('user', 0, 1)
    expect(await failureOf(apply(takeSteps([foldedClick(open, 1)])))).toMatchObject({ code: 'state_lost' })
  })
})
