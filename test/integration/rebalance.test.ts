/**
 * Processes start and stop under load on real servers: stopped, killed and removed, killed and left to their session. Who takes the tasks,
 * how soon the first prediction comes out of them again, and that nothing is lost, doubled or changed.
 */
import { expect, inject, test } from 'vitest'
import { type Command, startCommand } from '../support/command.ts'
import { createHandbookRun, definition, eventually, type HandbookRun } from '../support/handbook-run.ts'

const sessionTimeoutMs = 6_000
/** About one second on a quiet machine (measured in docs/decisions/0025); tests run beside others. */
const handOverMaxMs = 4_000

/** Partitions of the last stage by worker; empty while the group is rebalancing. */
async function tasksOf(run: HandbookRun): Promise<Map<string, number[]>> {
  const { state, members } = await run.broker.groups.describe(run.group)
  if (state !== 'stable') return new Map()
  const last = run.plan.stages.at(-1)!.entity.name
  const ofLast = (tasks: (typeof members)[number]['tasks']) => tasks.filter(({ stage }) => stage === last)
  return new Map(members.map(({ worker, tasks }) => [worker, ofLast(tasks).map(({ partition }) => partition)]))
}

async function untilShared(run: HandbookRun): Promise<void> {
  const isShared = async () => [...(await tasksOf(run)).values()].map((list) => list.length).join() === '2,2'
  await eventually(isShared, 'two tasks each', () => run.group)
}

/** Ms from `sinceMs` to the first prediction of these partitions that came after the former owner had ended. */
async function handOverMs(run: HandbookRun, handedOver: readonly number[], sinceMs: number, endedMs: number) {
  const isFirst = ({ prediction, receivedMs }: HandbookRun['received'][number]) =>
    receivedMs > endedMs && handedOver.includes(prediction.positions.at(-1)!.partition)
  await eventually(
    () => run.received.some(isFirst),
    'a prediction of the other process',
    () => run.received.length,
  )
  return run.received.find(isFirst)!.receivedMs - sinceMs
}

test('tasks move when a process stops, is removed, or never comes back', { timeout: 180_000 }, async () => {
  const run = createHandbookRun({
    name: 'rebalance',
    kafkaBrokers: inject('kafkaBrokers'),
    redisUrl: inject('redisUrl'),
    hours: 24,
    settings: { MILLRACE_SESSION_TIMEOUT_MS: String(sessionTimeoutMs) },
  })
  const processes = new Map<string, Command>()
  const start = async (worker: string) => {
    processes.set(worker, await run.start(worker))
    await untilShared(run)
  }
  processes.set('worker-1', await run.start('worker-1'))
  await start('worker-2')
  await run.watch()
  // However long the steps take: each begins under load, and what comes meanwhile waits for the next owner.
  const produceHours = async (from: number, until: number) => {
    const [before, produce] = [run.received.length, run.produceHours(400, { from, until })]
    await run.untilPredicted(before + 100)
    return produce
  }

  const took = { stopped: 0, removed: 0, session: 0 }
  {
    const produce = await produceHours(0, 8)
    const handedOver = (await tasksOf(run)).get('worker-1')!
    const stopping = processes.get('worker-1')!
    const askedMs = Date.now()
    stopping.child.kill('SIGTERM')
    expect(await stopping.exitCode, stopping.output()).toBe(0)
    took.stopped = await handOverMs(run, handedOver, askedMs, Date.now())
    expect(await produce.exitCode, produce.output()).toBe(0)
    await start('worker-1')
  }
  {
    const produce = await produceHours(8, 16)
    const handedOver = (await tasksOf(run)).get('worker-2')!
    const killed = processes.get('worker-2')!
    killed.child.kill('SIGKILL')
    await killed.exitCode
    const remove = startCommand(['workers', 'remove', definition, 'worker-2'], run.environment)
    expect(await remove.exitCode, remove.output()).toBe(0)
    const removedMs = Date.now()
    expect(remove.output()).toContain(`Removed worker-2 of group ${run.group}`)
    took.removed = await handOverMs(run, handedOver, removedMs, removedMs)
    expect(await produce.exitCode, produce.output()).toBe(0)
    await start('worker-2')
  }
  {
    const produce = await produceHours(16, 24)
    const handedOver = (await tasksOf(run)).get('worker-1')!
    const killed = processes.get('worker-1')!
    const killedMs = Date.now()
    killed.child.kill('SIGKILL')
    await killed.exitCode
    took.session = await handOverMs(run, handedOver, killedMs, Date.now())
    expect(await produce.exitCode, produce.output()).toBe(0)
  }
  console.log(`first prediction by the other process, ms: ${JSON.stringify(took)}`)
  expect(took.stopped).toBeLessThan(handOverMaxMs)
  expect(took.removed).toBeLessThan(handOverMaxMs)
  expect(took.session).toBeLessThan(sessionTimeoutMs + handOverMaxMs)

  await run.expectQuiet()
  const last = processes.get('worker-2')!
  last.child.kill('SIGTERM')
  expect(await last.exitCode, last.output()).toBe(0)
  expect(await run.broker.groups.describe(run.group)).toEqual({ state: 'empty', members: [] })
})
