import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { durationMaxMs, formatDuration, parseDuration } from '../../schemas/kernel/duration.ts'

const seed = 20260811

describe('durations', () => {
  test.each([
    ['0s', 0],
    ['500ms', 500],
    ['90s', 90_000],
    ['15m', 900_000],
    ['12h', 43_200_000],
    ['7d', 604_800_000],
    ['1.5d', 129_600_000],
    ['1.005s', 1_005],
    ['0.000001d', null],
    ['0.25s', 250],
    ['36525d', durationMaxMs],
    ['3155760000000ms', durationMaxMs],
    ['3155760000001ms', null],
    ['36525.1d', null],
    ['0.5ms', null],
    ['999999999999.000001ms', null],
    ['1.0005s', null],
    ['-1d', null],
    ['+1d', null],
    ['1 d', null],
    ['1D', null],
    ['1w', null],
    ['1', null],
    ['d', null],
    ['.5d', null],
    ['1.d', null],
    ['1e3s', null],
    ['0x10s', null],
    ['1d ', null],
    ['1d\n', null],
    ['', null],
    ['1d12h', null],
    ['undefined', null],
  ])('%j is %s ms', (text, ms) => {
    expect(parseDuration(text)).toBe(ms)
  })

  test.each([
    [0, '0ms'],
    [1, '1ms'],
    [1_000, '1s'],
    [1_001, '1001ms'],
    [90_000, '90s'],
    [86_400_000, '1d'],
    [129_600_000, '36h'],
    [604_800_000, '7d'],
  ])('%d ms is %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text)
  })

  test('what is printed is read as the same', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: durationMaxMs }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBe(ms)
      }),
      { seed, numRuns: 2_000 },
    )
  })

  test('a decimal number of a unit is exact or none, compared with arbitrary-precision integers', () => {
    const units = { ms: 1n, s: 1_000n, m: 60_000n, h: 3_600_000n, d: 86_400_000n } as const
    const unit = fc.constantFrom(...(Object.keys(units) as Array<keyof typeof units>))
    const digits = fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: 1, maxLength: 6 })
    fc.assert(
      fc.property(fc.nat(40_000), digits, unit, (whole, fraction, unit) => {
        const scale = 10n ** BigInt(fraction.length)
        const scaled = (BigInt(whole) * scale + BigInt(fraction)) * units[unit]
        const expected =
          scaled % scale === 0n && scaled / scale <= BigInt(durationMaxMs) ? Number(scaled / scale) : null
        expect(parseDuration(`${whole}.${fraction}${unit}`)).toBe(expected)
      }),
      { seed, numRuns: 5_000 },
    )
  })

  test('any text is a duration or null, never an exception', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const ms = parseDuration(text)
        expect(ms === null || (Number.isInteger(ms) && ms >= 0 && ms <= durationMaxMs)).toBe(true)
      }),
      { seed, numRuns: 1_000 },
    )
  })
})
