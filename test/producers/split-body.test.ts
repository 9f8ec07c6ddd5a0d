import fc from 'fast-check'
import { expect, test } from 'vitest'
import { splitBody } from '../../producers/split-body.ts'

const seed = 20261125
const blank = fc.constantFrom('', ' ', '\n', '\r\n\t ')

test('a JSON array is split into its elements, as they are written', () => {
  const element = fc.tuple(blank, fc.jsonValue({ maxDepth: 3 }), blank)
  fc.assert(
    fc.property(fc.array(element, { minLength: 1, maxLength: 8 }), blank, (elements, around) => {
      const texts = elements.map(([, value]) => JSON.stringify(value, null, 1))
      const body = `${around}[${elements.map(([before, , after], i) => `${before}${texts[i]}${after}`).join(',')}]${around}`
      const split = splitBody(Buffer.from(body), 'whole', 8)
      expect(split.kind === 'events' && split.events.map(String)).toEqual(texts)
      expect(splitBody(Buffer.from(body), 'whole', elements.length - 1)).toEqual({ kind: 'too many' })
    }),
    { seed, numRuns: 1_000 },
  )
})

test('lines are split into those that are not empty', () => {
  const line = fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.stringify(value))
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.option(line, { nil: '' }), fc.constantFrom('\n', '\r\n')), { maxLength: 8 }),
      (given) => {
        const split = splitBody(Buffer.from(given.flat().join('')), 'lines', 8)
        expect(split.kind === 'events' && split.events.map(String)).toEqual(
          given.map(([text]) => text).filter((text) => text !== ''),
        )
      },
    ),
    { seed, numRuns: 500 },
  )
  expect(splitBody(Buffer.from('1\n2\n3'), 'lines', 2)).toEqual({ kind: 'too many' })
})

test('anything else is one event, byte for byte', () => {
  for (const body of [' {"a":[1,2]} ', '"[,]"', 'no', '\u00c3\u0001\n']) {
    expect(splitBody(Buffer.from(body, 'latin1'), 'whole', 1)).toEqual({
      kind: 'events',
      events: [Buffer.from(body, 'latin1')],
    })
  }
  expect(splitBody(Buffer.from('\ufeff \n'), 'whole', 1)).toEqual({ kind: 'events', events: [] })
})
