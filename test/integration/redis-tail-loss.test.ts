/** A real Redis that dies and comes back without its last writes: the errors of the store, where it continues, and what it reads. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { decodeLog } from '../../feature-store/entity-log.ts'
import { createRedisStore } from '../../feature-store/redis/store.ts'
import type { LogWrite } from '../../feature-store/store.ts'
import { freePort } from '../../runtime/servers/free-port.ts'
import { findRedisBinary } from '../../runtime/servers/redis-binary.ts'

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

function append(key: string, text: string): LogWrite {
  return { key, kind: 'append', bytes: Buffer.from(text) }
}

test.each([
  ['between two steps', 0],
  ['in the middle of one', 25],
])('the append-only file ends %s', async (_, bytesMore) => {
  const server = await ownServer()
  const store = await connected(server.url)
  onTestFinished(() => store.close())
  const task = await store.claim('customer', 0, '7:1', identity)
  await task.apply({ from: null, to: 'p1', writes: [append('a', 'one'), append('b', 'keep')] })
  const bytes = server.writtenBytes()
  const remove: LogWrite = { key: 'b', kind: 'remove', bytes: Buffer.alloc(0) }
  await task.apply({ from: 'p1', to: 'p2', writes: [append('a', '+two'), append('c', 'new'), remove] })
  await task.apply({ from: 'p2', to: 'p3', writes: [append('a', '+three')] })
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
  await expect(task.apply({ from: 'p3', to: 'p4', writes: [append('a', 'x')] })).rejects.toMatchObject({
    code: 'state_lost',
  })
  const again = await store.claim('customer', 0, '7:2', identity)
  expect(again.position).toBe('p1')
  expect((await again.load(['a', 'b', 'c'])).map((log) => log?.toString() ?? null)).toEqual(['one', 'keep', null])
})

test('a step that was torn comes half back with the second start, and counts once', async () => {
  const server = await ownServer()
  const store = await connected(server.url)
  const task = await store.claim('customer', 0, '7:1', identity)
  const layout = { width: 3, knownColumn: null, sources: [] }
  const fact = (time: number) => Buffer.from(Float64Array.of(time, time, time).buffer)
  const facts = (keys: readonly string[], time: number): LogWrite[] =>
    keys.map((key) => ({ key, kind: 'append', bytes: fact(time) }))
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
  expect(version.startsWith('7.0.') ? [4] : [3, 4]).toContain(stored[0]!.length / fact(0).length)
  const timesOf = (bytes: Buffer | null) => {
    const { rows, width, start, end } = decodeLog(bytes, layout)
    return Array.from({ length: end - start }, (_, index) => rows[(start + index) * width])
  }
  expect(stored.map(timesOf)).toEqual([[1, 2, 3], [1, 2], [2]])
})
