import { expect, test } from 'vitest'
import { readSpans, wholeLog } from '../../runtime/read-log.ts'
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
