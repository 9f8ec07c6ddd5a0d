import { describe, expect, it } from 'vitest'
import { createMemoryStore } from '../../feature-store/memory-store.ts'
import { featureStoreSuite } from '../conformance/feature-store.ts'

featureStoreSuite('memory', async () => {
  const store = createMemoryStore()
  return {
    store,
    remember: async () => undefined,
    loseTail: async (entity, partition, steps) => store.loseTail(entity, partition, steps),
    empty: async () => store.empty(),
    close: () => store.close(),
  }
})

describe('memory store', () => {
  const identity = { clusterId: 'kafka-1', stateFingerprint: 'f00d', partitions: 4 }

  it('loses step after step, back to nothing', async () => {
    const store = createMemoryStore()
    const task = await store.claim('customer', 0, 'owner', identity)
    for (const [from, to, text] of [
      [null, 'p1', 'one'],
      ['p1', 'p2', 'two'],
      ['p2', 'p3', 'three'],
    ] as const) {
      await task.apply({ from, to, writes: [{ key: 'a', kind: 'append', bytes: Buffer.from(text) }] })
    }
    store.loseTail('customer', 0, 1)
    expect(await store.read('customer', 0, ['a'])).toEqual({ position: 'p2', logs: [Buffer.from('onetwo')] })
    store.loseTail('customer', 0, 2)
    expect(await store.read('customer', 0, ['a'])).toEqual({ position: null, logs: [null] })
    expect(() => store.loseTail('customer', 0, 1)).toThrow('only 0 steps of customer/0 can be lost')
  })

  it('brings back what was torn, before all that was written since', async () => {
    const store = createMemoryStore()
    const task = await store.claim('customer', 0, 'owner', identity)
    const append = (key: string, text: string) => ({ key, kind: 'append', bytes: Buffer.from(text) }) as const
    await task.apply({ from: null, to: 'p1', writes: [append('a', 'one '), append('b', 'one ')] })
    const second = { from: 'p1', to: 'p2', writes: [append('a', 'two '), append('b', 'two '), append('c', 'two ')] }
    await task.apply(second)
    store.loseTail('customer', 0, 1, 1)
    expect((await store.read('customer', 0, ['a', 'b', 'c'])).logs.map(String)).toEqual(['one ', 'one ', 'null'])
    const again = await store.claim('customer', 0, 'owner 2', identity)
    await again.apply(second)
    await again.apply({ from: 'p2', to: 'p3', writes: [append('a', 'three')] })
    store.loseTail('customer', 0, 0)
    const { position, logs } = await store.read('customer', 0, ['a', 'b', 'c'])
    expect([position, ...logs.map(String)]).toEqual(['p3', 'one two two three', 'one two ', 'two '])
  })

  it('keeps a bounded number of steps that can be lost', async () => {
    const store = createMemoryStore({ tailStepsMax: 2 })
    const task = await store.claim('customer', 0, 'owner', identity)
    for (let step = 0; step < 5; step++) {
      await task.apply({ from: step === 0 ? null : `p${step}`, to: `p${step + 1}`, writes: [] })
    }
    expect(() => store.loseTail('customer', 0, 3)).toThrow('only 2 steps of customer/0 can be lost')
  })
})
