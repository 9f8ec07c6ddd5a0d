/** What is said of events that were released early: the first at once, the others counted. */
import { expect, test } from 'vitest'
import { createEarlyReleases } from '../../processors/early-release.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { clicksPipeline } from '../support/clicks.ts'

const { stages } = compile(clicksPipeline())
const input = (topic: string) => ({ topic, nextOffset: 0, lag: 0, isAtEnd: true, maxEventTime: 0 })

function watched(stage = stages[1]!) {
  const lines: Array<{ readonly details: object; readonly message: string }> = []
  let now = 0
  const log = {
    info: () => undefined,
    error: () => undefined,
    warn: (details: object, message: string) => lines.push({ details, message }),
  }
  const early = createEarlyReleases(log, () => now)
  const task = {
    stage,
    partition: 2,
    inputs: stage === stages[1] ? [input('clicks.page')] : [input('clicks'), input('refunds')],
    counts: { late: 0, releasedEarly: 0 },
    lastEarly: { time: Date.UTC(2024, 0, 1), source: 3, input: 0 },
    isRestoring: false,
  }
  return {
    early,
    lines,
    task,
    at(ms: number, releasedEarly: number) {
      now = ms
      task.counts.releasedEarly = releasedEarly
      early.observe(task)
    },
  }
}

test('the first one is a sentence that names what was not waited for; later ones are counted for a minute', () => {
  const { early, lines, at } = watched()
  expect(early.state()).toBeNull()
  at(0, 0)
  expect(lines).toEqual([])
  at(1_000, 2)
  expect(lines).toHaveLength(1)
  expect(lines[0]!.details).toEqual({ stage: 'page', partition: 2, events: 2 })
  expect(lines[0]!.message).toMatch(/2024-01-01T00:00:00.000Z in page 2 was released early: task 3 of the stage before/)
  at(2_000, 7)
  at(60_999, 9)
  expect(lines).toHaveLength(1)
  at(61_000, 10)
  expect(lines[1]!.details).toMatchObject({ events: 8 })
  expect(early.state()).toMatchObject({ count: 10, lastMs: 61_000 })
})

test('a raw input is named by its topic and partition', () => {
  const { lines, at, task } = watched(stages[0]!)
  task.lastEarly = { time: Number.NEGATIVE_INFINITY, source: 1, input: 1 }
  at(0, 1)
  expect(lines[0]!.message).toMatch(
    /of unknown in user 2 was released early: refunds, partition 2 had made no progress/,
  )
})

test('what a restore folds again was told before', () => {
  const { early, at, task } = watched()
  task.isRestoring = true
  at(0, 5)
  task.isRestoring = false
  at(1, 5)
  expect(early.state()).toBeNull()
  at(2, 6)
  expect(early.state()).toMatchObject({ count: 1 })
})
