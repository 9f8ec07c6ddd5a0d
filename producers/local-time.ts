/**
 * A local time and a zone in, the instant out; called by `cells.ts` for times without a zone of their own. Where the clocks are set
 * forward a local time does not exist, and where they are set back it exists twice: neither is guessed.
 */
import { IANAZone } from 'luxon'
import { PipelineError } from '../schemas/kernel/errors.ts'

export type LocalInstant =
  | { readonly kind: 'one'; readonly ms: number }
  | { readonly kind: 'gap' }
  | { readonly kind: 'overlap'; readonly earlierMs: number; readonly laterMs: number }

export interface LocalZone {
  readonly name: string
  /** `localMs`: of the local date and time as if they were UTC. */
  instantOf(localMs: number): LocalInstant
}

const minuteMs = 60_000
/** Zones differ from UTC by 12 hours to the west and 14 to the east at most; some were off by a little more. */
const offsetMaxMs = 16 * 60 * minuteMs
/** Offsets change at its multiples today; where one does not, nothing is kept. */
const quarterMs = 15 * minuteMs
const quartersKeptMax = 100_000

/** Throws `usage` for a name that is no zone of the IANA database. */
export function localZone(name: string): LocalZone {
  if (!IANAZone.isValidZone(name)) {
    throw new PipelineError(
      'usage',
      `--zone ${name} is no time zone: expected a name such as Europe/Berlin, America/New_York or UTC.`,
    )
  }
  const offsetAt = offsetsOf(IANAZone.create(name))

  function instantOf(localMs: number): LocalInstant {
    const [before, after] = [offsetAt(localMs - offsetMaxMs), offsetAt(localMs + offsetMaxMs)]
    if (before === after && offsetAt(localMs - before) === before) return { kind: 'one', ms: localMs - before }
    const offsets = new Set([before, after, offsetAt(localMs - before), offsetAt(localMs - after)])
    const instants = [...offsets]
      .map((offset) => localMs - offset)
      .filter((ms) => ms + offsetAt(ms) === localMs)
      .sort((a, b) => a - b)
    const [earlierMs, laterMs] = instants
    if (earlierMs === undefined) return { kind: 'gap' }
    return laterMs === undefined ? { kind: 'one', ms: earlierMs } : { kind: 'overlap', earlierMs, laterMs }
  }
  return { name, instantOf }
}

/** Offsets from UTC in ms; to ask the zone for each row would cost more than the rest of the reading. */
function offsetsOf(zone: IANAZone): (ms: number) => number {
  const kept = new Map<number, number>()
  const ask = (ms: number) => Math.round(zone.offset(ms) * minuteMs)
  return (ms) => {
    const quarter = Math.floor(ms / quarterMs)
    const known = kept.get(quarter)
    if (known !== undefined) return known
    const offset = ask(quarter * quarterMs)
    if (ask((quarter + 1) * quarterMs - 1) !== offset) return ask(ms)
    if (kept.size >= quartersKeptMax) kept.clear()
    kept.set(quarter, offset)
    return offset
  }
}
