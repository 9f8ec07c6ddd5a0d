/** The producer outside transactions: records come in, acknowledgements of all replicas go out; opened by `broker.ts`. */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Outgoing } from '../framed-records.ts'
import { type Sequences, toBatches } from './batching.ts'
import type { Connections } from './connections.ts'
import { type DeliveryFailure, deliver } from './delivery.ts'
import { failureCode, type KafkaError, namingRight } from './error-codes.ts'
import { apis } from './request.ts'
import { createRetryBudget } from './retry-budget.ts'
import { initProducerIdRequest, type ProducerIdentity } from './transaction-requests.ts'

interface PendingSend {
  readonly records: readonly Outgoing[]
  resolve(): void
  reject(error: unknown): void
}

interface ProducerState {
  readonly connections: Connections
  readonly nowMs: () => number
  pending: PendingSend[]
  /** Delivers what is pending; null while nothing is. */
  delivering: Promise<void> | null
  closing: Promise<void> | null
  /** Null before the first delivery and after a failed one. */
  identity: ProducerIdentity | null
  sequences: Sequences
}

/** Pending sends are delivered together, up to about this many records. */
const recordsTogetherMax = 10_000

/**
 * The log has no state of this producer, or saw a gap in its sequence numbers: nothing was written, and a new producer
 * id starts over.
 */
const sequencesLost: ReadonlySet<KafkaError | 'UNREACHABLE'> = new Set<KafkaError>([
  'OUT_OF_ORDER_SEQUENCE_NUMBER',
  'UNKNOWN_PRODUCER_ID',
  'INVALID_PRODUCER_EPOCH',
  'INVALID_PRODUCER_ID_MAPPING',
])

/**
 * Idempotent: a batch that is sent again because its answer was lost is written once. One delivery at a time: sends
 * that arrive meanwhile are delivered together in the next. A send that was rejected may have been written in part;
 * sending it again may write it twice.
 */
/** Of `Producer` and of `Worker.publish`. */
export interface OutgoingProducer {
  send(outgoing: readonly Outgoing[]): Promise<void>
  close(): Promise<void>
}

export function createProducer(connections: Connections, nowMs: () => number): OutgoingProducer {
  const state: ProducerState = {
    connections,
    nowMs,
    pending: [],
    delivering: null,
    closing: null,
    identity: null,
    sequences: new Map(),
  }
  return {
    send(records) {
      if (state.closing !== null)
        return Promise.reject(new PipelineError('kafka_unreachable', 'This producer is closed'))
      if (records.length === 0) return Promise.resolve()
      return new Promise((resolve, reject) => {
        state.pending.push({ records, resolve, reject })
        state.delivering ??= deliverPending(state)
      })
    },
    close() {
      state.closing ??= close(state)
      return state.closing
    },
  }
}

/** What was sent before is delivered, or fails within the retry budget. */
async function close(state: ProducerState): Promise<void> {
  if (state.delivering !== null) await state.delivering
  state.pending = []
  await state.connections.close()
}

async function deliverPending(state: ProducerState): Promise<void> {
  while (state.pending.length > 0) {
    const together = takeTogether(state.pending)
    try {
      const failure = await deliverAll(
        state,
        together.flatMap(({ records }) => records),
      )
      const failed = new Set(failure?.unacknowledged.flatMap(({ sent }) => sent) ?? [])
      for (const send of together) {
        if (failure !== null && send.records.some((record) => failed.has(record))) send.reject(undelivered(failure))
        else send.resolve()
      }
    } catch (error) {
      forgetIdentity(state)
      for (const send of together) send.reject(error)
    }
  }
  state.delivering = null
}

/** Removes the sends of the next delivery from `pending` and returns them. */
function takeTogether(pending: PendingSend[]): PendingSend[] {
  let count = 0
  let end = 0
  while (end < pending.length && (end === 0 || count < recordsTogetherMax)) count += pending[end++]!.records.length
  return pending.splice(0, end)
}

/** Delivers these records, with a second attempt where the log lost the sequence numbers. */
async function deliverAll(state: ProducerState, records: readonly Outgoing[]): Promise<DeliveryFailure | null> {
  const { connections } = state
  for (let attempt = 1; ; attempt++) {
    state.identity ??= await newIdentity(connections)
    const { id, epoch } = state.identity
    const options = {
      api: apis.produce,
      transactionalId: null,
      identity: { producerId: id, producerEpoch: epoch, timestampMs: state.nowMs() },
      ackTimeoutMs: 15_000,
    }
    const batches = toBatches(records, state.sequences)
    const { failure } = await deliver(connections, batches, options, connections.retryBudgetMs)
    if (failure === null) return null
    forgetIdentity(state)
    const unwritten = failure.unacknowledged.reduce((sum, batch) => sum + batch.sent.length, 0)
    const isUntouched = unwritten === records.length && !failure.uncertain
    if (attempt === 1 && isUntouched && sequencesLost.has(failure.error)) continue
    return failure
  }
}

function forgetIdentity(state: ProducerState): void {
  state.identity = null
  state.sequences = new Map()
}

async function newIdentity(connections: Connections): Promise<ProducerIdentity> {
  const retryBudget = createRetryBudget(connections.retryBudgetMs)
  for (;;) {
    const { error, id, epoch } = await connections.sendToAny(initProducerIdRequest(null, 60_000))
    if (error === 'NONE') return { id, epoch }
    const isTransient = error === 'COORDINATOR_LOAD_IN_PROGRESS' || error === 'COORDINATOR_NOT_AVAILABLE'
    if (isTransient && (await retryBudget.again())) continue
    const reason = namingRight(error, 'Write on a topic')
    throw new PipelineError(failureCode(error), `Kafka gives out no producer id: ${reason}`, { details: { error } })
  }
}

/** The error for a failed delivery. */
export function undelivered({ error, cause, batch }: DeliveryFailure): PipelineError {
  const { topic, partition, framed } = batch
  const what = `${framed.count} records to ${topic}, partition ${partition}`
  const options = { cause, details: { topic, partition, error } }
  if (error === 'UNREACHABLE') {
    return new PipelineError('kafka_unreachable', `No broker confirmed ${what}`, options)
  }
  const hint = error === 'MESSAGE_TOO_LARGE' ? ": raise the topic's max.message.bytes or send smaller values" : ''
  return new PipelineError(failureCode(error), `Kafka refused ${what}: ${namingRight(error, 'Write')}${hint}`, options)
}
