/** What the tests of the sources share: a stream to read, its options, and everything that a source gives in one list. */
import type { SourceEvent } from '../../producers/prepare.ts'
import type { RowOptions } from '../../producers/table.ts'
import type { EventValues, FieldPlan } from '../../schemas/kernel/event.ts'
import { createEventCodec } from '../../schemas/wire/event-codec.ts'

const fields: readonly FieldPlan[] = [
  { name: 'id', kind: 'text', optional: false },
  { name: 'amount', kind: 'number', optional: false },
  { name: 'at', kind: 'timestamp', optional: false },
  { name: 'note', kind: 'text', optional: true },
  { name: 'count', kind: 'integer', optional: true },
  { name: 'first', kind: 'flag', optional: true },
]
export const sales = { name: 'sales', fields }
const codec = createEventCodec('sales', 'test', fields)

export function rowOptions(more: Partial<RowOptions> = {}): RowOptions {
  return { sourceName: 'f', streams: [sales], stream: 'sales', map: new Map(), printLine: () => undefined, ...more }
}

export async function* inPieces(text: string | Buffer, bytes: number): AsyncGenerator<Buffer> {
  const whole = Buffer.from(text)
  for (let from = 0; from < whole.length; from += bytes) yield whole.subarray(from, from + bytes)
}

export async function all(chunks: AsyncIterable<readonly SourceEvent[]>): Promise<SourceEvent[]> {
  const events: SourceEvent[] = []
  for await (const chunk of chunks) events.push(...chunk)
  return events
}

/** A good event's values as they would be sent, a bad one's location and problems. */
export function checked(event: SourceEvent): EventValues | string {
  const problemsText = (problems: readonly { path: string; code: string }[]) =>
    `${event.location} ${problems.map(({ path, code }) => `${path} ${code}`).join(', ')}`
  if ('problems' in event) return problemsText(event.problems)
  if ('leftOut' in event) return `${event.location} left out`
  const result = codec.check(event.values, { fromText: event.isText ?? false })
  return result.ok ? result.event : problemsText(result.problems)
}
