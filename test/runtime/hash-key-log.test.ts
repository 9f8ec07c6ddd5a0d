/** The key of hashes in the topic of schemas: the first that was written is that of every process, for ever. */
import { describe, expect, test } from 'vitest'
import { agreeOnHashKey, readHashKey } from '../../runtime/hash-key-log.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { createSchemaAwareBroker } from '../../runtime/schema-aware-broker.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { hashKeyEntry } from '../../schemas/wire/hash-key-record.ts'
import { createVirtualClock } from '../../testing/virtual-clock.ts'
import { clicksPipeline } from '../support/clicks.ts'

const plan = compile(clicksPipeline())
const { topic } = plan.schemas
const keyOf = (byte: number) => new Uint8Array(16).fill(byte)

async function openBroker() {
  const broker = createMemoryBroker({ clock: createVirtualClock(0) })
  await broker.admin.ensureTopics([{ topic, partitions: 1, config: {} }])
  /** As every process opens it: its schemas lie in the same topic. */
  const { data } = createSchemaAwareBroker(broker, { schemas: compile(clicksPipeline()).schemas, registry: null })
  const append = async (value: string) => {
    const producer = await broker.data.producer()
    await producer.send([{ topic, partition: 0, key: Buffer.from('any'), value: Buffer.from(value) }])
  }
  return { broker, data, append }
}

describe('the key of hashes', () => {
  test('is none before the first process, that of the first from then on', async () => {
    const { data } = await openBroker()
    expect(await readHashKey(data, topic)).toBeNull()
    expect(await agreeOnHashKey(data, topic, keyOf(1))).toEqual(keyOf(1))
    expect(await agreeOnHashKey(data, topic, keyOf(2))).toEqual(keyOf(1))
    expect(await readHashKey(data, topic)).toEqual(keyOf(1))
  })

  test('is one for processes that start together, whoever wrote first', async () => {
    const { broker, data } = await openBroker()
    // Everybody has read before anybody writes.
    let readers = 0
    let release: () => void = () => undefined
    const haveAllRead = new Promise<void>((resolve) => {
      release = resolve
    })
    const held: typeof data = {
      ...data,
      async producer() {
        if (++readers === 5) release()
        await haveAllRead
        return data.producer()
      },
    }
    const found = await Promise.all([5, 4, 3, 2, 1].map((byte) => agreeOnHashKey(held, topic, keyOf(byte))))
    expect(new Set(found.map(String)).size).toBe(1)
    const fetcher = await broker.data.fetcher()
    const [all] = await fetcher.fetch([{ topic, partition: 0, offset: 0 }], { maxWaitMs: 0, partitionBytesMax: 1e6 })
    const keys = Array.from({ length: all!.records.length }, (_, i) => String(all!.records.at(i).key))
    expect(keys.filter((key) => key.startsWith('hash-key-')).length).toBe(5)
    expect(await agreeOnHashKey(data, topic, keyOf(9))).toEqual(found[0])
  })

  test('does not disturb who reads schemas or definitions', async () => {
    const { broker, data } = await openBroker()
    await agreeOnHashKey(data, topic, keyOf(1))
    const again = createSchemaAwareBroker(broker, { schemas: compile(clicksPipeline()).schemas, registry: null })
    await expect(again.data.producer()).resolves.toBeDefined()
  })

  test('that is damaged is named with its place', async () => {
    const { data, append } = await openBroker()
    await append('{"$hashKey":"0"}')
    await expect(readHashKey(data, topic)).rejects.toMatchObject({
      code: 'record_unreadable',
      message:
        `The record at ${topic} partition 0 offset 0 is no schema, definition or key of hashes in JSON: ` +
        '$hashKey without 16 bytes in hexadecimal.',
    })
  })

  test('has a record key of its own for each candidate, so that compaction keeps the first', () => {
    expect(hashKeyEntry(keyOf(1))[0]).not.toBe(hashKeyEntry(keyOf(2))[0])
  })
})
