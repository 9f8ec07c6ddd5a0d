import { describe, expect, test } from 'vitest'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { readSpans, wholeLog } from '../../runtime/read-log.ts'
import { createVirtualClock } from '../../testing/virtual-clock.ts'
import { createLogFake } from '../online-model/log-fake.ts'

test('hands over every record between start and captured end, in order, and none that came later', async () => {
  const fake = createLogFake({ a: 2, b: 1 })
  for (let i = 0; i < 8; i++) fake.append('a', 0, Buffer.from(`a0-${i}`))
  fake.append('a', 1, Buffer.from('a1-0'))
  const spans = await wholeLog(fake.broker, ['a', 'b'])
  expect(spans).toEqual([
    { topic: 'a', partition: 0, from: 0, end: 8 },
    { topic: 'a', partition: 1, from: 0, end: 1 },
    { topic: 'b', partition: 0, from: 0, end: 0 },
  ])
  fake.append('a', 0, Buffer.from('later'))
  fake.append('b', 0, Buffer.from('later'))
  const taken: string[] = []
  const [first, ...others] = spans
  await readSpans(await fake.broker.fetcher(), [{ ...first!, from: 3 }, ...others], (record, from) => {
    taken.push(`${from.topic}/${from.partition}@${record.offset} ${record.value}`)
  })
  expect(taken.filter((line) => line.startsWith('a/0'))).toEqual([3, 4, 5, 6, 7].map((i) => `a/0@${i} a0-${i}`))
  expect(taken.filter((line) => !line.startsWith('a/0'))).toEqual(['a/1@0 a1-0'])
})

test('a topic that does not exist is named', async () => {
  const fake = createLogFake({ a: 1 })
  await expect(wholeLog(fake.broker, ['a', 'b'])).rejects.toMatchObject({
    code: 'topic_missing',
    message: 'Topic b does not exist.',
  })
})

describe('records that retention removes before they were read', () => {
  const topic = 'events'
  async function halfRead(isLossy: boolean, truncateTo: number) {
    const broker = createMemoryBroker({ clock: createVirtualClock(0) })
    await broker.admin.ensureTopics([{ topic, partitions: 2, config: {} }])
    const producer = await broker.data.producer()
    // Two of them are more than one fetch brings.
    const value = Buffer.alloc(900_000)
    for (let at = 0; at < 6; at++) await producer.send([{ topic, partition: 0, key: null, value }])
    await producer.send([{ topic, partition: 1, key: null, value }])
    const taken: number[] = []
    const take = ({ offset }: { offset: number }, from: { partition: number }) => {
      if (from.partition === 1) return
      taken.push(offset)
      if (offset === 1) broker.truncate(topic, 0, truncateTo)
    }
    await readSpans(await broker.data.fetcher(), await wholeLog(broker.data, [topic]), take, { isLossy })
    return taken
  }

  test('are passed over by a reader that can do without them', async () => {
    expect(await halfRead(true, 4)).toEqual([0, 1, 4, 5])
    expect(await halfRead(true, 6)).toEqual([0, 1])
  })

  test('end a reader that cannot', async () => {
    await expect(halfRead(false, 4)).rejects.toMatchObject({ code: 'log_truncated', details: { offset: 2, start: 4 } })
  })
})
