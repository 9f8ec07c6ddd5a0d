/**
 * The key of the hashes in a pipeline's facts: read from its topic of schemas, or, by the first process of all, put there. Called by a live
 * process before it opens a task, and by `doctor`, which writes nothing.
 *
 * The key is that of the first record in the topic that holds one, and stays so. A process writes a candidate only where it sees none, and
 * decides after it has read the topic again. Everybody reads a prefix of the log: whoever sees a candidate sees the first of them, and what
 * is appended later lies behind it. Two processes that start at once may both write, and both take the first. The topic is kept forever;
 * were it compacted, no candidate would be removed, since its record key is the candidate itself. Should the topic be deleted, or lose
 * its beginning, the next key is another one, and stored state, which names its key, is refused as `state_foreign`.
 */
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { HashKey } from '../schemas/kernel/keyed-hash.ts'
import { hashKeyEntry, hashKeyIn } from '../schemas/wire/hash-key-record.ts'
import type { BrokerData } from './broker.ts'
import { readSpans, wholeLog } from './read-log.ts'

type ReadingBroker = Pick<BrokerData, 'partitionCounts' | 'bounds' | 'fetcher'>

/** `candidate`: 16 random bytes of this process. Rejects with `record_unreadable` and the broker's codes. */
export async function agreeOnHashKey(
  broker: ReadingBroker & Pick<BrokerData, 'producer'>,
  topic: string,
  candidate: HashKey,
): Promise<HashKey> {
  const known = await readHashKey(broker, topic)
  if (known !== null) return known
  const [key, value] = hashKeyEntry(candidate)
  const producer = await broker.producer()
  try {
    await producer.send([{ topic, partition: 0, key: Buffer.from(key), value: Buffer.from(JSON.stringify(value)) }])
  } finally {
    await producer.close()
  }
  const agreed = await readHashKey(broker, topic)
  if (agreed !== null) return agreed
  throw new PipelineError(
    'kafka_request_failed',
    `The key of hashes was written to ${topic}, but cannot be read there yet: an open transaction on the topic may hide it.`,
    { details: { topic } },
  )
}

/** Null where no process has written one, and where there is no topic yet. */
export async function readHashKey(broker: ReadingBroker, topic: string): Promise<HashKey | null> {
  const counts = await broker.partitionCounts([topic])
  if ((counts.get(topic) ?? null) === null) return null
  const spans = await wholeLog(broker, [topic])
  const fetcher = await broker.fetcher()
  let first: HashKey | null = null
  try {
    await readSpans(fetcher, spans, ({ offset, value }) => {
      first ??= decoded(topic, offset, value)
    })
  } finally {
    await fetcher.close()
  }
  return first
}

function decoded(topic: string, offset: number, value: Buffer | null): HashKey | null {
  try {
    return hashKeyIn(JSON.parse(String(value)) as object)
  } catch (cause) {
    throw new PipelineError(
      'record_unreadable',
      `The record at ${topic} partition 0 offset ${offset} is no schema, definition or key of hashes in JSON: ${(cause as Error).message}.`,
      { cause, details: { topic, offset } },
    )
  }
}
