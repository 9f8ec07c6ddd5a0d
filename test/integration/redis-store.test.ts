import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from 'vitest'
import { dropBefore, insertFact, liveRows } from '../../feature-store/entity-log.ts'
import { createRedisStore } from '../../feature-store/redis/store.ts'
import { identityText } from '../../feature-store/store-failures.ts'
import { decodeLog, encodeLiveRows, tailBytesMax, takeWrite } from '../../feature-store/stored-log.ts'
import { featureStoreSuite } from '../conformance/feature-store.ts'
import { rowOf } from '../support/fact-rows.ts'
import { append, type PlainWrite, plainHeader, remove, set, textOf, writesOf } from '../support/stored-logs.ts'

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

  describe('with logs that others have changed', () => {
    const layout = { width: 4, knownColumn: null, sources: [] }
    const fact = Float64Array.of(0, 0, 0, 0)

    /** A hot entity `hot`, and as many others as steps may write. */
    async function openFilled(facts: number, others = 3) {
      const opened = await openStore()
      const task = await opened.store.claim('customer', 0, '7:1', identity)
      const log = decodeLog(null, layout)
      let steps = 0
      async function write(...more: PlainWrite[]) {
        const writes = writesOf(...more)
        takeWrite(log, 'hot', writes)
        await task.apply({ from: task.position, to: `p${steps++}`, writes })
      }
      function insert(from: number, to: number) {
        for (let time = from; time < to; time++) {
          fact.set([time, time])
          insertFact(log, rowOf(fact))
        }
      }
      insert(0, facts)
      await write(...Array.from({ length: others }, (_, index) => set(`k${index}`, 'x')))
      return { ...opened, task, log, write, insert }
    }
    const claimSoon = async (url: string, namespace: string, owner: string) => {
      const store = await createRedisStore({ url, pipeline, namespace, countAfterMs: 0 })
      onTestFinished(() => store.close())
      return store.claim('customer', 0, owner, identity)
    }
    const codeOf = (call: Promise<unknown>) =>
      call.then(
        () => 'fine',
        (error: { code?: string }) => error.code,
      )

    it.each([
      ['a tail', 'log:k1'],
      ['a chunk', 'chunk:1:hot'],
    ])('counts %s that was deleted while nobody owned it, and begins with nothing', async (_, name) => {
      const { namespace, tag } = await openFilled(2_500)
      await admin.del(`${tag}:${name}`)
      const task = await claimSoon(url, namespace, '7:2')
      await expect.poll(() => codeOf(task.load(['k0'])), { timeout: 10_000 }).toBe('state_lost')
      await expect(task.load(['k0'])).rejects.toThrow(/is damaged: 1 of \d+ stored logs and chunks are gone\./)
      const again = await claimSoon(url, namespace, '7:3')
      expect(again.position).toBeNull()
      expect(await again.load(['hot', 'k0', 'k1'])).toEqual([null, null, null])
      expect((await keysOf(namespace)).filter((key) => /:(?:log|chunk):/.test(key))).toEqual([])
    })

    it('counts while its owner writes, and finds nothing wrong', async () => {
      const { namespace, tag } = await openFilled(2_500, 400)
      await admin.set(`${tag}:chunk:77:hot`, 'left by a torn step')
      const task = await claimSoon(url, namespace, '7:2')
      for (let step = 0; step < 300; step++) {
        const more = [set(`new ${step}`, 'x'), ...(step > 0 ? [remove(`new ${step - 1}`)] : [])]
        await task.apply({ from: task.position, to: `q${step}`, writes: writesOf(...more) })
      }
      // What was left is counted from now on.
      const counted = async () => Number.parseInt((await admin.get(`${tag}:position`))!, 10)
      const found = async () => (await keysOf(namespace)).filter((key) => /:(?:log|chunk):/.test(key)).length
      await expect
        .poll(
          async () => {
            await task.apply({ from: task.position, to: `${task.position}+`, writes: writesOf() })
            return (await counted()) - (await found())
          },
          { timeout: 10_000 },
        )
        .toBe(0)
      expect(await codeOf(task.load(['k0']))).toBe('fine')
    })

    it('holds an entity with a million facts, and loads it in pieces', async () => {
      const { store, task, log, write, insert, tag } = await openFilled(1_000_000)
      for (let round = 0; round < 5; round++) {
        insert(1_000_000 + round * 300, 1_000_000 + (round + 1) * 300)
        await write()
      }
      const keys = (await keysOf(tag)).filter((key) => /:(?:log|chunk):/.test(key))
      expect(keys.length).toBeGreaterThan(900)
      expect(Math.max(...(await Promise.all(keys.map((key) => admin.strlen(key)))))).toBeLessThanOrEqual(tailBytesMax)
      const [stored] = await task.load(['hot'])
      expect(encodeLiveRows(decodeLog(stored!, layout)).equals(encodeLiveRows(log))).toBe(true)
      const { logs, position } = await store.read('customer', 0, ['hot'])
      expect([position, logs[0]!.length]).toEqual([task.position, stored!.length])
    })

    it('gives a query one consistent answer while chunks come and go', async () => {
      const { store, log, write, insert } = await openFilled(3_000)
      let isWriting = true
      const writing = (async () => {
        for (let time = 3_000; time < 60_000; time += 500) {
          insert(time, time + 500)
          dropBefore(log, time - 2_500)
          await write()
        }
        isWriting = false
      })()
      let reads = 0
      while (isWriting) {
        const { logs } = await store.read('customer', 0, ['hot'])
        const read = decodeLog(logs[0]!, layout)
        const newest = read.rows[(read.end - 1) * read.width]!
        expect((newest + 1) % 500).toBe(0)
        dropBefore(read, newest - 2_500)
        expect(liveRows(read)).toBe(2_501)
        reads++
      }
      await writing
      expect(reads).toBeGreaterThan(5)
    })

    it('answers no query with a log that is not whole', async () => {
      const { store, tag } = await openFilled(2_500)
      await admin.del(`${tag}:chunk:0:hot`)
      await expect(store.read('customer', 0, ['hot'])).rejects.toMatchObject({ code: 'state_lost' })
      expect((await store.read('customer', 0, ['k0'])).logs.map(textOf)).toEqual(['x'])
    })

    it('marks state that lost a log behind its owner, for the next owner', async () => {
      const { task, tag } = await openFilled(0)
      await admin.del(`${tag}:log:k2`)
      await expect(
        task.apply({ from: task.position, to: 'next', writes: writesOf(append('k2', 'y', 'x')) }),
      ).rejects.toMatchObject({ code: 'state_lost' })
      expect(await admin.mget(`${tag}:identity`, `${tag}:position`)).toEqual(['clearing', null])
    })
  })

  it('refuses state of the layout before, and deletes it with --rebuild', async () => {
    const { store, namespace, tag } = await openStore()
    const before = '{"clusterId":"kafka-1","stateFingerprint":"f00d","partitions":4}'
    const rows = Buffer.from(new Float64Array(4).buffer)
    await admin.mset(`${tag}:owner`, '7:1', `${tag}:identity`, before, `${tag}:position`, 'p1', `${tag}:log:a`, rows)
    await expect(store.claim('customer', 0, '7:2', identity)).rejects.toMatchObject({
      code: 'state_foreign',
      message: expect.stringMatching(/it is stored in layout 1, and this version stores 2\..* or with --rebuild\.$/),
    })
    const task = await store.claim('customer', 0, '7:2', identity, { rebuild: true })
    expect([task.position, await task.load(['a'])]).toEqual([null, [null]])
    expect((await keysOf(namespace)).sort()).toEqual([`${tag}:identity`, `${tag}:owner`])
  })

  it('reads command bytes as any client sends them', async () => {
    const { store, tag } = await openStore()
    const task = await store.claim('customer', 0, '7:1', identity)
    const keys = ['', 'a b', '"', '\r\n$5\r\n', 'ключ', '😀', 'x'.repeat(5_000), '1:hot', ':', '{a}*?[b]']
    const values = keys.map((_, index) => Buffer.from(Array.from({ length: index * 70 + 1 }, (_, at) => at % 256)))
    await task.apply({
      from: null,
      to: 'p\n1',
      writes: writesOf(...keys.map((key, index) => set(key, values[index]!))),
    })
    expect(await task.load(keys)).toEqual(values.map((value) => [Buffer.concat([plainHeader, value])]))
    expect(await Promise.all(keys.map((key) => admin.exists(`${tag}:log:${key}`)))).toEqual(keys.map(() => 1))
  })

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
