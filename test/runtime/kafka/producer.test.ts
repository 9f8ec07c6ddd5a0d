import { describe, expect, test } from 'vitest'
import type { OutRecord } from '../../../runtime/broker.ts'
import type { KafkaError } from '../../../runtime/kafka/error-codes.ts'
import { createProducer } from '../../../runtime/kafka/producer.ts'
import {
  produceAnswer,
  producerIdAnswer,
  readProduce,
  type Script,
  scriptedConnections,
  silence,
} from './scripted-connections.ts'

function record(partition: number, bytes = 1): OutRecord {
  return { topic: 't', partition, key: null, value: Buffer.alloc(bytes) }
}

/** Brokers that reject as `reject` says, by node, partition and how many requests there were before. */
function scripted(
  refuse: (nodeId: number, partition: number, request: number) => KafkaError | 'SILENCE' | null,
  retryBudgetMs?: number,
) {
  const seen: string[] = []
  let requests = 0
  let producerId = 40
  const script: Script = {
    leaders: new Map([
      [0, 1],
      [1, 2],
      [2, 1],
    ]),
    lookups: 0,
    answer(nodeId, api, body) {
      if (api === 'InitProducerId') return producerIdAnswer(producerId++)
      const request = requests++
      const batches = readProduce(body)
      for (const { partition, producerId: id, baseSequence, count } of batches) {
        seen.push(`node ${nodeId}: partition ${partition}, ${id}/${baseSequence}+${count}`)
      }
      const outcomes = batches.map(({ partition }) => ({
        partition,
        error: refuse(nodeId, partition, request) ?? ('NONE' as const),
      }))
      if (outcomes.some(({ error }) => error === 'SILENCE')) throw silence()
      return produceAnswer(outcomes as Array<{ partition: number; error: KafkaError }>)
    },
  }
  return { producer: createProducer(scriptedConnections(script, retryBudgetMs), () => 0), script, seen }
}

describe('the producer', () => {
  test('sends each leader one request for all its partitions and continues the sequence numbers', async () => {
    const { producer, seen } = scripted(() => null)
    await producer.send([record(0), record(1), record(0), record(2)])
    await producer.send([record(0)])
    expect(seen).toEqual([
      'node 1: partition 0, 40/0+2',
      'node 1: partition 2, 40/0+1',
      'node 2: partition 1, 40/0+1',
      'node 1: partition 0, 40/2+1',
    ])
  })

  test('resends what was rejected for a transient reason, under the same numbers, to the new leader', async () => {
    const { producer, script, seen } = scripted((nodeId, partition) =>
      nodeId === 1 && partition === 2 ? 'NOT_LEADER_OR_FOLLOWER' : null,
    )
    await producer.send([record(0)])
    script.leaders.set(2, 2)
    await producer.send([record(0), record(2)])
    expect(script.lookups).toBe(2)
    expect(seen.slice(1)).toEqual([
      'node 1: partition 0, 40/1+1',
      'node 1: partition 2, 40/0+1',
      'node 2: partition 2, 40/0+1',
    ])
  })

  test('sends again what was not answered; the broker knows it by its numbers', async () => {
    const { producer, seen } = scripted((_, __, request) =>
      request === 0 ? 'SILENCE' : request === 1 ? 'DUPLICATE_SEQUENCE_NUMBER' : null,
    )
    await producer.send([record(0)])
    expect(seen).toEqual(['node 1: partition 0, 40/0+1', 'node 1: partition 0, 40/0+1'])
  })

  test('sends nothing of a partition past what was rejected', async () => {
    // Large records take their time on a busy machine.
    const refuse = (_: number, __: number, request: number) => (request === 0 ? 'NOT_ENOUGH_REPLICAS' : null)
    const { producer, seen } = scripted(refuse, 10_000)
    await producer.send([record(0, 900_000), record(0, 900_001), record(2)])
    expect(seen).toEqual([
      'node 1: partition 0, 40/0+1',
      'node 1: partition 2, 40/0+1',
      'node 1: partition 0, 40/0+1',
      'node 1: partition 2, 40/0+1',
      'node 1: partition 0, 40/1+1',
    ])
  })

  test('makes a fresh start where the log has lost count', async () => {
    const { producer, seen } = scripted((_, __, request) => (request === 1 ? 'OUT_OF_ORDER_SEQUENCE_NUMBER' : null))
    await producer.send([record(0), record(0)])
    await producer.send([record(0)])
    expect(seen).toEqual(['node 1: partition 0, 40/0+2', 'node 1: partition 0, 40/2+1', 'node 1: partition 0, 41/0+1'])
  })

  test('gives up in the end, rejects only who was not served, and starts again for the next', async () => {
    const { producer, seen } = scripted((nodeId, _, request) =>
      nodeId === 2 && request < 50 ? 'NOT_ENOUGH_REPLICAS' : null,
    )
    const first = producer.send([record(0)])
    const served = producer.send([record(0)])
    const refused = producer.send([record(0), record(1)])
    const outcomes = await Promise.allSettled([first, served, refused])
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected'])
    expect((outcomes[2] as PromiseRejectedResult).reason).toMatchObject({
      code: 'kafka_request_failed',
      message: 'Kafka refused 1 records to t, partition 1: NOT_ENOUGH_REPLICAS',
    })
    const before = seen.length
    await producer.send([record(0)])
    expect(seen.slice(before)).toEqual(['node 1: partition 0, 41/0+1'])
  })

  test('reports that no broker answered', async () => {
    const { producer } = scripted(() => 'SILENCE')
    await expect(producer.send([record(0)])).rejects.toMatchObject({
      code: 'kafka_unreachable',
      message: 'No broker confirmed 1 records to t, partition 0',
    })
  })

  test('does not repeat what will never pass', async () => {
    const { producer, seen } = scripted(() => 'TOPIC_AUTHORIZATION_FAILED')
    await expect(producer.send([record(0)])).rejects.toMatchObject({ code: 'kafka_refused' })
    expect(seen.length).toBe(1)
  })

  test('delivers what was handed in before it closes, and takes no more', async () => {
    const { producer, seen } = scripted(() => null)
    const sending = producer.send([record(0)])
    await producer.close()
    await sending
    expect(seen.length).toBe(1)
    await expect(producer.send([record(0)])).rejects.toMatchObject({ code: 'kafka_unreachable' })
  })
})
