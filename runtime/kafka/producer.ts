/** The producer outside transactions: records come in, acknowledgements of all replicas go out; made by `broker.ts`. */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { OutRecord, Producer } from '../broker.ts'
import { type Sequences, toBatches } from './batching.ts'
import type { Connections } from './connections.ts'
import { type DeliveryFailure, deliver } from './delivery.ts'
import { failureCode, type KafkaError, namingRight } from './error-codes.ts'
import { createRetryBudget } from './retry-budget.ts'
import { initProducerIdRequest, type ProducerIdentity } from './transaction-requests.ts'

interface Waiting {
  readonly records: readonly OutRecord[]
  resolve(): void
  reject(error: unknown): void
}

/** Waiting sends travel together, up to about this many records. */
const recordsTogetherMax = 10_000

/**
 * The log forgot this producer, or saw a gap in its numbers: nothing was written, and a new producer id makes a fresh
 * start.
 */
const numbersLost: ReadonlySet<KafkaError | 'UNREACHABLE'> = new Set<KafkaError>([
  'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'UNKNOWN_PRODUCER_ID',
  'INVALID_PRODUCER_EPOCH',
  'INVALID_PRODUCER_ID_MAPPING',
])

/**
 * Idempotent: a batch that is sent again because its answer was lost is written once. One delivery at a time: sends
 * that arrive meanwhile travel together in the next. A send that was rejected may have been written in part; sending
 * it again may write it twice.
 */
export function createProducer(connections: Connections, nowMs: () => number): Producer {
  let waiting: Waiting[] = []
  let running: Promise<void> | null = null
  let closing: Promise<void> | null = null
  let identity: ProducerIdentity | null = null
  let sequences: Sequences = new Map()

  async function identify(): Promise<ProducerIdentity> {
    const retryBudget = createRetryBudget(connections.retryBudgetMs)
    for (;;) {
      const { error, id, epoch } = await connections.sendToAny(initProducerIdRequest(null, 60_000))
      if (error === 'NONE') return { id, epoch }
      const passing = error === 'COORDINATOR_LOAD_IN_PROGRESS' || error === 'COORDINATOR_NOT_AVAILABLE'
      if (passing && (await retryBudget.again())) continue
      throw new PipelineError(
        failureCode(error),
        `Kafka gives out no producer id: ${namingRight(error, 'Write on a topic')}`,
        {
          details: { error },
        },
      )
    }
  }

  /** Delivers these records, twice at most where the log lost count. */
  async function deliverAll(records: readonly OutRecord[]): Promise<DeliveryFailure | null> {
    for (let attempt = 1; ; attempt++) {
      identity ??= await identify()
      const options = {
        transactionalId: null,
        identity: { producerId: identity.id, producerEpoch: identity.epoch, timestampMs: nowMs() },
        ackTimeoutMs: 15_000,
      }
      const { failure } = await deliver(connections, toBatches(records, sequences), options, connections.retryBudgetMs)
      if (failure === null) return null
      identity = null
      sequences = new Map()
      const untouched = failure.unacknowledged.reduce((sum, batch) => sum + batch.records.length, 0) === records.length
      if (attempt === 1 && untouched && !failure.uncertain && numbersLost.has(failure.error)) continue
      return failure
    }
  }

  async function run(): Promise<void> {
    while (waiting.length > 0) {
      const together = takeTogether()
      try {
        const failure = await deliverAll(together.flatMap(({ records }) => records))
        const failed = new Set(failure?.unacknowledged.flatMap(({ records }) => records) ?? [])
        for (const send of together) {
          if (failure !== null && send.records.some((record) => failed.has(record))) send.reject(undelivered(failure))
          else send.resolve()
        }
      } catch (error) {
        identity = null
        sequences = new Map()
        for (const send of together) send.reject(error)
      }
    }
    running = null
  }

  function takeTogether(): Waiting[] {
    let count = 0
    let end = 0
    while (end < waiting.length && (end === 0 || count < recordsTogetherMax)) count += waiting[end++]!.records.length
    return waiting.splice(0, end)
  }

  return {
    send(records) {
      if (closing !== null) return Promise.reject(new PipelineError('kafka_unreachable', 'This producer is closed'))
      if (records.length === 0) return Promise.resolve()
      return new Promise((resolve, reject) => {
        waiting.push({ records, resolve, reject })
        running ??= run()
      })
    },
    close() {
      closing ??= (async () => {
        // What was handed in is delivered or fails within its patience, then nothing is left open.
        if (running !== null) await running
        waiting = []
        await connections.close()
      })()
      return closing
    },
  }
}

/** A failed delivery in words. */
export function undelivered({ error, cause, batch }: DeliveryFailure): PipelineError {
  const { topic, partition, records } = batch
  const place = `${records.length} records to ${topic}, partition ${partition}`
  const options = { cause, details: { topic, partition, error } }
  if (error === 'UNREACHABLE') {
    return new PipelineError('kafka_unreachable', `No broker confirmed ${place}`, options)
  }
  const hint = error === 'MESSAGE_TOO_LARGE' ? ": raise the topic's max.message.bytes or send smaller values" : ''
  return new PipelineError(failureCode(error), `Kafka refused ${place}: ${namingRight(error, 'Write')}${hint}`, options)
}
