/** A real Redis that dies and comes back without its last writes: the errors of the store, where it continues, and what it reads. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { type EntityLog, insertFact } from '../../feature-store/entity-log.ts'
import { createRedisStore } from '../../feature-store/redis/store.ts'
import { createStepWrites, type StepWrites } from '../../feature-store/step-writes.ts'
import type { StoredLog, TaskStore } from '../../feature-store/store.ts'
import { decodeLog, headerBytes, tailRowsMaxOf, takeWrite } from '../../feature-store/stored-log.ts'
import { freePort } from '../../runtime/servers/free-port.ts'
import { findRedisBinary } from '../../runtime/servers/redis-binary.ts'
import { rowOf } from '../support/fact-rows.ts'
import { append, logOfRows, remove, set, textOf, writesOf } from '../support/stored-logs.ts'

const identity = { clusterId: 'kafka-1', stateFingerprint: 'f00d', partitions: 4 }

async function ownServer() {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-aof-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const { file } = await findRedisBinary(join(process.cwd(), '.millrace/cache'), process.env, () => undefined)
  const port = await freePort(undefined, [])
  const settings = { port, bind: '127.0.0.1', dir: folder, save: '', appendonly: 'yes', appendfsync: 'always' }
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)])
  let child: ChildProcess
  const start = () => {
    child = spawn(file, args, { stdio: 'ignore' })
  }
  start()
  onTestFinished(() => void child.kill('SIGKILL'))
  const aof = () => {
    const own = join(folder, 'appendonlydir')
    return join(own, readdirSync(own).find((name) => name.endsWith('.incr.aof'))!)
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    start,
    /** Every answered write is in the file by then. */
    writtenBytes: () => statSync(aof()).size,
    /** Dies at once, and its file ends there. */
    async dieAt(bytes: number) {
      child.kill('SIGKILL')
      await once(child, 'exit')
      truncateSync(aof(), bytes)
    },
  }
}

async function connected(url: string) {
  let failure: unknown
  for (let tries = 0; tries < 200; tries++) {
    try {
      return await createRedisStore({ url, pipeline: 'card-fraud', namespace: '' })
    } catch (error) {
      failure = error
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  throw failure
}

test.each([
  ['between two steps', 0],
  ['in the middle of one', 25],
])('the append-only file ends %s', async (_, bytesMore) => {
  const server = await ownServer()
  const store = await connected(server.url)
  onTestFinished(() => store.close())
  const task = await store.claim('customer', 0, '7:1', identity)
  await task.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one'), set('b', 'keep')) })
  const bytes = server.writtenBytes()
  await task.apply({ from: 'p1', to: 'p2', writes: writesOf(append('a', '+two', 'one'), set('c', 'new'), remove('b')) })
  await task.apply({ from: 'p2', to: 'p3', writes: writesOf(append('a', '+three', 'one+two')) })
  expect(server.writtenBytes()).toBeGreaterThan(bytes + bytesMore)

  await server.dieAt(bytes + bytesMore)
  server.start()
  await (await connected(server.url)).close()
  await expect
    .poll(
      () =>
        store.ping().then(
          () => 'up',
          () => 'down',
        ),
      { timeout: 20_000 },
    )
    .toBe('up')
  // Every call of the owner that survived it is rejected, and nothing is folded onto a gap.
  await expect(task.load(['a'])).rejects.toMatchObject({
    code: 'state_lost',
    message: 'The store is at p1 for task customer/0, expected position p3: drop the local state and claim again.',
  })
  await expect(task.apply({ from: 'p3', to: 'p4', writes: writesOf(append('a', 'x', 'one')) })).rejects.toMatchObject({
    code: 'state_lost',
  })
  const again = await store.claim('customer', 0, '7:2', identity)
  expect(again.position).toBe('p1')
  expect((await again.load(['a', 'b', 'c'])).map(textOf)).toEqual(['one', 'keep', null])
})

test('a step that was torn comes half back with the second start, and counts once', async () => {
  const server = await ownServer()
  const store = await connected(server.url)
  const task = await store.claim('customer', 0, '7:1', identity)
  const layout = { width: 3, knownColumn: null, sources: [] }
  const logs = new Map<string, EntityLog>()
  /** The writes of an owner who knows these logs. */
  const facts = (keys: readonly string[], time: number): StepWrites => {
    const writes = createStepWrites()
    for (const key of keys) {
      const log = logs.get(key) ?? decodeLog(null, layout)
      logs.set(key, log)
      insertFact(log, rowOf(Float64Array.of(time, time, time)))
      takeWrite(log, key, writes)
    }
    return writes
  }
  const reload = async (task: TaskStore) => {
    logs.clear()
    const keys = ['a', 'b', 'c']
    for (const [index, stored] of (await task.load(keys)).entries()) logs.set(keys[index]!, decodeLog(stored, layout))
  }
  await task.apply({ from: null, to: 'p1', writes: facts(['a', 'b'], 1) })
  const before = server.writtenBytes()
  await task.apply({ from: 'p1', to: 'p2', writes: facts(['a', 'b', 'c'], 2) })
  const torn = before + Math.floor((server.writtenBytes() - before) / 2)
  await store.close()

  await server.dieAt(torn)
  server.start()
  const second = await connected(server.url)
  const again = await second.claim('customer', 0, '7:2', identity)
  expect(again.position).toBe('p1')
  await reload(again)
  await again.apply({ from: 'p1', to: 'p2', writes: facts(['a', 'b', 'c'], 2) })
  await again.apply({ from: 'p2', to: 'p3', writes: facts(['a'], 3) })
  await second.close()

  await server.dieAt(server.writtenBytes())
  server.start()
  const third = await connected(server.url)
  onTestFinished(() => third.close())
  const last = await third.claim('customer', 0, '7:3', identity)
  expect(last.position).toBe('p3')
  const stored = await last.load(['a', 'b', 'c'])
  // What was torn is among them, but where a Redis throws it away.
  const { version } = await third.server()
  expect(version.startsWith('7.0.') ? [4] : [3, 4]).toContain(
    (stored[0]![0]!.length - headerBytes) / (8 * layout.width),
  )
  const timesOf = (log: StoredLog | null) => {
    const { rows, width, start, end } = decodeLog(log, layout)
    return Array.from({ length: end - start }, (_, index) => rows[(start + index) * width])
  }
  expect(stored.map(timesOf)).toEqual([[1, 2, 3], [1, 2], [2]])
})

test.each([0.1, 0.5, 0.9, 0.99])(
  'a seal of a full tail that was torn at %f of its step leaves every fact once',
  async (part) => {
    const server = await ownServer()
    const layout = { width: 4, knownColumn: null, sources: [] }
    const max = tailRowsMaxOf(layout.width)
    let time = 0
    /** Facts of `hot`, as many as given, on top of what the store has. */
    async function fold(task: TaskStore, log: EntityLog, counts: readonly number[]) {
      for (const count of counts) {
        for (const end = time + count; time < end; time++) insertFact(log, rowOf(Float64Array.of(time, time, 1, 1)))
        const writes = createStepWrites()
        takeWrite(log, 'hot', writes)
        takeWrite(logOfRows([Float64Array.of(time, time, 1, 1)]), `other ${time}`, writes)
        await task.apply({ from: task.position, to: String(time), writes })
      }
    }
    const reload = async (task: TaskStore) => decodeLog((await task.load(['hot']))[0]!, layout)
    const timesOf = ({ rows, width, start, end }: EntityLog) =>
      Array.from({ length: end - start }, (_, index) => rows[(start + index) * width]!)
    const first = await connected(server.url)
    const task = await first.claim('customer', 0, '7:1', identity)
    await fold(task, await reload(task), [max - 10, 5])
    const before = server.writtenBytes()
    await fold(task, await reload(task), [20])
    const torn = before + Math.floor((server.writtenBytes() - before) * part)
    await first.close()

    await server.dieAt(torn)
    server.start()
    const second = await connected(server.url)
    const again = await second.claim('customer', 0, '7:2', identity)
    expect(again.position).toBe(String(max - 5))
    time = max - 5
    // In other batches than before: the tail is appended to first, and sealed later.
    await fold(again, await reload(again), [3, 40])
    await second.close()

    await server.dieAt(server.writtenBytes())
    server.start()
    const third = await connected(server.url)
    onTestFinished(() => third.close())
    const last = await third.claim('customer', 0, '7:3', identity)
    const log = await reload(last)
    expect(timesOf(log)).toEqual(Array.from({ length: max + 38 }, (_, index) => index))
    await fold(last, log, [max, 7])
    expect(timesOf(await reload(last))).toEqual(Array.from({ length: 2 * max + 45 }, (_, index) => index))
  },
)

test('what a Redis evicted is missed at the next opening, and the state begins with nothing', async () => {
  const server = await ownServer()
  const store = await connected(server.url)
  onTestFinished(() => store.close())
  const task = await store.claim('customer', 0, '7:1', identity)
  const text = 'x'.repeat(20_000)
  for (let step = 0; step < 50; step++) {
    const writes = writesOf(...Array.from({ length: 10 }, (_, index) => set(`k${step * 10 + index}`, text)))
    await task.apply({ from: task.position, to: `p${step}`, writes })
  }
  const admin = new Redis(server.url)
  onTestFinished(() => admin.disconnect())
  const used = Number(/used_memory:(\d+)/.exec(await admin.info('memory'))![1])
  await admin.config('SET', 'maxmemory-policy', 'volatile-lru')
  // Only what may expire is evicted: a log.
  await admin.expire('{card-fraud.customer.0}:log:k7', 3_600)
  await admin.config('SET', 'maxmemory', String(used - 10_000))
  await expect.poll(() => admin.exists('{card-fraud.customer.0}:log:k7').catch(() => 0), { timeout: 10_000 }).toBe(0)
  await admin.config('SET', 'maxmemory', '0')
  await admin.config('SET', 'maxmemory-policy', 'noeviction')
  const counting = await createRedisStore({ url: server.url, pipeline: 'card-fraud', namespace: '', countAfterMs: 0 })
  onTestFinished(() => counting.close())
  const next = await counting.claim('customer', 0, '7:2', identity)
  const loaded = () =>
    next.load(['k1']).then(
      () => 'fine',
      (error: Error) => error.message,
    )
  await expect.poll(loaded, { timeout: 10_000 }).toContain('is damaged: 1 of 500 stored logs and chunks are gone.')
  expect((await counting.claim('customer', 0, '7:3', identity)).position).toBeNull()
})
