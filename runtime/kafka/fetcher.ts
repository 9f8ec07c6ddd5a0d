/**
 * The fetcher: offsets come in, committed records go out; made by `broker.ts`. Each leader has at most one request
 * under way. One that is still parked when another leader has answered stays parked: for a fetch that may wait it is
 * knowledge that there is nothing new, as old as it is.
 */
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { FetchedPartition, Fetcher, FetchFrom } from '../broker.ts'
import { partitionKey } from './batching.ts'
import type { Connections } from './connections.ts'
import { judgeFetchErrors } from './fetch-errors.ts'
import { type FetchLimits, fetchRequest, type PartitionFetched } from './fetch-request.ts'
import { createRetryBudget, monotonicMs } from './retry-budget.ts'

interface UnderWay {
  /** Offset asked for, by partition key. */
  readonly asked: ReadonlyMap<string, number>
  /** The leader waits for something new: as long as it does not answer there was nothing when it was asked. */
  readonly parked: boolean
  /** The call of `fetch` that began it. */
  readonly call: number
  /** Settles when answered; never rejects. */
  readonly settled: Promise<void>
  answer: readonly PartitionFetched[] | null
  failure: unknown
}

/** What one call of `fetch` has learnt so far, by partition key. */
type Found = Map<string, PartitionFetched & { readonly call: number }>

/** Less than this left of the wait is not worth a request, ms. */
const leastWaitMs = 5
/** Whoever asks without waiting has to wait for what is parked at another leader: it is parked so long at most, ms. */
const parkedBesideOthersMaxMs = 20

/**
 * Keys and values are views into the leader's answer: copy what is to be kept for long, or it keeps the whole answer
 * in memory.
 */
export function createFetcher(connections: Connections): Fetcher {
  const underWay = new Map<number, UnderWay>()
  /** Ends by partition key, as last answered. */
  const ends = new Map<string, Pick<PartitionFetched, 'stableEnd' | 'end'>>()
  let call = 0
  let rotation = 0
  let busy = false

  function begin(nodeId: number, from: readonly FetchFrom[], limits: FetchLimits): void {
    // Another partition goes first each time, so that none starves where bytes are short.
    const first = rotation++ % from.length
    const request: UnderWay = {
      asked: new Map(from.map((partition) => [partitionKey(partition), partition.offset])),
      parked: limits.maxWaitMs > 0,
      call,
      answer: null,
      failure: null,
      settled: connections.send(nodeId, fetchRequest([...from.slice(first), ...from.slice(0, first)], limits)).then(
        (answer) => {
          request.answer = answer
        },
        (failure) => {
          request.failure = failure
        },
      ),
    }
    underWay.set(nodeId, request)
  }

  /** Takes what was answered from the offsets now wanted. Throws the failure of a request. */
  function collect(from: readonly FetchFrom[], found: Found): void {
    const wanted = new Map(from.map((partition) => [partitionKey(partition), partition.offset]))
    for (const [nodeId, { answer, failure, call }] of underWay) {
      if (answer === null && failure === null) continue
      underWay.delete(nodeId)
      if (failure !== null) throw failure
      for (const partition of answer ?? []) {
        const key = partitionKey(partition)
        if (wanted.get(key) === partition.from) found.set(key, { ...partition, call })
        ends.set(key, partition)
      }
    }
  }

  /** An answer that said "nothing new" before this fetch began says nothing about now. */
  function dropOldSilence(): void {
    for (const [nodeId, { answer }] of underWay) {
      if (answer?.every((partition) => partition.error === 'NONE' && !isNews(partition))) underWay.delete(nodeId)
    }
  }

  function byLeader(from: readonly FetchFrom[]): Map<number, FetchFrom[]> | null {
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

  function isKnown(partition: FetchFrom, nodeId: number, found: Found, { maxWaitMs }: FetchLimits): boolean {
    const key = partitionKey(partition)
    const known = found.get(key)
    // News is never older than the records that it brings; that there is none is.
    if (known !== undefined) return maxWaitMs > 0 || known.call === call || isNews(known)
    const request = underWay.get(nodeId)
    return maxWaitMs > 0 && request?.parked === true && request.asked.get(key) === partition.offset && ends.has(key)
  }

  /**
   * Asks whom there is something to ask; true when every partition has been answered or is known to have nothing new.
   */
  function ask(led: ReadonlyMap<number, FetchFrom[]>, found: Found, limits: FetchLimits, waitMs: number): boolean {
    let complete = true
    for (const [nodeId, list] of led) {
      const known = list.every((partition) => isKnown(partition, nodeId, found, limits))
      complete &&= known
      if (underWay.has(nodeId) || (known && waitMs === 0)) continue
      // Of several leaders each is first asked without waiting, so that all ends are known before anybody waits.
      const parkedMs = led.size === 1 ? waitMs : Math.min(waitMs, parkedBesideOthersMaxMs)
      begin(nodeId, list, { ...limits, maxWaitMs: known || led.size === 1 ? parkedMs : 0 })
    }
    return complete
  }

  async function fetchAll(from: readonly FetchFrom[], limits: FetchLimits): Promise<FetchedPartition[]> {
    const found: Found = new Map()
    const end = monotonicMs() + limits.maxWaitMs
    const retryBudget = createRetryBudget(limits.maxWaitMs + connections.retryBudgetMs, 20)
    let leadersInDoubt = false
    dropOldSilence()
    for (;;) {
      try {
        if (leadersInDoubt) await connections.findLeaders(from)
        leadersInDoubt = false
        collect(from, found)
        const led = byLeader(from)
        if (led === null || (await judgeFetchErrors(connections, found))) {
          leadersInDoubt = true
          if (led === null || (await retryBudget.again())) continue
          throw new PipelineError(
            'kafka_request_failed',
            `Fetching did not succeed within ${Math.round(retryBudget.totalMs / 1000)} s`,
          )
        }
        const news = [...found.values()].some(isNews)
        const left = end - monotonicMs()
        const waitMs = news || left < leastWaitMs ? 0 : Math.ceil(left)
        const complete = ask(led, found, limits, waitMs)
        if (complete && waitMs === 0) return from.map((partition) => entry(partition, found))
        await firstAnswer(complete && led.size > 1 ? waitMs : null)
      } catch (error) {
        const passing = error instanceof PipelineError && error.code === 'kafka_unreachable'
        if (!passing || connections.isClosed() || !(await retryBudget.again())) throw error
        leadersInDoubt = true
      }
    }
  }

  /** Waits until something was answered, or for `waitMs`. */
  async function firstAnswer(waitMs: number | null): Promise<void> {
    const answers = [...underWay.values()].map(({ settled }) => settled)
    if (waitMs === null) return await Promise.race(answers)
    const timer = new AbortController()
    const waited = delay(waitMs, undefined, { signal: timer.signal }).catch((error: Error) => {
      if (error.name !== 'AbortError') throw error
    })
    await Promise.race([...answers, waited])
    timer.abort()
  }

  function entry({ topic, partition, offset }: FetchFrom, found: Found): FetchedPartition {
    const key = partitionKey({ topic, partition })
    const answer = found.get(key)
    const known = answer ?? ends.get(key)
    assert(known !== undefined, 'what is returned was answered')
    const { stableEnd, end } = known
    const place = { topic, partition, from: offset, stableEnd, end }
    if (answer) return { ...place, records: answer.records, next: answer.next, age: call - answer.call }
    const parked = underWay.get(connections.leaderOf({ topic, partition }) ?? -1)
    return { ...place, records: [], next: offset, age: parked ? call - parked.call : call }
  }

  return {
    async fetch(from, limits) {
      assert(!busy, 'one fetch at a time')
      assert(new Set(from.map(partitionKey)).size === from.length, 'a partition is fetched from one offset at a time')
      if (from.length === 0) return []
      busy = true
      call++
      try {
        return await fetchAll(from, limits)
      } finally {
        busy = false
      }
    },
    close: connections.close,
  }
}

/** Records, or an offset to go on from that is further than the one asked for. */
function isNews({ records, next, from }: PartitionFetched): boolean {
  return records.length > 0 || next > from
}
