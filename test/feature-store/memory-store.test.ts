import { describe, expect, it } from 'vitest'
import { createMemoryStore } from '../../feature-store/memory-store.ts'
import { featureStoreSuite } from '../conformance/feature-store.ts'
import { append, set, textOf, writesOf } from '../support/stored-logs.ts'

featureStoreSuite('memory', async () => {
  const store = createMemoryStore()
  return {
    store,
    remember: async () => undefined,
    loseTail: async (entity, partition, steps) => store.loseTail(entity, partition, steps),
    resize: async (entity, partition, name, bytes) => store.resize(entity, partition, name, bytes),
    empty: async () => store.empty(),
    close: () => store.close(),
  }
})

describe('memory store', () => {
  const identity = { clusterId: 'kafka-1', stateFingerprint: 'f00d', partitions: 4 }

  it('loses step after step, back to nothing', async () => {
    const store = createMemoryStore()
    const task = await store.claim('customer', 0, 'owner', identity)
    for (const [from, to, write] of [
      [null, 'p1', set('a', 'one')],
      ['p1', 'p2', append('a', 'two', 'one')],
      ['p2', 'p3', append('a', 'three', 'onetwo')],
    ] as const) {
      await task.apply({ from, to, writes: writesOf(write) })
    }
    store.loseTail('customer', 0, 1)
    const { position, logs } = await store.read('customer', 0, ['a'])
    expect([position, ...logs.map(textOf)]).toEqual(['p2', 'onetwo'])
    store.loseTail('customer', 0, 2)
    expect(await store.read('customer', 0, ['a'])).toEqual({ position: null, logs: [null] })
    expect(() => store.loseTail('customer', 0, 1)).toThrow('only 0 steps of customer/0 can be lost')
  })

  it('brings back what was torn, before all that was written since', async () => {
    const store = createMemoryStore()
    const task = await store.claim('customer', 0, 'owner', identity)
    await task.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one '), set('b', 'one ')) })
    const more = writesOf(append('a', 'two ', 'one '), append('b', 'two ', 'one '), set('c', 'two '))
    const second = { from: 'p1', to: 'p2', writes: more }
    await task.apply(second)
    store.loseTail('customer', 0, 1, 1)
    expect((await store.read('customer', 0, ['a', 'b', 'c'])).logs.map(textOf)).toEqual(['one ', 'one ', null])
    const again = await store.claim('customer', 0, 'owner 2', identity)
    await again.apply(second)
    await again.apply({ from: 'p2', to: 'p3', writes: writesOf(append('a', 'three', 'one two ')) })
    store.loseTail('customer', 0, 0)
    const { position, logs } = await store.read('customer', 0, ['a', 'b', 'c'])
    expect([position, ...logs.map(textOf)]).toEqual(['p3', 'one two two three', 'one two ', 'two '])
  })

  it('keeps a bounded number of steps that can be lost', async () => {
    const store = createMemoryStore({ tailStepsMax: 2 })
    const task = await store.claim('customer', 0, 'owner', identity)
    for (let step = 0; step < 5; step++) {
      await task.apply({ from: step === 0 ? null : `p${step}`, to: `p${step + 1}`, writes: writesOf() })
    }
    expect(() => store.loseTail('customer', 0, 3)).toThrow('only 2 steps of customer/0 can be lost')
  })
})
