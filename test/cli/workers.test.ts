/** `workers` from its arguments to its output, on the broker in memory. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Broker } from '../../runtime/broker.ts'
import { systemClock } from '../../runtime/clock.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { call, scratchFolder } from './call.ts'

const path = 'pipelines/card-fraud.ts'
const group = 'cli-test.card-fraud'
const topics = ['a', 'b']
const stages = topics.map((topic) => ({ stage: `of-${topic}`, topics: [topic], partitions: 3 }))

async function withWorkers(...names: string[]) {
  const broker = createMemoryBroker({ clock: systemClock })
  await broker.admin.ensureTopics(topics.map((topic) => ({ topic, partitions: 3, config: {} })))
  const kept: Broker = { ...broker, close: async () => undefined }
  const options = { group, stages, sessionTimeoutMs: 60_000, transactionTimeoutMs: 10_000 }
  const workers = await Promise.all(names.map((worker) => broker.groups.worker({ ...options, worker })))
  // Those who are there join again when somebody comes.
  for (const at of workers.keys()) {
    const there = workers.slice(0, at + 1).reverse()
    await Promise.all(there.map((worker) => worker.join()))
  }
  const env = { MILLRACE_NAMESPACE: 'cli-test' }
  const millraceWorkers = (...args: string[]) => call(['workers', ...args], { env, openBroker: () => kept })
  return { broker, workers, millraceWorkers }
}

describe('workers', () => {
  test('lists who is there, with their tasks', async () => {
    const { millraceWorkers } = await withWorkers('w2', 'w1')
    const figures = join(await scratchFolder(), 'workers.json')
    expect(await millraceWorkers('list', path, '--json', figures)).toEqual({
      code: 0,
      err: [],
      out: [
        'worker  host    tasks',
        expect.stringMatching(/^w1 {6}memory {2}of-a \d( \d)?, of-b \d( \d)?$/),
        expect.stringMatching(/^w2 {6}memory {2}of-a \d( \d)?, of-b \d( \d)?$/),
      ],
    })
    const read = JSON.parse(await readFile(figures, 'utf8')) as { group: string; state: string; members: object[] }
    expect([read.group, read.state, read.members.length]).toEqual([group, 'stable', 2])
  })

  test('lists no worker', async () => {
    const { millraceWorkers } = await withWorkers()
    expect((await millraceWorkers('list', path)).out).toEqual([`Group ${group} has no members.`])
    expect(await millraceWorkers('remove', path, 'w1')).toMatchObject({
      code: 2,
      err: [
        expect.stringMatching(/^error: Group cli-test\.card-fraud has no members, so no worker "w1"\.$/),
        expect.anything(),
      ],
    })
  })

  test('removes one that has ended, and its tasks move to the others', async () => {
    const { broker, workers, millraceWorkers } = await withWorkers('w1', 'w2')
    await workers[0]!.close()
    const { code, out } = await millraceWorkers('remove', path, 'w1')
    expect([code, out]).toEqual([
      0,
      [
        expect.stringMatching(
          /^Removed w1 of group cli-test\.card-fraud \(\d+ ms\)\. Its tasks: of-a .*, of-b .*\. The others take over\.$/,
        ),
      ],
    ])
    expect((await workers[1]!.join()).tasks.length).toBe(6)
    const last = await millraceWorkers('remove', path, 'w2')
    expect(last.out[0]).toContain(
      'Its tasks: of-a 0 1 2, of-b 0 1 2. There is no other worker: the tasks wait for the next start.',
    )
    expect((await broker.groups.describe(group)).members).toEqual([])
  })

  test('rejects a name that is not there, and reports which are', async () => {
    const { broker, millraceWorkers } = await withWorkers('worker-1', 'worker-2')
    const { code, err } = await millraceWorkers('remove', path, 'worker2')
    expect([code, err[0]]).toEqual([
      2,
      `error: Group ${group} has no worker "worker2", but worker-1, worker-2. Did you mean worker-2?`,
    ])
    expect((await broker.groups.describe(group)).members.length).toBe(2)
  })
})
