import { describe, expect, test } from 'vitest'
import type { FetchedPartition } from '../../../runtime/broker.ts'
import { createFetcher } from '../../../runtime/kafka/fetcher.ts'
import {
  type AnsweredPartition,
  fetchAnswer,
  listOffsetsAnswer,
  readFetch,
  type Script,
  scriptedConnections,
  silence,
} from './scripted-connections.ts'

interface Asked {
  readonly nodeId: number
  readonly maxWaitMs: number
  /** 'partition@offset' */
  readonly asked: string[]
  answer(partitions: readonly AnsweredPartition[]): void
  fail(error: Error): void
}

/** Two leaders, of partitions 0 and 1 and of partition 2; a test answers each request by hand. */
function scripted() {
  const requests: Asked[] = []
  let arrived: () => void = () => undefined
  const script: Script & { listOffsets: number[] } = {
    leaders: new Map([
      [0, 1],
      [1, 1],
      [2, 2],
    ]),
    lookups: 0,
    listOffsets: [],
    answer(nodeId, api, body) {
      if (api === 'ListOffsets') return listOffsetsAnswer(0, script.listOffsets.shift()!)
      const { maxWaitMs, asked } = readFetch(body)
      return new Promise((resolve, reject) => {
        requests.push({
          nodeId,
          maxWaitMs,
          asked: asked.map(({ partition, offset }) => `${partition}@${offset}`).sort(),
          answer: (partitions) => resolve(fetchAnswer(partitions)),
          fail: reject,
        })
        arrived()
      })
    },
  }
  async function request(count: number): Promise<Asked[]> {
    while (requests.length < count) {
      await new Promise<void>((resolve) => {
        arrived = resolve
      })
    }
    return requests.splice(0)
  }
  return { fetcher: createFetcher(scriptedConnections(script)), script, request, requests }
}

const at = (...offsets: number[]) => offsets.map((offset, partition) => ({ topic: 't', partition, offset }))
const limits = { maxWaitMs: 10_000, partitionBytesMax: 1_000 }

function partitionLines(answer: readonly FetchedPartition[]): string[] {
  return answer.map(({ partition, from, next, stableEnd, records }) => {
    return `${partition}: ${[...records].map(({ value }) => value).join('')} ${from}-${next} of ${stableEnd}`
  })
}

describe('a fetch from one leader', () => {
  test('waits at the leader and answers in the order requested', async () => {
    const { fetcher, request } = scripted()
    const fetching = fetcher.fetch(at(5, 7), limits)
    const [one] = await request(1)
    expect([one!.nodeId, one!.asked]).toEqual([1, ['0@5', '1@7']])
    expect(one!.maxWaitMs).toBeGreaterThan(9_000)
    one!.answer([
      { partition: 1, offset: 7, values: ['a', 'b'], stableEnd: 20 },
      { partition: 0, offset: 5 },
    ])
    expect(partitionLines(await fetching)).toEqual(['0:  5-5 of 5', '1: ab 7-9 of 20'])
  })

  test('fetches from the new leader after a transient error', async () => {
    const { fetcher, script, request } = scripted()
    const fetching = fetcher.fetch(at(5), limits)
    const [one] = await request(1)
    script.leaders.set(0, 2)
    one!.answer([{ partition: 0, offset: 5, error: 'NOT_LEADER_OR_FOLLOWER' }])
    const [two] = await request(1)
    expect([two!.nodeId, two!.asked]).toEqual([2, ['0@5']])
    two!.answer([{ partition: 0, offset: 5, values: ['x'] }])
    expect(partitionLines(await fetching)).toEqual(['0: x 5-6 of 6'])
  })

  test('fetches again after a timeout, and gives up when it lasts', async () => {
    const { fetcher, request } = scripted()
    const fetching = fetcher.fetch(at(5), { ...limits, maxWaitMs: 0 })
    const [one] = await request(1)
    one!.fail(silence())
    const [two] = await request(1)
    two!.answer([{ partition: 0, offset: 5, values: ['x'] }])
    expect(partitionLines(await fetching)).toEqual(['0: x 5-6 of 6'])
    const failing = fetcher.fetch(at(6), { ...limits, maxWaitMs: 0 }).catch((error) => error)
    let outcome: unknown
    void failing.then((error) => {
      outcome = error
    })
    for (let tries = 0; outcome === undefined && tries < 100; tries++) {
      const waiting = await Promise.race([request(1), failing.then(() => [])])
      for (const asked of waiting) asked.fail(silence())
      await Promise.resolve()
    }
    expect(await failing).toMatchObject({ code: 'kafka_unreachable' })
  })

  test('does not repeat what will never pass', async () => {
    const { fetcher, request } = scripted()
    const fetching = fetcher.fetch(at(5), limits)
    const [one] = await request(1)
    one!.answer([{ partition: 0, offset: 5, error: 'TOPIC_AUTHORIZATION_FAILED' }])
    await expect(fetching).rejects.toMatchObject({
      code: 'kafka_refused',
      message: 'Kafka refused to read t, partition 0, from 5: TOPIC_AUTHORIZATION_FAILED (the right Read is missing)',
    })
  })

  test('believes "out of range" only where the bounds confirm it', async () => {
    const { fetcher, script, request } = scripted()
    const fetching = fetcher.fetch(at(5), limits)
    const [one] = await request(1)
    script.listOffsets.push(3, 9, 6, 9)
    one!.answer([{ partition: 0, offset: 5, error: 'OFFSET_OUT_OF_RANGE' }])
    const [two] = await request(1)
    two!.answer([{ partition: 0, offset: 5, error: 'OFFSET_OUT_OF_RANGE' }])
    await expect(fetching).rejects.toMatchObject({
      code: 'log_truncated',
      message: 'Offset 5 of t, partition 0, is gone: the log starts at 6',
    })
  })
})

describe('a fetch from two leaders', () => {
  /** Both requested, both unanswered so far: one parked request each. */
  async function parked() {
    const made = scripted()
    const fetching = made.fetcher.fetch(at(0, 0, 0), limits)
    const first = await made.request(2)
    expect(first.map(({ nodeId, maxWaitMs }) => [nodeId, maxWaitMs])).toEqual([
      [1, 0],
      [2, 0],
    ])
    first[0]!.answer([
      { partition: 0, offset: 0 },
      { partition: 1, offset: 0 },
    ])
    first[1]!.answer([{ partition: 2, offset: 0 }])
    const [one, two] = (await made.request(2)).sort((a, b) => a.nodeId - b.nodeId)
    // Also a fetch without a wait has to wait for these.
    expect([one!.maxWaitMs, two!.maxWaitMs]).toEqual([20, 20])
    return { ...made, fetching, one: one!, two: two! }
  }

  test('answers with what one has; the other stays parked and is not asked again', async () => {
    const { fetcher, fetching, request, one, two, requests } = await parked()
    one.answer([
      { partition: 0, offset: 0, values: ['a'] },
      { partition: 1, offset: 0 },
    ])
    expect(partitionLines(await fetching)).toEqual(['0: a 0-1 of 1', '1:  0-0 of 0', '2:  0-0 of 0'])
    const next = fetcher.fetch(at(1, 0, 0), limits)
    const [again] = await request(1)
    expect([again!.nodeId, again!.asked]).toEqual([1, ['0@1', '1@0']])
    again!.answer([
      { partition: 0, offset: 1, values: ['b'] },
      { partition: 1, offset: 0 },
    ])
    expect(partitionLines(await next)).toEqual(['0: b 1-2 of 2', '1:  0-0 of 0', '2:  0-0 of 0'])
    const last = fetcher.fetch(at(2, 0, 0), limits)
    await request(1)
    two.answer([{ partition: 2, offset: 0, values: ['c'], stableEnd: 4 }])
    expect(requests).toEqual([])
    void last.catch(() => undefined)
  })

  test('takes up what arrived between two fetches', async () => {
    const { fetcher, fetching, request, one, two } = await parked()
    one.answer([
      { partition: 0, offset: 0, values: ['a'] },
      { partition: 1, offset: 0 },
    ])
    await fetching
    two.answer([{ partition: 2, offset: 0, values: ['c'] }])
    await new Promise((resolve) => setImmediate(resolve))
    const next = fetcher.fetch(at(1, 0, 0), limits)
    const [again] = await request(1)
    expect([again!.nodeId, again!.maxWaitMs]).toEqual([1, 0])
    again!.answer([
      { partition: 0, offset: 1 },
      { partition: 1, offset: 0 },
    ])
    expect(partitionLines(await next)).toEqual(['0:  1-1 of 1', '1:  0-0 of 0', '2: c 0-1 of 1'])
  })

  test('does not take an old "nothing new" for an answer', async () => {
    const { fetcher, fetching, request, one, two } = await parked()
    one.answer([
      { partition: 0, offset: 0, values: ['a'] },
      { partition: 1, offset: 0 },
    ])
    await fetching
    two.answer([{ partition: 2, offset: 0 }])
    await new Promise((resolve) => setImmediate(resolve))
    const next = fetcher.fetch(at(1, 0, 0), limits)
    const asked = (await request(2)).sort((a, b) => a.nodeId - b.nodeId)
    expect(asked.map(({ nodeId, maxWaitMs }) => [nodeId, maxWaitMs])).toEqual([
      [1, 0],
      [2, 0],
    ])
    asked[0]!.answer([
      { partition: 0, offset: 1 },
      { partition: 1, offset: 0 },
    ])
    asked[1]!.answer([{ partition: 2, offset: 0, values: ['d'] }])
    expect(partitionLines(await next)).toEqual(['0:  1-1 of 1', '1:  0-0 of 0', '2: d 0-1 of 1'])
  })

  test('does not use what was fetched from another offset', async () => {
    const { fetcher, fetching, request, one, two } = await parked()
    one.answer([
      { partition: 0, offset: 0, values: ['a'] },
      { partition: 1, offset: 0 },
    ])
    await fetching
    const next = fetcher.fetch([{ topic: 't', partition: 2, offset: 8 }], limits)
    two.answer([{ partition: 2, offset: 0, values: ['old'] }])
    const [again] = await request(1)
    expect([again!.nodeId, again!.asked]).toEqual([2, ['2@8']])
    again!.answer([{ partition: 2, offset: 8, values: ['new'] }])
    expect(partitionLines(await next)).toEqual(['2: new 8-9 of 9'])
  })

  test('ends after its wait although both stay parked', async () => {
    const made = scripted()
    const fetching = made.fetcher.fetch(at(0, 0, 0), { ...limits, maxWaitMs: 300 })
    const first = await made.request(2)
    first[0]!.answer([
      { partition: 0, offset: 0 },
      { partition: 1, offset: 0 },
    ])
    first[1]!.answer([{ partition: 2, offset: 0 }])
    await made.request(2)
    expect(partitionLines(await fetching)).toEqual(['0:  0-0 of 0', '1:  0-0 of 0', '2:  0-0 of 0'])
  })

  test('is one at a time, of each partition once', async () => {
    const { fetcher, fetching, one } = await parked()
    await expect(fetcher.fetch(at(0), limits)).rejects.toThrow('one fetch at a time')
    one.answer([
      { partition: 0, offset: 0, values: ['a'] },
      { partition: 1, offset: 0 },
    ])
    await fetching
    await expect(fetcher.fetch([...at(0), ...at(1)], limits)).rejects.toThrow('from one offset at a time')
  })
})
