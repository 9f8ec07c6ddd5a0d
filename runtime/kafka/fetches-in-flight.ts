/**
 * The Fetch requests of one fetcher that are in flight, at most one per leader, and what their answers bring; used by
 * `fetcher.ts`.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { FetchFrom } from '../broker.ts'
import { partitionKey } from './batching.ts'
import type { Connections } from './connections.ts'
import { type FetchLimits, fetchRequest, type PartitionFetched } from './fetch-request.ts'

interface FetchInFlight {
  /** Requested offset, by partition key. */
  readonly asked: ReadonlyMap<string, number>
  /** The leader waits for new records: as long as it does not answer, there was nothing when it was asked. */
  readonly isParked: boolean
  /** The call of `fetch` that sent it. */
  readonly call: number
  /** Settles when answered; never rejects. */
  readonly settled: Promise<void>
  answer: readonly PartitionFetched[] | null
  failure: unknown
}

/** The answers for one call of `fetch` so far, by partition key. */
export type Found = Map<string, PartitionFetched & { readonly call: number }>

export interface FetchState {
  readonly connections: Connections
  /** By node id of the leader. */
  readonly inFlight: Map<number, FetchInFlight>
  /** Ends by partition key, as last answered. */
  readonly ends: Map<string, Pick<PartitionFetched, 'stableEnd' | 'end'>>
  /** Calls of `fetch` so far. */
  call: number
  rotation: number
}

export function sendFetch(state: FetchState, nodeId: number, from: readonly FetchFrom[], limits: FetchLimits): void {
  // Another partition comes first each time, so that none starves where the bytes of an answer are limited.
  const first = state.rotation++ % from.length
  const request = fetchRequest([...from.slice(first), ...from.slice(0, first)], limits)
  const fetch: FetchInFlight = {
    asked: new Map(from.map((partition) => [partitionKey(partition), partition.offset])),
    isParked: limits.maxWaitMs > 0,
    call: state.call,
    answer: null,
    failure: null,
    settled: state.connections.send(nodeId, request).then(
      (answer) => {
        fetch.answer = answer
      },
      (failure) => {
        fetch.failure = failure
      },
    ),
  }
  state.inFlight.set(nodeId, fetch)
}

/** Moves what was answered for the offsets now wanted into `found`. Throws the failure of a request. */
export function collectAnswers({ inFlight, ends }: FetchState, from: readonly FetchFrom[], found: Found): void {
  const wanted = new Map(from.map((partition) => [partitionKey(partition), partition.offset]))
  for (const [nodeId, { answer, failure, call }] of inFlight) {
    if (answer === null && failure === null) continue
    inFlight.delete(nodeId)
    if (failure !== null) throw failure
    for (const partition of answer ?? []) {
      const key = partitionKey(partition)
      if (wanted.get(key) === partition.from) found.set(key, { ...partition, call })
      ends.set(key, partition)
    }
  }
}

/** Drops the answers without news that came before this call of `fetch`: there may be something new by now. */
export function dropEmptyAnswers({ inFlight }: FetchState): void {
  for (const [nodeId, { answer }] of inFlight) {
    if (answer?.every((partition) => partition.error === 'NONE' && !isNews(partition))) inFlight.delete(nodeId)
  }
}

/** Waits until a request was answered, or for `waitMs`. */
export async function firstAnswer({ inFlight }: FetchState, waitMs: number | null): Promise<void> {
  const answers = [...inFlight.values()].map(({ settled }) => settled)
  if (waitMs === null) return await Promise.race(answers)
  const timer = new AbortController()
  const waited = delay(waitMs, undefined, { signal: timer.signal }).catch((error: Error) => {
    if (error.name !== 'AbortError') throw error
  })
  await Promise.race([...answers, waited])
  timer.abort()
}

/** Records, or a next offset beyond the requested one. */
export function isNews({ records, next, from }: PartitionFetched): boolean {
  return records.length > 0 || next > from
}
