/**
 * Texts of a file's cells in, values that the fields accept out, as the options of its source say; called by `table.ts` and `json-lines.ts`
 * for every text. What is no value of its field comes out as a fault that says what was expected.
 */
import type { FieldPlan } from '../schemas/kernel/event.ts'
import {
  type DateFormat,
  type DayMonth,
  isYearLast,
  type ParsedDate,
  parseYearFirst,
  parseYearLast,
} from './date-format.ts'
import type { LocalZone } from './local-time.ts'

export interface CellOptions {
  /** Between whole and fraction. */
  readonly decimal: '.' | ','
  /** Texts that mean that there is no value, beside an empty cell. */
  readonly missing: ReadonlySet<string>
  /** Spaces around texts are dropped; around other values they always are. */
  readonly trim: boolean
  /** By names of fields. */
  readonly dates: ReadonlyMap<string, DateFormat>
  /** Of times without a zone of their own. */
  readonly zone: LocalZone | null
  /** Which instant a local time means that exists twice. */
  readonly overlap: 'earlier' | 'later' | 'refuse'
}

export const plainCells: CellOptions = {
  decimal: '.',
  missing: new Set(),
  trim: false,
  dates: new Map(),
  zone: null,
  overlap: 'earlier',
}

export interface CellFault {
  readonly cellExpected: string
}

export interface CellReader {
  /** Local times that exist twice, so far. */
  readonly overlaps: number
  read(text: string, field: FieldPlan, dayMonth?: DayMonth): unknown
}

export function isFault(value: unknown): value is CellFault {
  return typeof value === 'object' && value !== null && 'cellExpected' in value
}

const fault = (cellExpected: string): CellFault => ({ cellExpected })

export function createCellReader(options: CellOptions): CellReader {
  const { decimal, missing, trim, dates, zone, overlap } = options
  let overlaps = 0

  function read(text: string, field: FieldPlan, dayMonth?: DayMonth): unknown {
    const cell = trim || field.kind !== 'text' ? text.trim() : text
    if (missing.has(cell)) return null
    if (cell === '') return cell
    if (field.kind === 'timestamp') return readTime(cell, dates.get(field.name), dayMonth)
    const isNumber = field.kind === 'number' || field.kind === 'integer'
    return isNumber && decimal === ',' ? withPoint(cell) : cell
  }

  function readTime(text: string, format: DateFormat | undefined, dayMonth: DayMonth | undefined): unknown {
    if (format) {
      const parsed = format.parse(text)
      return parsed === null ? fault(`an instant as ${format.text}`) : instantIn(parsed)
    }
    if (isYearLast(text)) {
      if (dayMonth === undefined)
        return fault('a date whose format is given, as with --dates field=dd/MM/yyyy: day and month are not guessed')
      const parsed = parseYearLast(text, dayMonth)
      return parsed === null ? fault(`a date with the ${dayMonth}, as other rows have it`) : instantIn(parsed)
    }
    const local = parseYearFirst(text)
    return local === null ? text : instantIn(local)
  }

  function instantIn(parsed: ParsedDate): unknown {
    if ('instantMs' in parsed) return parsed.instantMs
    if (zone === null) return fault('an instant with its zone, or --zone that says which zone local times are of')
    const found = zone.instantOf(parsed.localMs)
    if (found.kind === 'one') return found.ms
    if (found.kind === 'gap') return fault(`a time that ${zone.name} had: the clocks were set forward over it`)
    overlaps++
    if (overlap === 'refuse')
      return fault(`a time that ${zone.name} had once: the clocks were set back over it (--overlap)`)
    return overlap === 'earlier' ? found.earlierMs : found.laterMs
  }

  return {
    read,
    get overlaps() {
      return overlaps
    },
  }
}

const commaNumber = /^[+-]?(?:\d+,?\d*|,\d+)(?:[eE][+-]?\d+)?$/

/** A point is refused: it may stand between thousands. */
function withPoint(text: string): unknown {
  return commaNumber.test(text) ? text.replace(',', '.') : fault('a number with a decimal comma and no points')
}
