import { describe, expect, test } from 'vitest'
import { cpuSecondsAt, middleRates, type Usage } from '../../bench/middle.ts'

const usage = (atMs: number, cpuSeconds: number): Usage => ({ atMs, cpuSeconds, residentBytes: 1 })

describe('the middle 80 % of a backlog', () => {
  test('leaves out a slow start and a slow end, of wall time and of CPU time', () => {
    // 10 events in 10 s, 80 in 4 s, 10 in 20 s.
    const appended = [
      ...Array.from({ length: 10 }, (_, i) => i * 1_000),
      ...Array.from({ length: 80 }, (_, i) => 10_000 + i * 50),
      ...Array.from({ length: 10 }, (_, i) => 14_000 + i * 2_000),
    ]
    const usages = [usage(-1_000, 0), usage(10_000, 9), usage(14_000, 11), usage(33_000, 12)]
    expect(middleRates(Float64Array.from(appended), usages)).toEqual({ eventsPerSecond: 20, eventsPerCpuSecond: 40 })
  })

  test('does not depend on the order in which partitions were read', () => {
    const appended = Array.from({ length: 100 }, (_, i) => i * 10)
    const usages = [usage(0, 0), usage(1_000, 1)]
    expect(middleRates(Float64Array.from(appended.toReversed()), usages)).toEqual(
      middleRates(Float64Array.from(appended), usages),
    )
  })

  test('of events that came at one instant, and of none, there is no rate', () => {
    const usages = [usage(0, 0), usage(10, 1)]
    expect(middleRates(new Float64Array(1_000).fill(5), usages)).toBeNull()
    expect(middleRates(new Float64Array(0), usages)).toBeNull()
  })
})

describe('CPU time at an instant', () => {
  const usages = [usage(100, 1), usage(200, 3), usage(300, 4)]

  test.each([
    [100, 1],
    [150, 2],
    [200, 3],
    [275, 3.75],
    [300, 4],
  ])('%d ms: %d s', (atMs, expected) => {
    expect(cpuSecondsAt(usages, atMs)).toBe(expected)
  })

  test('is not guessed beyond what was seen', () => {
    expect(() => cpuSecondsAt(usages, 99)).toThrow('no usage is known on both sides of 99')
    expect(() => cpuSecondsAt(usages, 301)).toThrow('no usage is known on both sides of 301')
    expect(() => cpuSecondsAt([], 1)).toThrow('no usage')
  })
})
