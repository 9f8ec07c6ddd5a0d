/**
 * A process that was paused past its session comes back to tasks that another one has worked on since: it can neither commit nor apply,
 * joins again, and in the end nothing is lost, doubled or changed. The second time Redis is emptied meanwhile, so that no token is left to
 * compare.
 */
import { Redis } from 'ioredis'
import { expect, inject, onTestFinished, test } from 'vitest'
import { createHandbookRun, eventually, type HandbookRun } from '../support/handbook-run.ts'

const sessionTimeoutMs = 6_000

async function tasksOf(run: HandbookRun): Promise<Record<string, number>> {
  const { state, members } = await run.broker.groups.describe(run.group)
  if (state !== 'stable') return {}
  return Object.fromEntries(members.map(({ worker, tasks }) => [worker, tasks.length]))
}

const untilTasks = (run: HandbookRun, expected: Record<string, number>) => {
  const isSo = async () => JSON.stringify(Object.entries(await tasksOf(run)).sort()) === wanted
  const wanted = JSON.stringify(Object.entries(expected).sort())
  return eventually(isSo, wanted, () => run.group)
}

test('a process that resumes after its session has expired is fenced, and continues as a new member', {
  timeout: 180_000,
}, async () => {
  const redisUrl = inject('redisUrl')
  const run = createHandbookRun({
    name: 'fencing',
    kafkaBrokers: inject('kafkaBrokers'),
    redisUrl,
    hours: 20,
    settings: { MILLRACE_SESSION_TIMEOUT_MS: String(sessionTimeoutMs), MILLRACE_LOG_LEVEL: 'info' },
  })
  const paused = await run.start('paused')
  const other = await run.start('other')
  await untilTasks(run, { other: 4, paused: 4 })
  await run.watch()
  const store = new Redis(redisUrl)
  onTestFinished(() => store.disconnect())

  for (const [round, hours] of [
    { from: 0, until: 10 },
    { from: 10, until: 20 },
  ].entries()) {
    const before = run.received.length
    const produce = run.produceHours(400, hours)
    await run.untilPredicted(before + 300)
    paused.child.kill('SIGSTOP')
    await untilTasks(run, { other: 8 })
    const taken = run.received.length
    await run.untilPredicted(taken + 200)
    if (round === 1) await emptied(store, run)
    const outputBefore = paused.output().length
    paused.child.kill('SIGCONT')
    await untilTasks(run, { other: 4, paused: 4 })
    // By its generation, its producer, the store, or an answer that came too late: it drops what it had before it opens its tasks again.
    const fencingErrors = [
      'reassigning its tasks',
      'must join group',
      'continues without',
      'took over',
      'taken over',
      'no longer holds',
      'owner token',
      'redis_unreachable',
      'kafka_unreachable',
    ]
    const droppedFirst = new RegExp(`(${fencingErrors.join('|')}).*"tasks opened"`, 's')
    const newOutput = () => paused.output().slice(outputBefore)
    await eventually(() => droppedFirst.test(newOutput()), 'the paused process to start over', newOutput)
    expect(await produce.exitCode, produce.output()).toBe(0)
  }
  await run.expectQuiet()
  for (const one of [paused, other]) {
    one.child.kill('SIGTERM')
    expect(await one.exitCode, one.output()).toBe(0)
  }
})

/** Only what is this run's: the server is shared. */
async function emptied(store: Redis, run: HandbookRun): Promise<void> {
  const keys = await store.keys(`{${run.group}.*`)
  expect(keys.length).toBeGreaterThan(100)
  await store.unlink(...keys)
}
