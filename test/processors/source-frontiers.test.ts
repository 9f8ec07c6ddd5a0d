/** Source frontiers: what is observed between two fetches, and which of it an idle report may cover. */
import { describe, expect, test } from 'vitest'
import { initialFrontier } from '../../processors/watermarks/frontier.ts'
import {
  createSourceFrontiers,
  observeWatermark,
  rawSourceOf,
  roundsBehindMax,
} from '../../processors/watermarks/source-frontiers.ts'

const at = (time: number, order = 0) => ({ time, order })

describe('a frontier that is observed', () => {
  test('is the latest at once, and covered only by a fetch that begins after it', () => {
    const frontiers = createSourceFrontiers(2, 0)
    frontiers.startRound()
    frontiers.observe(1, at(10, 3))
    frontiers.setCaughtUp()
    expect(frontiers.latest).toEqual([initialFrontier, at(10, 3)])
    expect(frontiers.beforeFetch.frontiers).toEqual([initialFrontier, initialFrontier])
    expect(frontiers.beforeNextFetch.frontiers).toEqual([initialFrontier, at(10, 3)])
    frontiers.startRound()
    expect(frontiers.beforeFetch.frontiers).toEqual([initialFrontier, at(10, 3)])
  })

  test('never decreases, and two events of the same time are distinguished', () => {
    const frontiers = createSourceFrontiers(1, 0)
    for (const frontier of [at(10, 3), at(10, 2), at(9, 9)]) frontiers.observe(0, frontier)
    expect(frontiers.latest).toEqual([at(10, 3)])
    frontiers.observe(0, at(10, 4))
    expect(frontiers.latest).toEqual([at(10, 4)])
  })

  test('of a source that does not exist is ignored', () => {
    const frontiers = createSourceFrontiers(1, 1)
    frontiers.observe(2, at(10))
    expect(frontiers.latest).toEqual([initialFrontier, initialFrontier])
  })
})

describe('a reader that is behind', () => {
  test('counts what it has observed only after a bounded number of fetches', () => {
    const frontiers = createSourceFrontiers(1, 0)
    for (let round = 1; round <= roundsBehindMax; round++) {
      frontiers.observe(0, at(round))
      frontiers.startRound()
      expect(frontiers.beforeFetch.frontiers).toEqual([initialFrontier])
    }
    frontiers.startRound()
    expect(frontiers.beforeFetch.frontiers).toEqual([at(roundsBehindMax)])
  })

  test('counts it with the next fetch once it has caught up', () => {
    const frontiers = createSourceFrontiers(1, 0)
    frontiers.observe(0, at(5))
    frontiers.startRound()
    expect(frontiers.beforeFetch.frontiers).toEqual([initialFrontier])
    frontiers.setCaughtUp()
    frontiers.startRound()
    expect(frontiers.beforeFetch.frontiers).toEqual([at(5)])
  })
})

test('without news the observed progress stays the same value, so that nothing is reported again', () => {
  const frontiers = createSourceFrontiers(2, 0)
  const before = frontiers.beforeFetch
  for (let round = 0; round < 3 * roundsBehindMax; round++) {
    frontiers.setCaughtUp()
    frontiers.startRound()
  }
  expect(frontiers.beforeFetch).toBe(before)
})

test('a watermark record moves the frontiers of its sources, and its request is counted', () => {
  const frontiers = createSourceFrontiers(2, 1)
  const progress = { retentionWatermark: null, idle: false, idleUpTo: null, caughtUp: false, advancing: false }
  observeWatermark(
    {
      kind: 'watermark',
      sources: [
        { source: 0, watermark: 10, order: 1, ...progress },
        { source: 2, watermark: 7, order: 0, ...progress },
      ],
      observed: [],
      requestsProgress: true,
    },
    frontiers,
  )
  frontiers.setCaughtUp()
  frontiers.startRound()
  expect(frontiers.beforeFetch).toEqual({ frontiers: [at(10, 1), initialFrontier, at(7)], requests: 1 })
})

test('raw inputs of reading tasks are numbered behind the tasks that write to the topic', () => {
  const stage = { rawStreams: [4, 5] } as unknown as Parameters<typeof rawSourceOf>[1]
  expect([0, 1].flatMap((partition) => [0, 1].map((input) => rawSourceOf(3, stage, partition, input)))).toEqual([
    3, 4, 5, 6,
  ])
})
