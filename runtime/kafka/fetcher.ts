/**
 * The fetcher: offsets come in, committed records go out; opened by `broker.ts`. Each leader has at most one request
 * in flight. A request that is still parked when another leader has answered stays parked: for a fetch that may wait,
 * it means that there was nothing new when it was sent.
 */
import assert from 'node:assert/strict'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { FetchedPartition, Fetcher, FetchFrom } from '../broker.ts'
import { noRecords } from '../records.ts'
import { partitionKey } from './batching.ts'
import type { Connections } from './connections.ts'
import { handleFetchErrors } from './fetch-errors.ts'
import type { FetchLimits } from './fetch-request.ts'
import {
  collectAnswers,
  dropEmptyAnswers,
  type FetchState,
  type Found,
  firstAnswer,
  isNews,
  sendFetch,
} from './fetches-in-flight.ts'
import { createRetryBudget, monotonicMs } from './retry-budget.ts'

/** With less than this left of the wait no further request is sent, ms. */
const leastWaitMs = 5
/**
 * A fetch without a wait has to wait for a request that is parked at another leader, so a request is parked no longer
 * than this while there are several leaders, ms.
 */
const parkedBesideOthersMaxMs = 20

export function createFetcher(connections: Connections): Fetcher {
  const state: FetchState = { connections, inFlight: new Map(), ends: new Map(), call: 0, rotation: 0 }
  let isBusy = false
  return {
    async fetch(from, limits) {
      assert(!isBusy, 'one fetch at a time')
      assert(new Set(from.map(partitionKey)).size === from.length, 'a partition is fetched from one offset at a time')
      if (from.length === 0) return []
      isBusy = true
      state.call++
      try {
        return await fetchAll(state, from, limits)
      } finally {
        isBusy = false
      }
    },
    close: connections.close,
  }
}

async function fetchAll(
  state: FetchState,
  from: readonly FetchFrom[],
  limits: FetchLimits,
): Promise<FetchedPartition[]> {
  const { connections } = state
  const found: Found = new Map()
  const endMs = monotonicMs() + limits.maxWaitMs
  const retryBudget = createRetryBudget(limits.maxWaitMs + connections.retryBudgetMs, 20)
  let areLeadersStale = false
  dropEmptyAnswers(state)
  for (;;) {
    try {
      if (areLeadersStale) await connections.findLeaders(from)
      areLeadersStale = false
      collectAnswers(state, from, found)
      const led = byLeader(connections, from)
      if (led === null || (await handleFetchErrors(connections, found))) {
        areLeadersStale = true
        if (led === null || (await retryBudget.again())) continue
        throw new PipelineError(
          'kafka_request_failed',
          `Fetching did not succeed within ${Math.round(retryBudget.totalMs / 1000)} s`,
        )
      }
      const hasNews = [...found.values()].some(isNews)
      const leftMs = endMs - monotonicMs()
      const waitMs = hasNews || leftMs < leastWaitMs ? 0 : Math.ceil(leftMs)
      const isComplete = sendFetches(state, led, found, limits, waitMs)
      if (isComplete && waitMs === 0) return from.map((partition) => fetchedOf(state, partition, found))
      await firstAnswer(state, isComplete && led.size > 1 ? waitMs : null)
    } catch (error) {
      const isTransient = error instanceof PipelineError && error.code === 'kafka_unreachable'
      if (!isTransient || connections.isClosed() || !(await retryBudget.again())) throw error
      areLeadersStale = true
    }
  }
}

/** Null where the leader of a partition is not known. */
function byLeader(connections: Connections, from: readonly FetchFrom[]): Map<number, FetchFrom[]> | null {
  const led = new Map<number, FetchFrom[]>()
  for (const partition of from) {
    const nodeId = connections.leaderOf(partition)
    if (nodeId === undefined) return null
    const list = led.get(nodeId)
    if (list === undefined) led.set(nodeId, [partition])
    else list.push(partition)
  }
  return led
}

/**
 * Sends a request to every leader that needs one; true when every partition has been answered or is known to have
 * nothing new.
 */
function sendFetches(
  state: FetchState,
  led: ReadonlyMap<number, FetchFrom[]>,
  found: Found,
  limits: FetchLimits,
  waitMs: number,
): boolean {
  let isComplete = true
  for (const [nodeId, list] of led) {
    const isKnown = list.every((partition) => isPartitionKnown(state, partition, nodeId, found, limits))
    isComplete &&= isKnown
    if (state.inFlight.has(nodeId) || (isKnown && waitMs === 0)) continue
    // Each of several leaders is first asked without a wait, so that all ends are known before any request is parked.
    const parkedMs = led.size === 1 ? waitMs : Math.min(waitMs, parkedBesideOthersMaxMs)
    sendFetch(state, nodeId, list, { ...limits, maxWaitMs: isKnown || led.size === 1 ? parkedMs : 0 })
  }
  return isComplete
}

function isPartitionKnown(
  { inFlight, ends, call }: FetchState,
  partition: FetchFrom,
  nodeId: number,
  found: Found,
  { maxWaitMs }: FetchLimits,
): boolean {
  const key = partitionKey(partition)
  const known = found.get(key)
  // An answer with records stays valid at any age; an answer without any does not.
  if (known !== undefined) return maxWaitMs > 0 || known.call === call || isNews(known)
  const request = inFlight.get(nodeId)
  return maxWaitMs > 0 && request?.isParked === true && request.asked.get(key) === partition.offset && ends.has(key)
}

function fetchedOf(state: FetchState, { topic, partition, offset }: FetchFrom, found: Found): FetchedPartition {
  const { connections, inFlight, ends, call } = state
  const key = partitionKey({ topic, partition })
  const answer = found.get(key)
  const known = answer ?? ends.get(key)
  assert(known !== undefined, 'what is returned was answered')
  const { stableEnd, end } = known
  const base = { topic, partition, from: offset, stableEnd, end }
  if (answer) return { ...base, records: answer.records, next: answer.next, age: call - answer.call }
  const parked = inFlight.get(connections.leaderOf({ topic, partition }) ?? -1)
  return { ...base, records: noRecords, next: offset, age: parked ? call - parked.call : call }
}
