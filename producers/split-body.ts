/**
 * The body of a request in, the bytes of each of its events out; called by the HTTP intake. The bytes are left unchanged, so that each
 * event is decoded as one from Kafka, and an invalid event is kept as it was sent. Pure.
 */
import type { Problem } from '../schemas/kernel/event.ts'
import { problem } from '../schemas/wire/event-codec.ts'
import { depthChange, endOfText } from '../schemas/wire/repeated-members.ts'

/** `lines`: one JSON object a line. `whole`: one event, or a JSON array of events. */
export type BodyKind = 'lines' | 'whole'

export type SplitBody =
  | { readonly kind: 'events'; readonly events: readonly Buffer[] }
  | { readonly kind: 'too many' }
  /** The body is not a list of events. */
  | { readonly kind: 'unreadable'; readonly problem: Problem }

const newline = 0x0a
const comma = 0x2c
const quote = 0x22
const openList = 0x5b
const closeList = 0x5d
const byteOrderMark = Buffer.from('efbbbf', 'hex')

export function splitBody(body: Buffer, kind: BodyKind, eventsMax: number): SplitBody {
  const bytes = body.subarray(0, 3).equals(byteOrderMark) ? body.subarray(3) : body
  if (kind === 'lines') return splitLines(bytes, eventsMax)
  const text = trimmed(bytes, 0, bytes.length)
  if (text[0] === openList) return splitList(text, eventsMax)
  return { kind: 'events', events: text.length === 0 ? [] : [body] }
}

/** Empty lines are skipped. */
function splitLines(bytes: Buffer, eventsMax: number): SplitBody {
  const events: Buffer[] = []
  for (let from = 0; from < bytes.length; ) {
    const found = bytes.indexOf(newline, from)
    const end = found === -1 ? bytes.length : found
    const line = trimmed(bytes, from, end)
    if (line.length > 0 && events.push(line) > eventsMax) return { kind: 'too many' }
    from = end + 1
  }
  return { kind: 'events', events }
}

/** Splits at the commas only; the codec validates each part, so that one invalid event does not affect the others. */
function splitList(text: Buffer, eventsMax: number): SplitBody {
  const events: Buffer[] = []
  let depth = 1
  let from = 1
  for (let at = 1; at < text.length; at++) {
    const byte = text[at]!
    if (byte === quote) at = endOfText(text, at)
    else if (byte === comma && depth === 1) {
      if (events.push(trimmed(text, from, at)) > eventsMax) return { kind: 'too many' }
      from = at + 1
    } else if (depthChange(byte) !== 0) {
      depth += depthChange(byte)
      if (depth > 0) continue
      if (byte !== closeList || at !== text.length - 1) break
      const last = trimmed(text, from, at)
      if (events.length > 0 || last.length > 0) events.push(last)
      return events.length > eventsMax ? { kind: 'too many' } : { kind: 'events', events }
    }
  }
  const expected = 'a JSON array of events that is closed, and nothing after it'
  return { kind: 'unreadable', problem: problem('', 'not_json', expected, text.subarray(0, 1_000).toString()) }
}

function trimmed(bytes: Buffer, start: number, end: number): Buffer {
  while (start < end && isBlank(bytes[start]!)) start++
  while (end > start && isBlank(bytes[end - 1]!)) end--
  return bytes.subarray(start, end)
}

/** White space by JSON's grammar. */
function isBlank(byte: number): boolean {
  return byte === 0x20 || byte === newline || byte === 0x0d || byte === 0x09
}
