import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { showValue } from '../../schemas/kernel/show-value.ts'

const seed = 20260812
const circle: Record<string, unknown> = { name: 'circle' }
circle.self = circle

describe('a value as text', () => {
  test.each<[unknown, string]>([
    ['plain', 'plain'],
    ['', ''],
    [1.5, '1.5'],
    [-0, '-0'],
    [Number.NaN, 'NaN'],
    [Number.POSITIVE_INFINITY, 'Infinity'],
    [10n, '10'],
    [true, 'true'],
    [null, 'null'],
    [undefined, 'undefined'],
    [() => 1, 'a function'],
    [Symbol('s'), 'Symbol(s)'],
    [[1, 'a', null, [true]], '[1,"a",null,[true]]'],
    [{ a: 1, 'b"': { c: 'x' } }, '{"a":1,"b\\"":{"c":"x"}}'],
    [new Date(0), '1970-01-01T00:00:00.000Z'],
    [new Date(Number.NaN), 'an invalid Date'],
    [Buffer.from('abc'), '3 bytes'],
    [new Float64Array(2), '16 bytes'],
    [Object.create(null), '{}'],
    [[[[[[[[[[1]]]]]]]]], '[[[[[[[[…]]]]]]]]'],
    ['x'.repeat(120), 'x'.repeat(120)],
    ['x'.repeat(121), `${'x'.repeat(120)}… (121 characters)`],
    [`${'x'.repeat(119)}🙂`, `${'x'.repeat(119)}\ufffd… (121 characters)`],
    ['\ud83d', '\ufffd'],
    [circle, `${'{"name":"circle","self":'.repeat(5)}…`],
  ])('%#', (value, text) => {
    expect(showValue(value)).toBe(text)
  })

  test('is short and well formed for any value, however deep or wide', () => {
    fc.assert(
      fc.property(fc.anything({ maxDepth: 12, withBigInt: true, withDate: true, withTypedArray: true }), (value) => {
        const text = showValue(value)
        expect(text.length).toBeLessThan(150)
        expect(text.isWellFormed()).toBe(true)
      }),
      { seed, numRuns: 1_000 },
    )
    let deep: unknown = 1
    for (let i = 0; i < 200_000; i++) deep = [deep]
    expect(showValue(deep)).toBe('[[[[[[[[…]]]]]]]]')
    expect(showValue(new Array(1_000_000).fill(7))).toBe(`[${'7,'.repeat(59)}7…`)
  })
})
