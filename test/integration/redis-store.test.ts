import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from 'vitest'
import { createRedisStore } from '../../feature-store/redis/store.ts'
import { identityText } from '../../feature-store/store-failures.ts'
import { featureStoreSuite } from '../conformance/feature-store.ts'
import { append, plainHeader, remove, set, textOf, writesOf } from '../support/stored-logs.ts'

const pipeline = 'card-fraud'
const identity = { clusterId: 'kafka-1', stateFingerprint: 'f00d', partitions: 4 }
const url = inject('redisUrl')
let admin: Redis

beforeAll(() => {
  admin = new Redis(url)
})
afterAll(() => admin.quit())

function uniqueNamespace(): string {
  return `test-${randomUUID()}.`
}

async function keysOf(namespace: string): Promise<string[]> {
  const keys: string[] = []
  for await (const page of admin.scanStream({ match: `*${namespace}*`, count: 1_000 })) keys.push(...(page as string[]))
  return keys
}

async function empty(namespace: string): Promise<void> {
  const keys = await keysOf(namespace)
  if (keys.length > 0) await admin.del(...keys)
}

featureStoreSuite('Redis', async () => {
  const namespace = uniqueNamespace()
  const store = await createRedisStore({ url, pipeline, namespace })
  let remembered: Array<[string, Buffer]> = []
  return {
    store,
    remember: async () => {
      const keys = await keysOf(namespace)
      const values = await admin.mgetBuffer(...keys)
      remembered = keys.map((key, index) => [key, values[index]!])
    },
    loseTail: async () => {
      await empty(namespace)
      for (const [key, value] of remembered) await admin.set(key, value)
    },
    resize: async (entity, partition, name, bytes) => {
      const key = `{${namespace}${pipeline}.${entity}.${partition}}:${name}`
      const resized = Buffer.alloc(bytes)
      ;(await admin.getBuffer(key))!.copy(resized)
      if (bytes === 0) await admin.del(key)
      else await admin.set(key, resized)
    },
    empty: () => empty(namespace),
    close: async () => {
      await store.close()
      await empty(namespace)
    },
  }
})

/** A server between the store and Redis that can stop passing on what is sent, what is answered, or both. */
async function startProxy() {
  const { hostname, port } = new URL(url)
  const state = { requests: true, answers: true }
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(Number(port || 6379), hostname)
    sockets.add(client).add(upstream)
    client.on('data', (chunk) => {
      if (state.requests) upstream.write(chunk)
    })
    upstream.on('data', (chunk) => {
      if (state.answers) client.write(chunk)
    })
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      socket.on('error', () => other.destroy())
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = new URL(url)
  address.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  const stop = async () => {
    cut()
    if (server.listening) await new Promise((resolve) => server.close(resolve))
  }
  onTestFinished(stop)
  return { url: address.href, state, cut, stop }
}

describe('Redis store', () => {
  async function openStore(options: { url?: string; timeoutMs?: number } = {}) {
    const namespace = uniqueNamespace()
    const store = await createRedisStore({ url, pipeline, namespace, ...options })
    onTestFinished(async () => {
      await store.close().catch((error: unknown) => expect(error).toMatchObject({ code: 'redis_unreachable' }))
      await empty(namespace)
    })
    return { store, namespace, tag: `{${namespace}${pipeline}.customer.0}` }
  }

  it('writes the keys that the layout names, and nothing else', async () => {
    const { store, namespace, tag } = await openStore()
    const task = await store.claim('customer', 0, '7:1', identity)
    await task.apply({ from: null, to: 'p1', writes: writesOf(set('c-1', 'facts')) })
    expect((await keysOf(namespace)).sort()).toEqual([
      `${tag}:identity`,
      `${tag}:log:c-1`,
      `${tag}:owner`,
      `${tag}:position`,
    ])
    expect(await admin.mget(`${tag}:owner`, `${tag}:position`, `${tag}:log:c-1`, `${tag}:identity`)).toEqual([
      '7:1',
      // One log, and the position.
      '1 p1',
      `${plainHeader}facts`,
      '{"clusterId":"kafka-1","stateFingerprint":"f00d","partitions":4,"layout":2}',
    ])
  })

  it('continues when the server has forgotten its scripts', async () => {
    const { store } = await openStore()
    const task = await store.claim('customer', 0, '7:1', identity)
    await task.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one')) })
    await admin.script('FLUSH')
    const applied = task.apply({ from: 'p1', to: 'p2', writes: writesOf(append('a', '+', 'one')) })
    expect((await task.load(['a'])).map(textOf)).toEqual(['one+'])
    await applied
  })

  it('finishes a deletion that a crash cut short, before anything is folded on top', async () => {
    const { store, tag } = await openStore()
    const task = await store.claim('customer', 0, '7:1', identity)
    await task.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one'), set('b', 'two')) })
    // What the first step of a deletion leaves when no other follows.
    await admin.set(`${tag}:identity`, 'clearing')
    await admin.del(`${tag}:position`)
    const next = await store.claim('customer', 0, '7:2', identity)
    expect(next.position).toBeNull()
    expect(await next.load(['a', 'b'])).toEqual([null, null])
    expect(await admin.get(`${tag}:identity`)).toBe(identityText(identity))
  })

  it('rejects a position without an identity: its owner is unknown', async () => {
    const { store, tag } = await openStore()
    const task = await store.claim('customer', 0, '7:1', identity)
    await task.apply({ from: null, to: 'p1', writes: writesOf() })
    await admin.del(`${tag}:identity`)
    await expect(store.claim('customer', 0, '7:2', identity)).rejects.toMatchObject({ code: 'state_foreign' })
    expect(await admin.get(`${tag}:owner`)).toBe('7:1')
  })

  it('checks every part of a load of more keys than fit in one command', async () => {
    const { store, tag } = await openStore()
    const task = await store.claim('customer', 0, '7:1', identity)
    await task.apply({ from: null, to: 'p1', writes: writesOf(set('k0', 'x'), set('k1200', 'y')) })
    const keys = Array.from({ length: 1_300 }, (_, index) => `k${index}`)
    const logs = await task.load(keys)
    expect(logs.length).toBe(1_300)
    expect([logs[0]!, logs[1]!, logs[1_200]!].map(textOf)).toEqual(['x', null, 'y'])
    await admin.set(`${tag}:position`, 'p0')
    await expect(task.load(keys)).rejects.toMatchObject({ code: 'state_lost' })
  })

  it('writes nothing of a step for which there is no memory', async () => {
    const { store, namespace, tag } = await openStore()
    const task = await store.claim('customer', 0, '7:1', identity)
    await task.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one'), set('b', 'two')) })
    const [, before] = (await admin.config('GET', 'maxmemory')) as [string, string]
    await admin.config('SET', 'maxmemory', '1')
    try {
      const writes = writesOf(append('a', '+', 'one'), remove('b'))
      await expect(task.apply({ from: 'p1', to: 'p2', writes })).rejects.toMatchObject({
        code: 'redis_request_failed',
        message: expect.stringContaining('OOM'),
      })
    } finally {
      await admin.config('SET', 'maxmemory', before)
    }
    expect(await admin.mget(`${tag}:position`, `${tag}:log:a`, `${tag}:log:b`)).toEqual([
      '2 p1',
      `${plainHeader}one`,
      `${plainHeader}two`,
    ])
    expect(await keysOf(namespace)).toHaveLength(5)
  })

  it('rejects a server that may evict keys', async () => {
    await admin.config('SET', 'maxmemory-policy', 'allkeys-lru')
    try {
      await expect(createRedisStore({ url, pipeline, namespace: uniqueNamespace() })).rejects.toMatchObject({
        code: 'redis_eviction',
        message: `Redis at ${new URL(url).host} has maxmemory-policy allkeys-lru, expected noeviction: features could vanish unseen.`,
      })
    } finally {
      await admin.config('SET', 'maxmemory-policy', 'noeviction')
    }
  })

  it('reports what is wrong with the address, and does not show a password', async () => {
    await expect(createRedisStore({ url: 'localhost:6379', pipeline, namespace: '' })).rejects.toMatchObject({
      code: 'config_invalid',
    })
    const refused = createRedisStore({ url: 'redis://me:secret@127.0.0.1:1', pipeline, namespace: '', timeoutMs: 500 })
    await expect(refused).rejects.toMatchObject({
      code: 'redis_unreachable',
      message: 'No answer to connect from Redis at 127.0.0.1:1 (limit 500 ms): connect ECONNREFUSED 127.0.0.1:1',
    })
  })

  it('does not wait forever for a server that accepts and does not answer', async () => {
    const silent = createServer((socket) => socket.on('error', () => socket.destroy()))
    silent.listen(0, '127.0.0.1')
    await once(silent, 'listening')
    onTestFinished(() => void silent.close())
    const { port } = silent.address() as AddressInfo
    const startedAt = performance.now()
    await expect(
      createRedisStore({ url: `redis://127.0.0.1:${port}`, pipeline, namespace: '', timeoutMs: 300 }),
    ).rejects.toMatchObject({ code: 'redis_unreachable' })
    expect(performance.now() - startedAt).toBeLessThan(3_000)
  })

  it('fails within its bound when Redis goes silent, and recognises the step whose reply was lost', async () => {
    const proxy = await startProxy()
    const { store } = await openStore({ url: proxy.url, timeoutMs: 300 })
    const task = await store.claim('customer', 0, '7:1', identity)
    const step = { from: null, to: 'p1', writes: writesOf(set('a', 'one')) }
    proxy.state.answers = false
    const startedAt = performance.now()
    await expect(task.apply(step)).rejects.toMatchObject({ code: 'redis_unreachable', retry: true })
    expect(performance.now() - startedAt).toBeLessThan(3_000)
    proxy.state.answers = true
    await expect
      .poll(
        () =>
          store.ping().then(
            () => 'up',
            (error: Error) => error.message,
          ),
        { timeout: 5_000 },
      )
      .toBe('up')
    await task.apply(step)
    expect(task.position).toBe('p1')
    expect((await task.load(['a'])).map(textOf)).toEqual(['one'])
  })

  it('fails at once when the connection breaks, sends nothing again by itself, and comes back', async () => {
    const proxy = await startProxy()
    const { store, tag } = await openStore({ url: proxy.url, timeoutMs: 2_000 })
    const task = await store.claim('customer', 0, '7:1', identity)
    await task.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one')) })
    proxy.state.requests = false
    const step = { from: 'p1', to: 'p2', writes: writesOf(append('a', '+two', 'one')) }
    const expected = expect(task.apply(step)).rejects.toMatchObject({ code: 'redis_unreachable' })
    proxy.cut()
    await expected
    proxy.state.requests = true
    await expect
      .poll(
        () =>
          store.ping().then(
            () => 'up',
            () => 'down',
          ),
        { timeout: 5_000 },
      )
      .toBe('up')
    expect(await admin.get(`${tag}:position`)).toBe('1 p1')
    await task.apply(step)
    expect((await task.load(['a'])).map(textOf)).toEqual(['one+two'])
  })

  it('fails every call while Redis is away', async () => {
    const proxy = await startProxy()
    const { store } = await openStore({ url: proxy.url, timeoutMs: 300 })
    const task = await store.claim('customer', 0, '7:1', identity)
    await proxy.stop()
    for (const call of [() => task.load(['a']), () => store.ping(), () => store.read('customer', 0, ['a'])]) {
      await expect(call()).rejects.toMatchObject({ code: 'redis_unreachable' })
    }
  })

  it('can be closed twice, and answers nothing afterwards', async () => {
    const store = await createRedisStore({ url, pipeline, namespace: uniqueNamespace() })
    await Promise.all([store.close(), store.close()])
    await expect(store.ping()).rejects.toMatchObject({ code: 'redis_unreachable' })
  })
})
