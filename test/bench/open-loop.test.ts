import { expect, test } from 'vitest'
import { openLoopFigures, warmUpSeconds } from '../../bench/open-loop.ts'

const beganAtMs = 1_000_000
const rate = 10
const lag = (p99: number) => ({ p50: 0, p99, p999: p99, max: p99 })

/** Events 0 to 99, each received so many ms after it was due. */
function received(latencyMs: (number: number) => number) {
  const numbers = new Map(Array.from({ length: 100 }, (_, number) => [`id ${number}`, number] as const))
  const at = new Map([...numbers].map(([id, number]) => [id, beganAtMs + number * 100 + latencyMs(number)] as const))
  return { numbers, at }
}

test('latencies count from the schedule, those of the warm-up not at all', () => {
  const warmUpEvents = rate * warmUpSeconds
  const { numbers, at } = received((number) => (number < warmUpEvents ? 5_000 : number === 99 ? 50 : 7))
  expect(openLoopFigures(numbers, at, { beganAtMs, sendLagMs: lag(3) }, rate)).toEqual({
    latencyMs: { p50: 7, p99: 50, p999: 50, max: 50 },
    eventsPerSecond: (50 * 1_000) / 4_950,
    sendLagMs: lag(3),
    fromMs: beganAtMs + 5_000,
    untilMs: beganAtMs + 9_950,
    invalid: null,
  })
})

test('a stall is seen by every event that was due meanwhile', () => {
  const { numbers, at } = received((number) => (number >= 60 && number < 70 ? (70 - number) * 100 : 1))
  const { latencyMs } = openLoopFigures(numbers, at, { beganAtMs, sendLagMs: lag(3) }, rate)
  expect(latencyMs).toEqual({ p50: 1, p99: 1_000, p999: 1_000, max: 1_000 })
})

test('events of other streams take numbers of the schedule, and are not waited for', () => {
  const numbers = new Map([['a', 55]])
  const at = new Map([['a', beganAtMs + 5_512]])
  expect(openLoopFigures(numbers, at, { beganAtMs, sendLagMs: lag(3) }, rate).latencyMs.max).toBe(12)
})

test('a generator that was late makes the run invalid', () => {
  const { numbers, at } = received(() => 1)
  expect(openLoopFigures(numbers, at, { beganAtMs, sendLagMs: lag(101) }, rate).invalid).toBe(
    'the load generator did not keep the schedule: 101 ms late at p99 (limit 100 ms)',
  )
})

test('without an event after the warm-up there is nothing to measure', () => {
  const numbers = new Map([['a', 3]])
  const at = new Map([['a', beganAtMs]])
  expect(() => openLoopFigures(numbers, at, { beganAtMs, sendLagMs: lag(3) }, rate)).toThrow('within the warm-up')
})
