import { expect, test } from 'vitest'
import { createSchedule } from '../../producers/pace.ts'

test('flat out, everything is due at once', () => {
  const schedule = createSchedule({ kind: 'flat out' })
  expect([schedule(0, 5_000), schedule(1_000_000, 9_000)]).toEqual([Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY])
})

test('by rate, events are evenly spaced regardless of their time', () => {
  const schedule = createSchedule({ kind: 'rate', eventsPerSecond: 2_000 })
  expect([schedule(0, 9), schedule(1, 9), schedule(2_000, 1), schedule(1_000_001, 7)]).toEqual([
    0, 0.5, 1_000, 500_000.5,
  ])
})

test('by event time, an hour of events takes a second at a speed of 3,600', () => {
  const schedule = createSchedule({ kind: 'event time', speed: 3_600 })
  const firstMs = Date.UTC(2018, 3, 1)
  expect([schedule(0, firstMs), schedule(1, firstMs + 1_800_000), schedule(2, firstMs + 3_600_000)]).toEqual([
    0, 500, 1_000,
  ])
})

test('by event time, what is earlier than the first event is due before the start', () => {
  const schedule = createSchedule({ kind: 'event time', speed: 1 })
  expect([schedule(0, 5_000), schedule(1, 4_000), schedule(2, 6_000)]).toEqual([0, -1_000, 1_000])
})

test.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])('a pace of %d is a mistake of the caller', (wrong) => {
  expect(() => createSchedule({ kind: 'rate', eventsPerSecond: wrong })).toThrow('events a second')
  expect(() => createSchedule({ kind: 'event time', speed: wrong })).toThrow('event seconds a second')
})
