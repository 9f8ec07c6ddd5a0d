/** Whether the name of a superseded worker is free again: its own stale join is told from another process, in an outage, too. */
import { expect, test } from 'vitest'
import { isNameFreed } from '../../processors/recovery/superseded.ts'
import type { BrokerGroups } from '../../runtime/broker.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'

/** Answers one after the other: who is a member, or why nobody knows; the last one again and again. */
async function freed(answers: ReadonlyArray<readonly string[] | PipelineError>, isAborted = false) {
  let elapsedMs = 0
  let asked = 0
  const describe = async () => {
    const answer = answers[Math.min(asked++, answers.length - 1)]!
    if (answer instanceof PipelineError) throw answer
    return { state: 'stable', members: answer.map((worker) => ({ worker, tasks: [] })) }
  }
  const clock = {
    nowMs: () => elapsedMs,
    elapsedMs: () => elapsedMs,
    async sleep(ms: number) {
      elapsedMs += ms
    },
    turn: async () => undefined,
  }
  const signal = isAborted ? AbortSignal.abort() : new AbortController().signal
  const limits = { sessionTimeoutMs: 9_000, outageMaxMs: 60_000, signal }
  const groups = { describe } as unknown as BrokerGroups
  return { isFreed: await isNameFreed({ groups, clock, group: 'g', name: 'w', ...limits }), asked, elapsedMs }
}

const unreachable = new PipelineError('kafka_unreachable', 'No broker answered.')

test('free once the stale member was removed, taken while somebody lives under it', async () => {
  expect(await freed([['other']])).toEqual({ isFreed: true, asked: 1, elapsedMs: 10_000 })
  expect(await freed([['other', 'w']])).toEqual({ isFreed: false, asked: 1, elapsedMs: 10_000 })
})

test('asked again after an outage, in which nobody could be removed', async () => {
  expect(await freed([unreachable, unreachable, []])).toEqual({ isFreed: true, asked: 3, elapsedMs: 30_000 })
  expect(await freed([unreachable, ['w']])).toMatchObject({ isFreed: false, asked: 2 })
})

test('given up after a long outage, at a stop, and for what no retry mends', async () => {
  expect(await freed([unreachable])).toEqual({ isFreed: false, asked: 7, elapsedMs: 70_000 })
  expect(await freed([unreachable], true)).toMatchObject({ isFreed: false, asked: 1 })
  expect(await freed([new PipelineError('kafka_refused', 'No right.')])).toMatchObject({ isFreed: false, asked: 1 })
})
