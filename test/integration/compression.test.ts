/** Batches that real clients of other languages compressed, read by us. */
import { describe, expect, inject, onTestFinished, test } from 'vitest'
import { createKafkaBroker } from '../../runtime/kafka/broker.ts'
import { createConnections } from '../../runtime/kafka/connections.ts'
import { fetchRequest } from '../../runtime/kafka/fetch-request.ts'
import { readPartition, unique } from '../conformance/broker.ts'
import { type CompressionName, otherClients } from '../support/other-clients.ts'

const brokers = inject('kafkaBrokers')
const compressions: readonly CompressionName[] = ['gzip', 'snappy', 'lz4', 'zstd']
/** Enough for several blocks of every format. */
const lines = Array.from(
  { length: 3_000 },
  (_, i) => `key-${i % 7}|event ${i} of größe ${i * 7919}, and again ${i * 31}`,
)

const clients = otherClients()
for (const { name, write } of clients)
  if (!write) console.log(`LEFT OUT: compressed batches of ${name}: it is not installed.`)

describe.each(clients.filter(({ write }) => write !== null))('$name', ({ write }) => {
  test('writes batches that are read, in every compression', async () => {
    const broker = createKafkaBroker({ brokers: brokers.split(','), clientId: 'millrace-test' })
    onTestFinished(() => broker.close())
    const topics = compressions.map((compression) => ({ compression, topic: unique(compression) }))
    await broker.admin.ensureTopics(topics.map(({ topic }) => ({ topic, partitions: 1, config: {} })))
    await Promise.all(topics.map((to) => write!({ brokers, lines, ...to })))
    const fetcher = await broker.data.fetcher()
    for (const { compression, topic } of topics) {
      // A batch that compression would lengthen (one event, sent early) is sent uncompressed.
      const used = (await compressionsOf(topic)).filter((name) => name !== undefined)
      expect(new Set(used), compression).toEqual(new Set([compression]))
      const read = await readPartition(fetcher, { topic, partition: 0 }, lines.length)
      expect(read.map(({ key, value }) => `${key}|${value}`)).toEqual(lines)
    }
  })
})

/** From the attributes of the topic's batches: a client that did not compress would prove nothing. */
async function compressionsOf(topic: string): Promise<readonly (string | undefined)[]> {
  const connections = createConnections({
    brokers: brokers.split(','),
    clientId: 'millrace-test',
    log: () => undefined,
    connectTimeoutMs: 5_000,
    requestTimeoutMs: 10_000,
    retryBudgetMs: 30_000,
  })
  try {
    const position = { topic, partition: 0, offset: 0 }
    await connections.findLeaders([position])
    const request = fetchRequest([position], { maxWaitMs: 0, partitionBytesMax: 1 << 20 })
    const body = await connections.send(connections.leaderOf(position)!, {
      ...request,
      decode: (bytes) => ({ throttleMs: 0, answer: Buffer.from(bytes) }),
    })
    // Behind the fields of the answer, of its one topic and of its one partition, none of which is of variable length but the name.
    const found: (string | undefined)[] = []
    for (let start = 62 + topic.length; start < body.length; start += 12 + body.readInt32BE(start + 8))
      found.push([undefined, ...compressions][body.readInt16BE(start + 21) & 7])
    return found
  } finally {
    await connections.close()
  }
}
