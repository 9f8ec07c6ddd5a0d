/**
 * Bytes of a text with one JSON object a line in, chunks of source events out; called by `millrace produce` for files and standard input.
 * A malformed line becomes an event with problems and its line number, and reading continues.
 */
import type { Problem } from '../schemas/kernel/event.ts'
import { isRecord } from '../schemas/kernel/report.ts'
import { quoteValue, showValue } from '../schemas/kernel/show-value.ts'
import { problem, valueFromText } from '../schemas/wire/event-codec.ts'
import { jsonFault } from '../schemas/wire/json-fault.ts'
import { repeatedMembers } from '../schemas/wire/repeated-members.ts'
import { type CellOptions, type CellReader, createCellReader, isFault } from './cells.ts'
import { decodedText } from './decode-text.ts'
import type { SourceEvent } from './prepare.ts'
import type { RowOptions } from './table.ts'

export interface JsonLinesOptions {
  /** Name of the source, for messages. */
  readonly sourceName: string
  /** Stream of every line; null: each line names its own in `stream`. */
  readonly stream: string | null
  /** Names in the lines by names of fields, or by `stream.field`, where they differ. */
  readonly map?: ReadonlyMap<string, string>
  /** How texts are read; as they are by default. */
  readonly cells?: CellOptions
  /** Null: UTF-8, or as a byte order mark says. */
  readonly encoding?: string | null
  /** With the fields that texts are read for. */
  readonly streams?: RowOptions['streams']
  readonly lineBytesMax?: number
}

const lineBytesMaxDefault = 1_048_576
const newline = 0x0a
const carriageReturn = 0x0d

/** Line numbers start at 1; empty lines are skipped. Never holds more than one piece of the input and one line. */
export async function* jsonLines(
  bytes: AsyncIterable<Buffer>,
  options: JsonLinesOptions,
): AsyncGenerator<SourceEvent[], void, void> {
  const { sourceName, stream, map = new Map(), lineBytesMax = lineBytesMaxDefault } = options
  const utf8 = new TextDecoder('utf-8', { fatal: true })
  let line = 0
  /** The start of a line whose end has not been read yet. Of a line that is too long only the length is kept. */
  let pending: Buffer[] = []
  let pendingBytes = 0

  function add(piece: Buffer): void {
    pendingBytes += piece.length
    if (pendingBytes > lineBytesMax) pending = []
    else if (piece.length > 0) pending.push(piece)
  }

  function takeLine(): SourceEvent | null {
    line++
    const [whole, lineBytes] = [Buffer.concat(pending), pendingBytes]
    pending = []
    pendingBytes = 0
    const location = `${sourceName}, line ${line}`
    if (lineBytes > lineBytesMax) {
      return {
        location,
        problems: [problem('', 'length', `a line of at most ${lineBytesMax} bytes`, `${lineBytes} bytes`)],
      }
    }
    const end = whole.at(-1) === carriageReturn ? whole.length - 1 : whole.length
    return end === 0 ? null : parseLine(whole.subarray(0, end), location)
  }

  function parseLine(text: Buffer, location: string): SourceEvent {
    let values: unknown
    try {
      values = JSON.parse(utf8.decode(text))
    } catch (error) {
      const { hint, received } = jsonFault(text, error)
      const problems = [problem('', 'not_json', `a JSON object in UTF-8${hint}`, received)]
      return { location, problems, text: text.toString() }
    }
    const repeated = repeatedNames(text, values)
    if (repeated.length > 0) return { location, problems: repeated, text: text.toString() }
    const named = stream ?? (values as { stream?: unknown } | null)?.stream
    if (typeof named === 'string') return withCells(renamed(values, named, map), named, { location, reader, options })
    const received = named === undefined ? 'nothing' : quoteValue(named)
    const problems = [problem('/stream', 'missing', 'the name of the stream (or --stream)', received)]
    return { location, problems, text: text.toString() }
  }

  const reader = options.cells ? createCellReader(options.cells) : null
  for await (const piece of decodedText(bytes, options.encoding ?? null)) {
    const events: SourceEvent[] = []
    let from = 0
    for (;;) {
      const end = piece.indexOf(newline, from)
      if (end === -1) break
      add(piece.subarray(from, end))
      from = end + 1
      const event = takeLine()
      if (event) events.push(event)
    }
    // A copy: the source may reuse the buffer, and a short remainder would otherwise keep all of it in memory.
    add(Buffer.from(piece.subarray(from)))
    if (events.length > 0) yield events
  }
  const last = pendingBytes > 0 ? takeLine() : null
  if (last) yield [last]
}

/** Texts are read as those of cells are, where options say how. */
function withCells(
  values: unknown,
  stream: string,
  { location, reader, options }: { location: string; reader: CellReader | null; options: JsonLinesOptions },
): SourceEvent {
  const target = options.streams?.find(({ name }) => name === stream)
  if (reader === null || target === undefined || typeof values !== 'object' || values === null)
    return { stream, values, location }
  const read: Record<string, unknown> = { ...values }
  const problems: Problem[] = []
  for (const field of target.fields) {
    const text = read[field.name]
    if (typeof text !== 'string') continue
    const value = reader.read(text, field)
    if (isFault(value)) problems.push(problem(`/${field.name}`, 'type', value.cellExpected, quoteValue(text)))
    // Other texts of numbers stay texts, since JSON has numbers; with a decimal comma it has none.
    else
      read[field.name] =
        options.cells?.decimal === ',' && typeof value === 'string' ? valueFromText(field, value) : value
  }
  return problems.length > 0
    ? { problems, location, cells: { stream, values: read } }
    : { stream, values: read, location }
}

/** Of a name given twice the parser keeps one value in silence. Any name may be a field's, through `--map`. */
function repeatedNames(text: Buffer, values: unknown): Problem[] {
  const names = isRecord(values) ? repeatedMembers(text, values) : []
  return names.map((name) => problem(`/${showValue(name)}`, 'repeated', 'one value', 'several'))
}

/** Renames the keys of an object to the names of the fields; any other value is returned as it is. */
function renamed(values: unknown, stream: string, map: ReadonlyMap<string, string>): unknown {
  if (map.size === 0 || typeof values !== 'object' || values === null) return values
  const named = values as Readonly<Record<string, unknown>>
  const fields = [...map].flatMap(([key, name]) => {
    const [owner, field] = key.includes('.') ? key.split('.') : [stream, key]
    return owner === stream ? [[field, named[name]]] : []
  })
  return { ...named, ...Object.fromEntries(fields) }
}
