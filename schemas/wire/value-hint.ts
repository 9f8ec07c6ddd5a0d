/** A value that is not of its field's kind in, what is easily overlooked about it out; called by the codec of events for its messages. */
import type { FieldKind } from '../kernel/event.ts'

const plainNumber = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/
/** Date, hour and minute, second, fraction, the rest. */
const nearlyInstant = /^\d{4}-\d{2}-\d{2}(?:[Tt ](\d{2}:\d{2})(?::(\d{2})(?:\.\d+)?)?(.*))?$/

/** Continues the sentence that says what was expected; empty where that says enough. */
export function valueHint(kind: FieldKind, value: unknown): string {
  if (kind === 'text') return textHint(value)
  if (typeof value !== 'string') return ''
  if (kind === 'flag') return value === 'true' || value === 'false' ? '; this is a flag in quotes' : ''
  if (kind === 'timestamp') return instantHint(value)
  return plainNumber.test(value) ? '; this is a number in quotes' : ''
}

function textHint(value: unknown): string {
  if (typeof value === 'number') return '; this is a number without quotes'
  if (typeof value === 'boolean') return '; this is a flag without quotes'
  return typeof value === 'string' && value.includes('\ufffd') ? '; U+FFFD stands for bytes that were not UTF-8' : ''
}

function instantHint(text: string): string {
  if (/^-?\d+$/.test(text)) return '; this is a number in quotes'
  const found = nearlyInstant.exec(text)
  if (found === null) return ''
  const [, minute, second, zone = ''] = found
  if (minute === undefined) return '; this has no time of day'
  if (second === undefined) return '; this has no seconds'
  if (second === '60') return '; a leap second has no milliseconds of its own, 59 is the last'
  if (zone === '') return '; this has no zone, such as Z or +02:00'
  if (/^(?:[Zz]|[+-]\d{2}:\d{2})$/.test(zone)) return '; there is no such day or time'
  return '; its zone is to be Z or as in +02:00, with nothing after it'
}
