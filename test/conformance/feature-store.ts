/**
 * What every feature store must do, on any backend: a suite that the memory store and the Redis store both run.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { dropBefore, type EntityLog, insertFact } from '../../feature-store/entity-log.ts'
import { stateDifference } from '../../feature-store/state-difference.ts'
import { createStepWrites } from '../../feature-store/step-writes.ts'
import { type FeatureStore, type StateIdentity, storeKeysMax, type TaskStore } from '../../feature-store/store.ts'
import { identityText } from '../../feature-store/store-failures.ts'
import { decodeLog, tailBytesMax, tailRowsMaxOf, takeWrite } from '../../feature-store/stored-log.ts'
import { fingerprintOf } from '../../schemas/plan/fingerprint.ts'
import type { StateShape } from '../../schemas/plan/plan.ts'
import { rowOf } from '../support/fact-rows.ts'
import { append, logOfRows, plainHeader, remove, set, textOf, writesOf } from '../support/stored-logs.ts'

/** A store under test and what a test does to it from outside. */
export interface StoreUnderTest {
  readonly store: FeatureStore
  /** Remembers what is stored, for `loseTail`. */
  remember(): Promise<void>
  /** Brings the task back to what was remembered, which was `steps` applied steps ago. */
  loseTail(entity: string, partition: number, steps: number): Promise<void>
  /** Leaves so many bytes of the tail `log:<key>` or `chunk:<number>:<key>`, nothing where they are 0; adds zeros where there are fewer. */
  resize(entity: string, partition: number, name: string, bytes: number): Promise<void>
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

async function textsOf(task: TaskStore, keys: readonly string[]): Promise<Array<string | null>> {
  return (await task.load(keys)).map(textOf)
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
        writes: writesOf(set('a', 'one'), set('b', 'two'), set('c', 'three')),
      })
      expect(task.position).toBe('p1')
      expect(await textsOf(task, ['a', 'b', 'c', 'd'])).toEqual(['one', 'two', 'three', null])
      await task.apply({
        from: 'p1',
        to: 'p2',
        writes: writesOf(append('a', '+', 'one'), set('b', 'new'), remove('c'), remove('d')),
      })
      expect(await textsOf(task, ['a', 'b', 'c', 'd'])).toEqual(['one+', 'new', null, null])
      await task.apply({ from: 'p2', to: 'p3', writes: writesOf(set('c', 'again'), append('b', '!', 'new')) })
      expect(await textsOf(task, ['c', 'b'])).toEqual(['again', 'new!'])
      await task.apply({ from: 'p3', to: 'p4', writes: writesOf() })
      expect(task.position).toBe('p4')
    })

    it('keeps any bytes', async () => {
      const bytes = Buffer.from(Array.from({ length: 512 }, (_, index) => index % 256))
      const task = await claim()
      await task.apply({ from: null, to: 'p1', writes: writesOf(set('ключ:{x} *', bytes)) })
      expect(await task.load(['ключ:{x} *'])).toEqual([[Buffer.concat([plainHeader, bytes])]])
    })

    it('keeps large logs, also next to small ones, and appends to them', async () => {
      const large = Buffer.alloc(2_000_000, 'facts ')
      const task = await claim()
      await task.apply({ from: null, to: 'p1', writes: writesOf(set('a', large), set('b', 'x')) })
      await task.apply({ from: 'p1', to: 'p2', writes: writesOf(append('a', 'more', large)) })
      const [a, b] = await task.load(['a', 'b'])
      expect(textOf(a!)).toBe(`${large.toString()}more`)
      expect(textOf(b!)).toBe('x')
    })

    it('shares no memory with its callers', async () => {
      const writes = writesOf(set('a', 'abc'))
      const task = await claim()
      const applied = task.apply({ from: null, to: 'p1', writes })
      writes.bytes.fill(0)
      await applied
      const [loaded] = await task.load(['a'])
      loaded![0]!.fill(0)
      expect(await textsOf(task, ['a'])).toEqual(['abc'])
    })

    it('lets queries read logs with the position of the logs', async () => {
      const task = await claim()
      await task.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one')) })
      const { position, logs } = await subject.store.read(entity, 0, ['b', 'a', 'a'])
      expect(position).toBe('p1')
      expect(logs.map(textOf)).toEqual([null, 'one', 'one'])
    })

    it('lets any process inspect a task without taking it over', async () => {
      expect(await subject.store.inspect(entity, 0)).toEqual({ owner: null, position: null, identity: null })
      const task = await claim()
      expect(await subject.store.inspect(entity, 0)).toEqual({ owner: 'owner-1', position: null, identity })
      await task.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one')) })
      expect(await subject.store.inspect(entity, 0)).toEqual({ owner: 'owner-1', position: 'p1', identity })
      expect(await subject.store.inspect(entity, 1)).toEqual({ owner: null, position: null, identity: null })
      // Its owner continues, and so does the next.
      await task.apply({ from: 'p1', to: 'p2', writes: writesOf(append('a', '+', 'one')) })
      expect(await textsOf(await claim('owner-2'), ['a'])).toEqual(['one+'])
      expect(await subject.store.inspect(entity, 0)).toEqual({ owner: 'owner-2', position: 'p2', identity })
    })

    it('keeps tasks apart', async () => {
      const first = await claim('owner-1', 0)
      const second = await claim('owner-2', 1)
      await first.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one')) })
      expect(second.position).toBeNull()
      expect(await textsOf(second, ['a'])).toEqual([null])
      await second.apply({ from: null, to: 'q1', writes: writesOf(set('a', 'two')) })
      expect(await textsOf(first, ['a'])).toEqual(['one'])
    })

    it('hands over position and logs to the next owner', async () => {
      const first = await claim('owner-1')
      await first.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one')) })
      const second = await claim('owner-2')
      expect(second.position).toBe('p1')
      expect(await textsOf(second, ['a'])).toEqual(['one'])
    })

    it('rejects a former owner: apply and load', async () => {
      const zombie = await claim('owner-1')
      await zombie.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one')) })
      const owner = await claim('owner-2')
      const refused = { code: 'fenced', message: 'Task customer/0 was taken over by owner-2; owner-1 is refused.' }
      await expect(zombie.load(['a'])).rejects.toMatchObject(refused)
      await expect(
        zombie.apply({ from: 'p1', to: 'p2', writes: writesOf(append('a', 'bad', 'one')) }),
      ).rejects.toMatchObject(refused)
      expect(owner.position).toBe('p1')
      expect(await textsOf(owner, ['a'])).toEqual(['one'])
    })

    it('rejects a former owner whose step the new owner has applied by itself', async () => {
      const zombie = await claim('owner-1')
      const step = { from: null, to: 'p1', writes: writesOf(set('a', 'one')) }
      const owner = await claim('owner-2')
      await owner.apply(step)
      await expect(zombie.apply(step)).rejects.toMatchObject({ code: 'fenced' })
    })

    it('rejects a gap: a step from another position than that of the store', async () => {
      const task = await claim()
      await task.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one')) })
      await expect(
        task.apply({ from: 'p2', to: 'p3', writes: writesOf(append('a', 'three', 'one')) }),
      ).rejects.toMatchObject({
        code: 'state_lost',
        message: 'The store is at p1 for task customer/0, expected position p2: drop the local state and claim again.',
      })
      expect(task.position).toBe('p1')
      await expect(task.load(['a'])).rejects.toMatchObject({ code: 'state_lost' })
      expect(await textsOf(await claim(), ['a'])).toEqual(['one'])
    })

    it('rejects a first step where there is state, and a later one where there is none', async () => {
      const task = await claim()
      await expect(task.apply({ from: 'p1', to: 'p2', writes: writesOf() })).rejects.toMatchObject({
        code: 'state_lost',
      })
      await task.apply({ from: null, to: 'p1', writes: writesOf() })
      await expect(task.apply({ from: null, to: 'p2', writes: writesOf() })).rejects.toMatchObject({
        code: 'state_lost',
      })
    })

    it('takes a step applied again, after a lost reply, as done and does not apply it twice', async () => {
      const task = await claim()
      const step = { from: null, to: 'p1', writes: writesOf(set('a', 'one')) }
      await task.apply(step)
      await task.apply(step)
      expect(task.position).toBe('p1')
      expect(await textsOf(task, ['a'])).toEqual(['one'])
      const next = { from: 'p1', to: 'p2', writes: writesOf(append('a', '+two', 'one')) }
      await task.apply(next)
      await task.apply(next)
      expect(await textsOf(task, ['a'])).toEqual(['one+two'])
      await expect(task.apply(step)).rejects.toMatchObject({ code: 'state_lost' })
    })

    it('answers calls in the order in which they were made, without waiting in between', async () => {
      const upTo = (step: number) => Array.from({ length: step + 1 }, (_, index) => `${index},`).join('')
      const task = await claim()
      const calls = []
      for (let step = 0; step < 50; step++) {
        const from = step === 0 ? null : `p${step}`
        const text = step === 0 ? set('a', '0,') : append('a', `${step},`, upTo(step - 1))
        calls.push(task.apply({ from, to: `p${step + 1}`, writes: writesOf(text) }))
        calls.push(textsOf(task, ['a']))
      }
      const answers = await Promise.all(calls)
      expect(task.position).toBe('p50')
      expect(answers.filter((answer) => answer !== undefined)).toEqual(
        Array.from({ length: 50 }, (_, step) => [upTo(step)]),
      )
    })

    it('sees that its tail was lost', async () => {
      const task = await claim()
      await task.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one'), set('b', 'keep')) })
      await subject.remember()
      await task.apply({
        from: 'p1',
        to: 'p2',
        writes: writesOf(append('a', '+two', 'one'), set('c', 'new'), remove('b')),
      })
      await task.apply({ from: 'p2', to: 'p3', writes: writesOf(set('a', 'three')) })
      await subject.loseTail(entity, 0, 2)
      await expect(task.load(['a'])).rejects.toMatchObject({ code: 'state_lost' })
      await expect(
        task.apply({ from: 'p3', to: 'p4', writes: writesOf(append('a', 'x', 'one')) }),
      ).rejects.toMatchObject({
        code: 'state_lost',
      })
      const again = await claim()
      expect(again.position).toBe('p1')
      expect(await textsOf(again, ['a', 'b', 'c'])).toEqual(['one', 'keep', null])
    })

    describe('a hot entity', () => {
      const layout = { width: 4, knownColumn: null, sources: [] }
      const rowsMax = tailRowsMaxOf(layout.width)

      /** A log that is fed, dropped from and written as in the batch loop. */
      async function openHot(partition = 0, owner = 'owner-1') {
        const task = await claim(owner, partition)
        const log = decodeLog((await task.load(['hot:1']))[0]!, layout)
        let steps = 0
        async function write(...others: readonly EntityLog[]) {
          const writes = createStepWrites()
          takeWrite(log, 'hot:1', writes)
          others.forEach((other, index) => {
            takeWrite(other, `other ${index}`, writes)
          })
          await task.apply({ from: task.position, to: `${owner} ${steps++}`, writes })
        }
        function insert(count: number, from: number) {
          for (let time = from; time < from + count; time++)
            insertFact(log, rowOf(Float64Array.of(time, time, time, -time)))
        }
        return { task, log, write, insert }
      }
      const timesOf = ({ rows, width, start, end }: EntityLog) =>
        Array.from({ length: end - start }, (_, index) => rows[(start + index) * width]!)
      const span = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index)

      it('lies in chunks and a tail, of bounded size, and is read whole', async () => {
        const { task, write, insert } = await openHot()
        for (let time = 0; time < 5 * rowsMax; time += 700) {
          insert(700, time)
          await write(logOfRows([Float64Array.of(time, time, 1, 1)]))
        }
        const rows = Math.ceil((5 * rowsMax) / 700) * 700
        const [hot] = await task.load(['hot:1', 'hot'])
        expect(hot!.length).toBeGreaterThan(4)
        for (const piece of hot!) expect(piece.length).toBeLessThanOrEqual(tailBytesMax)
        expect(timesOf(decodeLog(hot!, layout))).toEqual(span(0, rows))
        const read = await subject.store.read(entity, 0, ['other 0', 'hot:1', '1:hot'])
        expect(read.logs.map((log) => log?.length ?? null)).toEqual([1, hot!.length, null])
        expect(read.logs[1]).toEqual(hot)
        const again = await openHot(0, 'owner-2')
        expect(timesOf(again.log)).toEqual(span(0, rows))
      })

      it('is written at once where it comes at once, and forgets chunks whose rows are dead', async () => {
        const { task, log, write, insert } = await openHot()
        insert(4 * rowsMax + 3, 0)
        await write()
        expect((await task.load(['hot:1']))[0]!.length).toBe(5)
        const newest = 4 * rowsMax + 3
        dropBefore(log, 3 * rowsMax)
        // Its tail is full in between, and chunks go as it is sealed.
        insert(rowsMax, newest)
        await write()
        insert(1, newest + rowsMax)
        await write()
        const stored = (await task.load(['hot:1']))[0]!
        expect(stored.length).toBeLessThanOrEqual(4)
        const reloaded = decodeLog(stored, layout)
        dropBefore(reloaded, 3 * rowsMax)
        expect(timesOf(reloaded)).toEqual(span(3 * rowsMax, newest + rowsMax + 1))
        dropBefore(log, newest + rowsMax)
        await write()
        expect((await task.load(['hot:1']))[0]!.length).toBe(1)
        dropBefore(log, newest + 2 * rowsMax)
        await write()
        await write()
        expect(await task.load(['hot:1'])).toEqual([null])
      })

      it.each([
        ['a chunk that is gone', 'chunk:1:hot:1', 0],
        ['a chunk that was cut', 'chunk:1:hot:1', 24 + 32 * 5],
        ['a tail without its header', 'log:hot:1', 10],
      ])('is not taken for whole: %s', async (_, name, bytes) => {
        const { write, insert } = await openHot()
        insert(3 * rowsMax + 1, 0)
        await write()
        await subject.resize(entity, 0, name, bytes)
        const next = await claim('owner-2')
        await expect(next.load(['hot:1'])).rejects.toMatchObject({
          code: 'state_lost',
          message: expect.stringContaining('The stored state of task customer/0 is damaged: '),
        })
        const last = await claim('owner-3')
        expect(last.position).toBeNull()
        expect(await last.load(['hot:1'])).toEqual([null])
      })
    })

    it.each([
      ['is gone', 0],
      ['was cut', plainHeader.length + 2],
    ])('sees that a tail %s behind its owner, whose state then begins with nothing', async (_, bytes) => {
      const task = await claim()
      await task.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one'), set('b', 'keep')) })
      await subject.resize(entity, 0, 'log:a', bytes)
      const next = { from: 'p1', to: 'p2', writes: writesOf(append('b', '+', 'keep'), append('a', 'two', 'one')) }
      const found = bytes === 0 ? 3 : bytes + 3
      await expect(task.apply(next)).rejects.toMatchObject({
        code: 'state_lost',
        message: expect.stringContaining(`a tail has ${found} bytes of ${plainHeader.length + 6}.`),
      })
      await expect(task.load(['b'])).rejects.toMatchObject({ code: 'state_lost' })
      expect((await subject.store.inspect(entity, 0)).identity).toBe('clearing')
      const again = await claim()
      expect(again.position).toBeNull()
      expect(await textsOf(again, ['a', 'b'])).toEqual([null, null])
      await again.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one')) })
      expect(await textsOf(again, ['a'])).toEqual(['one'])
    })

    it('lets the owner reload a tail that is longer than it knows', async () => {
      const task = await claim()
      await task.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one')) })
      await subject.resize(entity, 0, 'log:a', plainHeader.length + 5)
      await expect(
        task.apply({ from: 'p1', to: 'p2', writes: writesOf(append('a', 'two', 'one')) }),
      ).rejects.toMatchObject({ code: 'state_lost', message: expect.stringContaining('drop the local state') })
      const again = await claim('owner-2')
      expect(again.position).toBe('p2')
      expect(await textsOf(again, ['a'])).toEqual(['one\0\0two'])
    })

    it('sees that it was emptied', async () => {
      const task = await claim()
      await task.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one')) })
      await subject.empty()
      const lost = {
        code: 'state_lost',
        message:
          'The store holds no owner token any more for task customer/0, expected position p1: drop the local state and claim again.',
      }
      await expect(task.load(['a'])).rejects.toMatchObject(lost)
      await expect(
        task.apply({ from: 'p1', to: 'p2', writes: writesOf(append('a', 'x', 'one')) }),
      ).rejects.toMatchObject(lost)
      const again = await claim()
      expect(again.position).toBeNull()
      expect(await textsOf(again, ['a'])).toEqual([null])
    })

    it('sees that it was emptied before anything was applied', async () => {
      const task = await claim()
      await subject.empty()
      await expect(task.load(['a'])).rejects.toMatchObject({ code: 'state_lost' })
      await expect(task.apply({ from: null, to: 'p1', writes: writesOf() })).rejects.toMatchObject({
        code: 'state_lost',
      })
    })

    it('takes as many writes as allowed in one step, not one more, and loads any number', async () => {
      const task = await claim()
      const keys = Array.from({ length: storeKeysMax + 1 }, (_, index) => `k${index}`)
      const writes = keys.map((key) => set(key, key))
      await expect(task.apply({ from: null, to: 'p1', writes: writesOf(...writes) })).rejects.toThrow(
        `a step writes at most ${storeKeysMax} logs, not ${storeKeysMax + 1}`,
      )
      await task.apply({ from: null, to: 'p1', writes: writesOf(...writes.slice(0, storeKeysMax)) })
      await task.apply({ from: 'p1', to: 'p2', writes: writesOf(...writes.slice(storeKeysMax)) })
      expect(await textsOf(task, keys)).toEqual(keys)
    })

    it('rejects steps that could not be distinguished or applied', async () => {
      const task = await claim()
      const steps = [
        { step: { from: 'p1', to: 'p1', writes: writesOf() }, message: 'a step must lead to another position than p1' },
        { step: { from: null, to: '', writes: writesOf() }, message: 'a position is never empty text' },
      ]
      for (const { step, message } of steps) await expect(task.apply(step)).rejects.toThrow(message)
      expect(await subject.store.read(entity, 0, ['a'])).toEqual({ position: null, logs: [null] })
    })

    it('rejects state of another definition, cluster or partition count, and leaves its owner in force', async () => {
      const task = await claim('owner-1')
      await task.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one')) })
      for (const other of [{ clusterId: 'kafka-2' }, { stateFingerprint: 'beef' }, { partitions: 8 }]) {
        const wanted = { ...identity, ...other }
        await expect(subject.store.claim(entity, 0, 'owner-2', wanted)).rejects.toMatchObject({
          code: 'state_foreign',
          message:
            `The stored state of task customer/0 belongs to ${identityText(identity)}, expected ${identityText(wanted)}: ` +
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
      await former.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one')) })
      expect(await refusal()).toContain(
        ': its streams, keys, the columns or the layout of its facts, or their retention are others. ',
      )
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
      await other.apply({ from: null, to: 'q1', writes: writesOf(set('a', 'other')) })
      const keys = Array.from({ length: storeKeysMax }, (_, index) => `k${index}`)
      await former.apply({ from: null, to: 'p1', writes: writesOf(...keys.map((key) => set(key, key))) })
      const task = await subject.store.claim(entity, 0, 'owner-2', identity, { rebuild: true })
      expect(task.position).toBeNull()
      expect(await textsOf(task, keys)).toEqual(keys.map(() => null))
      expect(await textsOf(other, ['a'])).toEqual(['other'])
      await task.apply({ from: null, to: 'p1', writes: writesOf(set('k1', 'new')) })
      expect(await textsOf(task, ['k0', 'k1'])).toEqual([null, 'new'])
      await expect(subject.store.claim(entity, 0, 'x', { ...identity, partitions: 5 })).rejects.toMatchObject({
        code: 'state_foreign',
      })
    })

    it('rebuilds: takes over foreign state and starts with nothing of it', async () => {
      const former = await claim('owner-1')
      await former.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'one')) })
      const wanted = { ...identity, stateFingerprint: 'beef' }
      const task = await subject.store.claim(entity, 0, 'owner-2', wanted, { rebuild: true })
      expect(task.position).toBeNull()
      expect(await textsOf(task, ['a'])).toEqual([null])
      await expect(former.load(['a'])).rejects.toMatchObject({ code: 'fenced' })
      await expect(claim('owner-3')).rejects.toMatchObject({ code: 'state_foreign' })
      await task.apply({ from: null, to: 'p1', writes: writesOf(set('a', 'new')) })
      expect((await subject.store.claim(entity, 0, 'owner-4', wanted)).position).toBe('p1')
    })
  })
}
