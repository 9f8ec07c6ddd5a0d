/** Events in rows of columns: the same values as by name, and never another verdict than the slower way's. */
import { describe, expect, test } from 'vitest'
import type { EventValues, FieldPlan } from '../../schemas/kernel/event.ts'
import { createEventCodec } from '../../schemas/wire/event-codec.ts'
import { createRows, type EventRows, isSameText, putEvent } from '../../schemas/wire/event-rows.ts'
import { createRandom, type Random } from '../../testing/random.ts'
import { mutated } from './mutated.ts'

const inputs = Number(process.env.FUZZ_INPUTS ?? 6_000)
const firstSeed = Number(process.env.FUZZ_SEED ?? 20261130)

const fields: readonly FieldPlan[] = [
  { name: 'id', kind: 'text', optional: false },
  { name: 'at', kind: 'timestamp', optional: false },
  { name: 'amount', kind: 'number', optional: false, min: 0, decimals: 2 },
  { name: 'note', kind: 'text', optional: true, lengthMax: 5 },
  { name: 'paid', kind: 'flag', optional: false },
  { name: 'ratio', kind: 'number', optional: true, max: 1e9 },
  { name: 'pieces', kind: 'integer', optional: true, min: -70_000_000_000, max: 2 ** 53 - 1 },
  { name: 'gift', kind: 'flag', optional: true },
  { name: 'due', kind: 'timestamp', optional: true, min: -1e12, max: 2e12 },
]
const codec = createEventCodec('orders', 'millrace.shop', fields)

const texts = ['a', 'tx-1', 'long-ago', '7', 'ä', '\u{1f600}', '\ufffd', 'a\0b', 'x'.repeat(256), 'x'.repeat(257)]
const numbers = [0, -0, 1, 12.34, 0.1 + 0.2, -5, 1e15, 1e300, Number.MAX_SAFE_INTEGER, 2 ** 52 + 1, 5e-324]
const wholes = [
  0,
  -1,
  63,
  64,
  -64,
  -65,
  8_192,
  2 ** 31,
  2 ** 52,
  2 ** 53 - 1,
  -(2 ** 52) - 1,
  1_700_000_000_000,
  253_402_300_799_999,
]

const plain = {
  id: 'a',
  at: 1.7e12,
  amount: 1,
  note: null,
  paid: true,
  ratio: null,
  pieces: null,
  gift: null,
  due: null,
}

/** What avsc can write, valid or not. */
function anyEvent(random: Random): EventValues {
  const anyValue = ({ kind }: FieldPlan) => {
    if (kind === 'text') return random.pick(texts)
    if (kind === 'flag') return random.below(2) === 1
    return kind === 'number' ? random.pick(numbers) : random.pick(wholes)
  }
  return Object.fromEntries(
    fields.map((field) => [field.name, field.optional && random.below(3) === 0 ? null : anyValue(field)]),
  )
}

const byName = (rows: EventRows, row: number) => {
  const view = rows.layout.view(rows, row)
  return Object.fromEntries(fields.map(({ name }) => [name, view[name]]))
}

/** Text beyond ASCII and numbers of more than 53 bits with their sign take the slower way. */
const isUncommon = (event: EventValues) =>
  Object.values(event).some((value) =>
    typeof value === 'string'
      ? /[^\0-\x7f]/.test(value)
      : Number.isInteger(value) && Math.abs(value as number) >= 2 ** 52,
  )

describe('a row', () => {
  test('has the values of the event that was put into it, whatever they are', () => {
    const event = {
      id: 'ä',
      at: 5,
      amount: 1.5,
      note: null,
      paid: true,
      ratio: null,
      pieces: 3,
      gift: false,
      due: null,
    }
    const rows = createRows(codec.layout, 2, Buffer.alloc(0))
    putEvent(rows, 0, { ...event, id: 'other' })
    putEvent(rows, 1, event)
    expect(byName(rows, 1)).toEqual(event)
    expect(Object.keys(rows.layout.view(rows, 1))).toEqual([])
  })

  test(`is decoded as the slower way decodes it, or left to it (seed ${firstSeed})`, () => {
    const random = createRandom(firstSeed)
    const seen = { fast: 0, slow: 0, valid: 0 }
    for (let input = 0; input < inputs; input++) {
      const whole = codec.encode(anyEvent(random))
      const isMutated = random.below(2) === 0
      const value = isMutated ? mutated(Buffer.from(whole), random) : whole
      const before = random.below(20)
      const bytes = Buffer.concat([Buffer.alloc(before, 0xc3), value, Buffer.alloc(random.below(20), 0x01)])
      const rows = createRows(codec.layout, 2, bytes)
      const isFast = codec.decodeRow(rows, before, before + value.length, 1)
      const decoded = codec.decode(value)
      const text = value.toString('hex')
      if (isFast) expect([text, byName(rows, 1)]).toEqual([text, decoded.ok ? decoded.event : decoded.problems])
      if (isFast) seen.fast++
      else if (decoded.ok) {
        expect([text, isMutated || isUncommon(decoded.event)]).toEqual([text, true])
        seen.slow++
      }
      if (decoded.ok) seen.valid++
    }
    expect(seen.fast).toBeGreaterThan(inputs / 100)
    expect(seen.slow).toBeGreaterThan(inputs / 1_000)
    expect(seen.valid).toBe(seen.fast + seen.slow)
  })
})

test('texts are compared where they lie, or as text where one of them was made', () => {
  const sent = codec.encode({ ...plain, id: 'tx-1', note: 'ab' })
  const other = codec.encode({ ...plain, id: 'tx-2', note: 'ab' })
  const [rows, others] = [createRows(codec.layout, 2, sent), createRows(codec.layout, 2, other)]
  expect([codec.decodeRow(rows, 0, sent.length, 0), codec.decodeRow(others, 0, other.length, 1)]).toEqual([true, true])
  putEvent(rows, 1, { ...plain, id: 'tx-2', note: 'ä' })
  // Two texts a row: id, then note.
  expect(isSameText(rows, 0, others, 2)).toBe(false)
  expect(isSameText(rows, 1, others, 3)).toBe(true)
  expect(isSameText(rows, 2, others, 2)).toBe(true)
  expect(isSameText(rows, 3, others, 3)).toBe(false)
})
