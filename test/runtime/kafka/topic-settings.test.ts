/** Settings of topics from answers that a real cluster seldom gives: unknown for a moment, rejected, kept secret. */
import { expect, test } from 'vitest'
import { createByteReader } from '../../../runtime/kafka/byte-reader.ts'
import { createByteWriter } from '../../../runtime/kafka/byte-writer.ts'
import { topicSettings } from '../../../runtime/kafka/topic-settings.ts'
import { scriptedConnections } from './scripted-connections.ts'

const codes = { NONE: 0, UNKNOWN_TOPIC_OR_PARTITION: 3, TOPIC_AUTHORIZATION_FAILED: 29 }

function answerOf(error: keyof typeof codes, reason: string | null, settings: ReadonlyArray<[string, string | null]>) {
  const writer = createByteWriter()
  writer.int32(0)
  writer.array(['t'], (topic) => {
    writer.int16(codes[error])
    writer.string(reason)
    writer.int8(2)
    writer.string(topic)
    writer.array(settings, ([name, value]) => {
      writer.string(name)
      writer.string(value)
      for (const flag of [0, 5, 0]) writer.int8(flag)
      writer.array([['log.retention.ms', null] as const], ([synonym, of]) => {
        writer.string(synonym)
        writer.string(of)
        writer.int8(5)
      })
    })
  })
  return Buffer.from(writer.bytes())
}

/** Gives the answers one after the other, the last one again and again, and records the requests. */
function answering(...answers: Buffer[]) {
  const asked: unknown[] = []
  const connections = scriptedConnections({
    leaders: new Map(),
    lookups: 0,
    answer(_, api, body) {
      const reader = createByteReader(body)
      const resources = reader.array(() => [reader.int8(), reader.text(), reader.array(() => reader.text())])
      asked.push([api, resources, reader.int8(), reader.remaining()])
      return answers.length > 1 ? answers.shift()! : answers[0]!
    },
  })
  return { connections, asked }
}

const unknown = answerOf('UNKNOWN_TOPIC_OR_PARTITION', null, [])

test('a topic that a broker does not know yet is requested again', async () => {
  const { connections, asked } = answering(unknown, answerOf('NONE', null, [['retention.ms', '-1']]))
  expect(await topicSettings(connections, ['t', 't'], ['retention.ms'])).toEqual(
    new Map([['t', new Map([['retention.ms', '-1']])]]),
  )
  const once = ['DescribeConfigs', [[2, 't', ['retention.ms']]], 0, 0]
  expect(asked).toEqual([once, once])
})

test('a topic that stays unknown is missing', async () => {
  const { connections, asked } = answering(unknown)
  await expect(topicSettings(connections, ['t'], ['retention.ms'])).rejects.toMatchObject({
    code: 'topic_missing',
    message: 'Kafka has no topic t',
    details: { topic: 't' },
  })
  expect(asked.length).toBeGreaterThan(1)
})

test('an error is reported with the reason that the broker gives and the right that is missing', async () => {
  const { connections, asked } = answering(answerOf('TOPIC_AUTHORIZATION_FAILED', 'Topic authorization failed.', []))
  await expect(topicSettings(connections, ['t'], ['retention.ms'])).rejects.toMatchObject({
    code: 'kafka_refused',
    message:
      'Kafka does not return the settings of topic t: Topic authorization failed (the right DescribeConfigs is missing)',
    details: { topic: 't', error: 'TOPIC_AUTHORIZATION_FAILED' },
  })
  expect(asked.length).toBe(1)
})

test('what the broker hides and what was not requested is left out', async () => {
  const { connections } = answering(
    answerOf('NONE', null, [
      ['secret', null],
      ['cleanup.policy', 'delete'],
      ['retention.ms', '604800000'],
    ]),
  )
  expect(await topicSettings(connections, ['t'], ['secret', 'retention.ms'])).toEqual(
    new Map([['t', new Map([['retention.ms', '604800000']])]]),
  )
})
