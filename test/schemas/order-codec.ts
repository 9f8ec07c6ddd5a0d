/** A codec of events with a field of every kind, sound bytes for it, and its rejections as lines, for the tests of this room. */

import type { FieldPlan, Problem } from '../../schemas/kernel/event.ts'
import { createEventCodec } from '../../schemas/wire/event-codec.ts'
import { createSingleObjectCodec } from '../../schemas/wire/single-object.ts'

export const fields: readonly FieldPlan[] = [
  { name: 'id', kind: 'text', optional: false, lengthMax: 8 },
  { name: 'note', kind: 'text', optional: true, lengthMax: 8 },
  { name: 'ratio', kind: 'number', optional: true },
  { name: 'amount', kind: 'number', optional: false, min: 0, decimals: 2 },
  { name: 'pieces', kind: 'integer', optional: true, min: -5, max: 5 },
  { name: 'total', kind: 'integer', optional: true },
  { name: 'at', kind: 'timestamp', optional: false },
  { name: 'gift', kind: 'flag', optional: true },
]
export const codec = createEventCodec('orders', 'millrace.shop', fields)

export const sound = {
  id: 'a1',
  note: 'hi',
  ratio: 0.1,
  amount: 12.34,
  pieces: 3,
  total: 9,
  at: 1_525_132_800_000,
  gift: true,
}
export const json = (value: unknown) => Buffer.from(JSON.stringify(value))
/** JSON text with `text` in place of the field's value, for what `JSON.stringify` cannot print. */
export const withText = (field: string, text: string) =>
  Buffer.from(JSON.stringify({ ...sound, [field]: '@' }).replace('"@"', () => text))

/** As any producer would write it, with no check on its side. */
const plain = createSingleObjectCodec(codec.schemas as ReadonlyMap<string, Readonly<Record<string, unknown>>>)
export const avroOf = (change: object) => plain.encode('orders', { ...sound, ...change })

export function problemsOf(found: ReturnType<typeof codec.decode>): readonly Problem[] {
  return found.ok ? [] : found.problems
}
export const lines = (found: ReturnType<typeof codec.decode>) =>
  problemsOf(found).map(({ path, code, expected, received }) => `${path} ${code}: ${expected}; ${received}`)

export const expectedOf = {
  id: 'text of 1 to 8 characters in valid UTF-8',
  note: 'text of 1 to 8 characters in valid UTF-8',
  ratio: 'a finite number',
  amount: 'a finite number >= 0 with at most 2 decimals',
  pieces: 'a whole number within 2^53 from -5 to 5',
  total: 'a whole number within 2^53',
  at: 'an RFC 3339 instant with zone or whole milliseconds since 1970, up to the year 9999',
  gift: 'true or false',
} as const
export type Field = keyof typeof expectedOf
