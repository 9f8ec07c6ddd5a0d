/**
 * What every feature store must do, on any backend: a suite that the memory store and the Redis store both run.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { stateDifference } from '../../feature-store/state-difference.ts'
import {
  type FeatureStore,
  type LogWrite,
  type StateIdentity,
  storeKeysMax,
  type TaskStore,
} from '../../feature-store/store.ts'
import { fingerprintOf } from '../../schemas/plan/fingerprint.ts'
import type { StateShape } from '../../schemas/plan/plan.ts'

/** A store under test and what a test does to it from outside. */
export interface StoreUnderTest {
  readonly store: FeatureStore
  /** Remembers what is stored, for `loseTail`. */
  remember(): Promise<void>
  /** Brings the task back to what was remembered, which was `steps` applied steps ago. */
  loseTail(entity: string, partition: number, steps: number): Promise<void>
  /** Forgets everything. */
  empty(): Promise<void>
  close(): Promise<void>
}

const identity: StateIdentity = { clusterId: 'kafka-1', stateFingerprint: 'f00d', partitions: 4 }
const entity = 'customer'

/** Of a definition that keeps the facts of one stream. */
function shapeOf(retentionMs: number): StateShape {
  const layout = { width: 2, knownColumn: null, sources: [{ stream: 0, atField: 'at', values: [] }] }
  return {
    name: 'shop',
    streams: [{ name: 'orders', idField: 'id', keyField: 'customer', timeField: 'at' }],
    stages: [{ name: entity, keys: [[0, 'customer']], layout, retentionMs }],
  }
}

function append(key: string, text: string): LogWrite {
  return { key, kind: 'append', bytes: Buffer.from(text) }
}

function replace(key: string, text: string): LogWrite {
  return { key, kind: 'replace', bytes: Buffer.from(text) }
}

function remove(key: string): LogWrite {
  return { key, kind: 'remove', bytes: Buffer.alloc(0) }
}

async function textsOf(task: TaskStore, keys: readonly string[]): Promise<Array<string | null>> {
  return (await task.load(keys)).map((bytes) => bytes?.toString() ?? null)
}

export function featureStoreSuite(name: string, createStore: () => Promise<StoreUnderTest>): void {
  describe(`feature store: ${name}`, () => {
    let subject: StoreUnderTest
    const claim = (owner = 'owner-1', partition = 0) => subject.store.claim(entity, partition, owner, identity)

    beforeEach(async () => {
      subject = await createStore()
    })
    afterEach(() => subject.close())

    it('answers', async () => {
      await expect(subject.store.ping()).resolves.toBeUndefined()
    })

    it('holds nothing at first', async () => {
      const task = await claim()
      expect(task.position).toBeNull()
      expect(await textsOf(task, ['a', 'b'])).toEqual([null, null])
      expect(await task.load([])).toEqual([])
      expect(await subject.store.read(entity, 0, ['a'])).toEqual({ position: null, logs: [null] })
    })

    it('appends, replaces and removes', async () => {
      const task = await claim()
      await task.apply({
        from: null,
        to: 'p1',
        writes: [append('a', 'one'), append('b', 'two'), replace('c', 'three')],
      })
      expect(task.position).toBe('p1')
      expect(await textsOf(task, ['a', 'b', 'c', 'd'])).toEqual(['one', 'two', 'three', null])
      await task.apply({
        from: 'p1',
        to: 'p2',
        writes: [append('a', '+'), replace('b', 'new'), remove('c'), remove('d')],
      })
      expect(await textsOf(task, ['a', 'b', 'c', 'd'])).toEqual(['one+', 'new', null, null])
      await task.apply({ from: 'p2', to: 'p3', writes: [append('c', 'again'), append('b', '!')] })
      expect(await textsOf(task, ['c', 'b'])).toEqual(['again', 'new!'])
      await task.apply({ from: 'p3', to: 'p4', writes: [] })
      expect(task.position).toBe('p4')
    })

    it('keeps any bytes', async () => {
      const bytes = Buffer.from(Array.from({ length: 512 }, (_, index) => index % 256))
      const task = await claim()
      await task.apply({ from: null, to: 'p1', writes: [{ key: 'ключ:{x} *', kind: 'append', bytes }] })
      expect(await task.load(['ключ:{x} *'])).toEqual([bytes])
    })

    it('keeps large logs, also next to small ones, and appends to them', async () => {
      const large = Buffer.alloc(2_000_000, 'facts ')
      const task = await claim()
      await task.apply({ from: null, to: 'p1', writes: [{ key: 'a', kind: 'append', bytes: large }, append('b', 'x')] })
      await task.apply({ from: 'p1', to: 'p2', writes: [append('a', 'more')] })
      const [a, b] = await task.load(['a', 'b'])
      expect(a!.equals(Buffer.concat([large, Buffer.from('more')]))).toBe(true)
      expect(b).toEqual(Buffer.from('x'))
    })

    it('shares no memory with its callers', async () => {
      const bytes = Buffer.from('abc')
      const task = await claim()
      await task.apply({ from: null, to: 'p1', writes: [{ key: 'a', kind: 'append', bytes }] })
      bytes.fill(0)
      const [loaded] = await task.load(['a'])
      loaded!.fill(0)
      expect(await textsOf(task, ['a'])).toEqual(['abc'])
    })

    it('lets queries read logs with the position of the logs', async () => {
      const task = await claim()
      await task.apply({ from: null, to: 'p1', writes: [append('a', 'one')] })
      const { position, logs } = await subject.store.read(entity, 0, ['b', 'a', 'a'])
      expect(position).toBe('p1')
      expect(logs.map((log) => log?.toString() ?? null)).toEqual([null, 'one', 'one'])
    })

    it('lets any process inspect a task without taking it over', async () => {
      expect(await subject.store.inspect(entity, 0)).toEqual({ owner: null, position: null, identity: null })
      const task = await claim()
      expect(await subject.store.inspect(entity, 0)).toEqual({ owner: 'owner-1', position: null, identity })
      await task.apply({ from: null, to: 'p1', writes: [append('a', 'one')] })
      expect(await subject.store.inspect(entity, 0)).toEqual({ owner: 'owner-1', position: 'p1', identity })
      expect(await subject.store.inspect(entity, 1)).toEqual({ owner: null, position: null, identity: null })
      // Its owner continues, and so does the next.
      await task.apply({ from: 'p1', to: 'p2', writes: [append('a', '+')] })
      expect(await textsOf(await claim('owner-2'), ['a'])).toEqual(['one+'])
      expect(await subject.store.inspect(entity, 0)).toEqual({ owner: 'owner-2', position: 'p2', identity })
    })

    it('keeps tasks apart', async () => {
      const first = await claim('owner-1', 0)
      const second = await claim('owner-2', 1)
      await first.apply({ from: null, to: 'p1', writes: [append('a', 'one')] })
      expect(second.position).toBeNull()
      expect(await textsOf(second, ['a'])).toEqual([null])
      await second.apply({ from: null, to: 'q1', writes: [append('a', 'two')] })
      expect(await textsOf(first, ['a'])).toEqual(['one'])
    })

    it('hands over position and logs to the next owner', async () => {
      const first = await claim('owner-1')
      await first.apply({ from: null, to: 'p1', writes: [append('a', 'one')] })
      const second = await claim('owner-2')
      expect(second.position).toBe('p1')
      expect(await textsOf(second, ['a'])).toEqual(['one'])
    })

    it('rejects a former owner: apply and load', async () => {
      const zombie = await claim('owner-1')
      await zombie.apply({ from: null, to: 'p1', writes: [append('a', 'one')] })
      const owner = await claim('owner-2')
      const refused = { code: 'fenced', message: 'Task customer/0 was taken over by owner-2; owner-1 is refused.' }
      await expect(zombie.load(['a'])).rejects.toMatchObject(refused)
      await expect(zombie.apply({ from: 'p1', to: 'p2', writes: [append('a', 'bad')] })).rejects.toMatchObject(refused)
      expect(owner.position).toBe('p1')
      expect(await textsOf(owner, ['a'])).toEqual(['one'])
    })

    it('rejects a former owner whose step the new owner has applied by itself', async () => {
      const zombie = await claim('owner-1')
      const step = { from: null, to: 'p1', writes: [append('a', 'one')] }
      const owner = await claim('owner-2')
      await owner.apply(step)
      await expect(zombie.apply(step)).rejects.toMatchObject({ code: 'fenced' })
    })

    it('rejects a gap: a step from another position than that of the store', async () => {
      const task = await claim()
      await task.apply({ from: null, to: 'p1', writes: [append('a', 'one')] })
      await expect(task.apply({ from: 'p2', to: 'p3', writes: [append('a', 'three')] })).rejects.toMatchObject({
        code: 'state_lost',
        message: 'The store is at p1 for task customer/0, expected position p2: drop the local state and claim again.',
      })
      expect(task.position).toBe('p1')
      await expect(task.load(['a'])).rejects.toMatchObject({ code: 'state_lost' })
      expect(await textsOf(await claim(), ['a'])).toEqual(['one'])
    })

    it('rejects a first step where there is state, and a later one where there is none', async () => {
      const task = await claim()
      await expect(task.apply({ from: 'p1', to: 'p2', writes: [] })).rejects.toMatchObject({ code: 'state_lost' })
      await task.apply({ from: null, to: 'p1', writes: [] })
      await expect(task.apply({ from: null, to: 'p2', writes: [] })).rejects.toMatchObject({ code: 'state_lost' })
    })

    it('takes a step applied again, after a lost reply, as done and does not apply it twice', async () => {
      const task = await claim()
      const step = { from: null, to: 'p1', writes: [append('a', 'one')] }
      await task.apply(step)
      await task.apply(step)
      expect(task.position).toBe('p1')
      expect(await textsOf(task, ['a'])).toEqual(['one'])
      const next = { from: 'p1', to: 'p2', writes: [append('a', '+two')] }
      await task.apply(next)
      await task.apply(next)
      expect(await textsOf(task, ['a'])).toEqual(['one+two'])
      await expect(task.apply(step)).rejects.toMatchObject({ code: 'state_lost' })
    })

    it('answers calls in the order in which they were made, without waiting in between', async () => {
      const task = await claim()
      const calls = []
      for (let step = 0; step < 50; step++) {
        const from = step === 0 ? null : `p${step}`
        calls.push(task.apply({ from, to: `p${step + 1}`, writes: [append('a', `${step},`)] }))
        calls.push(textsOf(task, ['a']))
      }
      const answers = await Promise.all(calls)
      expect(task.position).toBe('p50')
      const upTo = (step: number) => Array.from({ length: step + 1 }, (_, index) => `${index},`).join('')
      expect(answers.filter((answer) => answer !== undefined)).toEqual(
        Array.from({ length: 50 }, (_, step) => [upTo(step)]),
      )
    })

    it('sees that its tail was lost', async () => {
      const task = await claim()
      await task.apply({ from: null, to: 'p1', writes: [append('a', 'one'), append('b', 'keep')] })
      await subject.remember()
      await task.apply({ from: 'p1', to: 'p2', writes: [append('a', '+two'), append('c', 'new'), remove('b')] })
      await task.apply({ from: 'p2', to: 'p3', writes: [replace('a', 'three')] })
      await subject.loseTail(entity, 0, 2)
      await expect(task.load(['a'])).rejects.toMatchObject({ code: 'state_lost' })
      await expect(task.apply({ from: 'p3', to: 'p4', writes: [append('a', 'x')] })).rejects.toMatchObject({
        code: 'state_lost',
      })
      const again = await claim()
      expect(again.position).toBe('p1')
      expect(await textsOf(again, ['a', 'b', 'c'])).toEqual(['one', 'keep', null])
    })

    it('sees that it was emptied', async () => {
      const task = await claim()
      await task.apply({ from: null, to: 'p1', writes: [append('a', 'one')] })
      await subject.empty()
      const lost = {
        code: 'state_lost',
        message:
          'The store holds no owner token any more for task customer/0, expected position p1: drop the local state and claim again.',
      }
      await expect(task.load(['a'])).rejects.toMatchObject(lost)
      await expect(task.apply({ from: 'p1', to: 'p2', writes: [append('a', 'x')] })).rejects.toMatchObject(lost)
      const again = await claim()
      expect(again.position).toBeNull()
      expect(await textsOf(again, ['a'])).toEqual([null])
    })

    it('sees that it was emptied before anything was applied', async () => {
      const task = await claim()
      await subject.empty()
      await expect(task.load(['a'])).rejects.toMatchObject({ code: 'state_lost' })
      await expect(task.apply({ from: null, to: 'p1', writes: [] })).rejects.toMatchObject({ code: 'state_lost' })
    })

    it('takes as many writes as allowed in one step, not one more, and loads any number', async () => {
      const task = await claim()
      const keys = Array.from({ length: storeKeysMax + 1 }, (_, index) => `k${index}`)
      const writes = keys.map((key) => append(key, key))
      await expect(task.apply({ from: null, to: 'p1', writes })).rejects.toThrow(
        'a step has at most 500 writes, not 501',
      )
      await task.apply({ from: null, to: 'p1', writes: writes.slice(0, storeKeysMax) })
      await task.apply({ from: 'p1', to: 'p2', writes: writes.slice(storeKeysMax) })
      expect(await textsOf(task, keys)).toEqual(keys)
    })

    it('rejects steps that could not be distinguished or applied', async () => {
      const task = await claim()
      const steps = [
        { step: { from: 'p1', to: 'p1', writes: [] }, message: 'a step must lead to another position than p1' },
        { step: { from: null, to: '', writes: [] }, message: 'a position is never empty text' },
        { step: { from: null, to: 'p1', writes: [append('a', 'x'), remove('a')] }, message: 'a step writes a twice' },
        { step: { from: null, to: 'p1', writes: [append('a', '')] }, message: 'a step writes nothing to a' },
      ]
      for (const { step, message } of steps) await expect(task.apply(step)).rejects.toThrow(message)
      expect(await subject.store.read(entity, 0, ['a'])).toEqual({ position: null, logs: [null] })
    })

    it('rejects state of another definition, cluster or partition count, and leaves its owner in force', async () => {
      const task = await claim('owner-1')
      await task.apply({ from: null, to: 'p1', writes: [append('a', 'one')] })
      for (const other of [{ clusterId: 'kafka-2' }, { stateFingerprint: 'beef' }, { partitions: 8 }]) {
        const wanted = { ...identity, ...other }
        await expect(subject.store.claim(entity, 0, 'owner-2', wanted)).rejects.toMatchObject({
          code: 'state_foreign',
          message:
            `The stored state of task customer/0 belongs to ${JSON.stringify(identity)}, expected ${JSON.stringify(wanted)}: ` +
            `${stateDifference(identity, wanted)}. ` +
            'Start with the definition and cluster it belongs to, with another namespace, or with --rebuild.',
        })
      }
      expect(await textsOf(task, ['a'])).toEqual(['one'])
    })

    it('says what another definition has otherwise, of state whose last owner stored its shape', async () => {
      const [hourly, daily] = [shapeOf(3_600_000), shapeOf(86_400_000)]
      const of = (shape: StateShape) => ({ ...identity, stateFingerprint: fingerprintOf(shape), shape })
      const { shape: _, ...withoutShape } = of(hourly)
      const refusal = () => subject.store.claim(entity, 0, 'owner-9', of(daily)).catch((error: Error) => error.message)
      const words = 'entity customer: retention was 1h, is 1d'
      const former = await subject.store.claim(entity, 0, 'owner-1', withoutShape)
      await former.apply({ from: null, to: 'p1', writes: [append('a', 'one')] })
      expect(await refusal()).toContain(': its streams, keys, the columns of its facts or their retention are others. ')
      expect((await subject.store.inspect(entity, 0)).identity).toEqual(withoutShape)
      // The same state, taken over by a version that stores it.
      expect((await subject.store.claim(entity, 0, 'owner-2', of(hourly))).position).toBe('p1')
      expect(await refusal()).toContain(`: ${words}. Start with `)
      expect((await subject.store.inspect(entity, 0)).identity).toEqual(of(hourly))
      // A version that stores none leaves the shape of another state behind, which is not taken for its own.
      const other = { ...identity, stateFingerprint: 'beef' }
      await subject.store.claim(entity, 0, 'owner-3', other, { rebuild: true })
      expect((await subject.store.inspect(entity, 0)).identity).toEqual(other)
      await subject.store.claim(entity, 0, 'owner-4', of(hourly), { rebuild: true })
      expect(await refusal()).toContain(`: ${words}. `)
    })

    it('rebuilds a task, its own only, and continues from nothing', async () => {
      const former = await claim('owner-1', 0)
      const other = await claim('owner-1', 1)
      await other.apply({ from: null, to: 'q1', writes: [append('a', 'other')] })
      const keys = Array.from({ length: storeKeysMax }, (_, index) => `k${index}`)
      await former.apply({ from: null, to: 'p1', writes: keys.map((key) => append(key, key)) })
      const task = await subject.store.claim(entity, 0, 'owner-2', identity, { rebuild: true })
      expect(task.position).toBeNull()
      expect(await textsOf(task, keys)).toEqual(keys.map(() => null))
      expect(await textsOf(other, ['a'])).toEqual(['other'])
      await task.apply({ from: null, to: 'p1', writes: [append('k1', 'new')] })
      expect(await textsOf(task, ['k0', 'k1'])).toEqual([null, 'new'])
      await expect(subject.store.claim(entity, 0, 'x', { ...identity, partitions: 5 })).rejects.toMatchObject({
        code: 'state_foreign',
      })
    })

    it('rebuilds: takes over foreign state and starts with nothing of it', async () => {
      const former = await claim('owner-1')
      await former.apply({ from: null, to: 'p1', writes: [append('a', 'one')] })
      const wanted = { ...identity, stateFingerprint: 'beef' }
      const task = await subject.store.claim(entity, 0, 'owner-2', wanted, { rebuild: true })
      expect(task.position).toBeNull()
      expect(await textsOf(task, ['a'])).toEqual([null])
      await expect(former.load(['a'])).rejects.toMatchObject({ code: 'fenced' })
      await expect(claim('owner-3')).rejects.toMatchObject({ code: 'state_foreign' })
      await task.apply({ from: null, to: 'p1', writes: [append('a', 'new')] })
      expect((await subject.store.claim(entity, 0, 'owner-4', wanted)).position).toBe('p1')
    })
  })
}
