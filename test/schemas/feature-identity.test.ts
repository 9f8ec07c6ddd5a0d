import { transformSync } from 'esbuild'
import { describe, expect, test } from 'vitest'
import {
  count,
  type Definition,
  definePipeline,
  derive,
  type Feature,
  type Features,
  mean,
} from '../../schemas/definition/definition.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { literalsIn } from '../../schemas/plan/literals.ts'
import { buyer, orders, shop, sound } from './shop-definition.ts'

const { amount, pieces, note, at } = orders.fields
const identities = (change: Partial<Definition<Features>>) =>
  new Map(compile(definePipeline({ ...sound, ...change })).features.map(({ name, identity }) => [name, identity]))
const identityOf = (feature: Feature) => identities({ features: { ...sound.features, it: feature } }).get('it')

describe('the identity of a feature', () => {
  const before = identities({})

  test('stays while others are added, changed, renamed or removed, and with the version', () => {
    const { perPiece: _, ...others } = sound.features
    const after = identities({
      version: 2,
      features: {
        added: count(orders, { by: shop, over: '90d' }),
        ...others,
        renamed: sound.features.buyerMean7d,
        amount: derive([amount], (value) => value * 2),
      },
    })
    for (const name of ['gift', 'buyerCount1d', 'buyerMean7d', 'shopReturns30d'])
      expect([name, after.get(name)]).toEqual([name, before.get(name)])
    expect(after.get('renamed')).toBe(before.get('buyerMean7d'))
    expect(after.get('amount')).not.toBe(before.get('amount'))
  })

  test('stays with layout, comments, names of parameters and the spelling of numbers', () => {
    const first = identityOf(derive([amount, pieces], (a, b) => (a > 1_000 ? a / b : 0.5)))
    const second = identityOf(
      derive([amount, pieces], (total, n) => {
        // Large orders only: 17.
        return total > 1e3 ? total / n : 0.5
      }),
    )
    // A block and an expression are one meaning.
    expect(second).toBe(first)
  })

  const limited = (limit: number) => derive([amount], (value) => (value > limit ? 1 : 0))
  const homed = (home: string) => derive([note], (value) => (value === home ? 1 : 0))
  test.each<[string, Feature, Feature]>([
    ['a window', count(orders, { by: buyer, over: '1d' }), count(orders, { by: buyer, over: '2d' })],
    ['a lag', count(orders, { by: buyer, over: '1d' }), count(orders, { by: buyer, over: '1d', lag: '1h' })],
    ['a field', mean(amount, { by: buyer, over: '1d' }), mean(pieces, { by: buyer, over: '1d' })],
    ['the key', count(orders, { by: buyer, over: '1d' }), count(orders, { by: shop, over: '1d' })],
    ['an input', derive([amount], (a) => a), derive([pieces], (a) => a)],
    [
      'a number in the function',
      derive([amount], (a) => (a > 220 ? 1 : 0)),
      derive([amount], (a) => (a > 230 ? 1 : 0)),
    ],
    ['a number far out', derive([amount], (a) => (a > 5e10 ? 1 : 0)), derive([amount], (a) => (a > 6e10 ? 1 : 0))],
    [
      'a text in the function',
      derive([note], (a) => (a === 'DE' ? 1 : 0)),
      derive([note], (a) => (a === 'FR' ? 1 : 0)),
    ],
    ['a number outside the function', limited(220), limited(230)],
    ['a large number outside the function', limited(41_000), limited(41_500)],
    [
      'an hour',
      derive([at], (ms) => (new Date(ms).getUTCHours() < 6 ? 1 : 0)),
      derive([at], (ms) => (new Date(ms).getUTCHours() < 7 ? 1 : 0)),
    ],
    ['the order of operands', derive([amount, pieces], (a, b) => a - b), derive([amount, pieces], (a, b) => b - a)],
  ])('changes with %s', (_, one, other) => {
    expect(identityOf(one)).not.toBe(identityOf(other))
  })

  test('does not see a text outside the function that no probe has: decision 45', () => {
    expect(identityOf(homed('DE'))).toBe(identityOf(homed('FR')))
  })
})

test('literals of a function are its numbers and texts, as values', () => {
  const text = String.raw`(a1, $2) => { // 7 "no"
    /* 8 */ const x3 = a1 > 1_000 ? 'it\'s' : "two" + ${'`three`'}; return x3.length * .5 + 0x10 - 1e-3 + a1.b2 }`
  expect(literalsIn(text)).toEqual([1_000, "it's", 'twothree', 0.5, 16, 0.001])
})

test.each([
  '(a) => (a === undefined ? 1 : 2)',
  '(a) => (a === "x" + "y" || a === `z$' + '{a+1_000}` + "q" ? 1 : 2)',
  String.raw`(a) => (a === '\u00e9\t\x41' || a === 'é' || a === "it's" ? 1 : 2)`,
  "(a) => { const isOne = (x, y) => x === y; return isOne(a, 'US') ? 1 : 0 }",
  "(a) => { function isOne(x, y) { return x === y } return isOne(isOne(a, 'US'), 'DE') ? 1 : 0 }",
])('literals of %s are the same as Node, tsx and the build have it', async (source) => {
  const literals = literalsIn(source)
  expect(literals.length).toBeGreaterThan(1)
  for (const options of [{ keepNames: true, minifyWhitespace: true }, {}, { charset: 'utf8' as const }]) {
    const { code } = transformSync(`export default ${source}`, { loader: 'ts', ...options })
    const compiled: { readonly default: unknown } = await import(`data:text/javascript,${encodeURIComponent(code)}`)
    expect(literalsIn(String(compiled.default))).toEqual(literals)
  }
})
