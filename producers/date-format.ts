/**
 * Texts of dates in, local times or instants out; called by `cells.ts`. A format is given for a field (`dd.MM.yyyy HH:mm`), or a text
 * begins with its year; between day and month nothing is guessed.
 */
import { DateTime } from 'luxon'
import { PipelineError } from '../schemas/kernel/errors.ts'

/** A local time has no zone: `localMs` is as if it were UTC. */
export type ParsedDate = { readonly instantMs: number } | { readonly localMs: number }

export interface DateFormat {
  readonly text: string
  readonly isLocal: boolean
  /** Null where the text is not of the format. */
  parse(text: string): ParsedDate | null
}

export type DayMonth = 'day first' | 'month first'

/** Finer digits than milliseconds are cut off, as those of other instants are. */
const epochs: Readonly<Record<string, (whole: number, fraction: string) => number>> = {
  seconds: (whole, fraction) => whole * 1_000 + Number(fraction.padEnd(3, '0').slice(0, 3)),
  milliseconds: (whole) => whole,
  microseconds: (whole) => Math.floor(whole / 1_000),
}

/** Throws `usage` for a format that is none. */
export function dateFormat(field: string, format: string): DateFormat {
  const epoch = epochs[format]
  if (epoch !== undefined)
    return { text: `${format} since 1970`, isLocal: false, parse: (text) => parseEpoch(text, epoch) }
  const bare = format.replaceAll(/'[^']*'/g, '')
  if (/[DY]/.test(bare) || !/[dLM]/.test(bare)) {
    throw new PipelineError(
      'usage',
      `--dates ${field}=${format} is no format: expected one such as dd.MM.yyyy HH:mm:ss (day dd, month MM or MMM, year yyyy, ` +
        'hour HH, or hh with a for am and pm, minute mm, second ss, fraction SSS, zone ZZ), or seconds, milliseconds or microseconds since 1970.',
    )
  }
  const isLocal = !/[Zz]/.test(bare)
  const parser = DateTime.buildFormatParser(format, { locale: 'en' })
  return {
    text: format,
    isLocal,
    parse(text) {
      const parsed = DateTime.fromFormatParser(text, parser, { zone: 'utc', locale: 'en' })
      if (!parsed.isValid) return null
      return isLocal ? { localMs: parsed.toMillis() } : { instantMs: parsed.toMillis() }
    },
  }
}

function parseEpoch(text: string, epoch: (whole: number, fraction: string) => number): ParsedDate | null {
  const [, whole, fraction = ''] = /^(\d{1,16})(?:\.(\d{1,9}))?$/.exec(text) ?? []
  return whole === undefined ? null : { instantMs: epoch(Number(whole), fraction) }
}

const time = String.raw`(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?`
const yearFirst = new RegExp(String.raw`^(\d{4})([-/.])(\d{1,2})\2(\d{1,2})${time}$`)
const yearLast = new RegExp(String.raw`^(\d{1,2})([-/.])(\d{1,2})\2(\d{4})${time}$`)

/** A local date, with or without a time, that begins with its year; null for another text. */
export function parseYearFirst(text: string): ParsedDate | null {
  const [, year, , month, day, ...clock] = yearFirst.exec(text) ?? []
  return year === undefined ? null : localOf([year, month!, day!], clock)
}

/** A local date that ends with its year. */
export function parseYearLast(text: string, order: DayMonth): ParsedDate | null {
  const [, first, , second, year, ...clock] = yearLast.exec(text) ?? []
  if (first === undefined) return null
  return localOf(order === 'day first' ? [year!, second!, first] : [year!, first, second!], clock)
}

export const isYearLast = (text: string): boolean => yearLast.test(text)

/** What some texts of one column say about it: an order, `both` where they allow both, null where they are no such dates or contradict. */
export function dayMonthOf(texts: readonly string[]): DayMonth | 'both' | null {
  const dates = texts.filter(isYearLast)
  if (dates.length === 0) return null
  const isPossible = (order: DayMonth) => dates.every((text) => parseYearLast(text, order) !== null)
  const [dayFirst, monthFirst] = [isPossible('day first'), isPossible('month first')]
  if (dayFirst && monthFirst) return 'both'
  return dayFirst ? 'day first' : monthFirst ? 'month first' : null
}

function localOf(
  parts: readonly [string, string, string],
  clock: ReadonlyArray<string | undefined>,
): ParsedDate | null {
  const [year, month, day] = parts.map(Number) as [number, number, number]
  const [hour = 0, minute = 0, second = 0] = clock.slice(0, 3).map((part) => Number(part ?? 0))
  const fraction = Number((clock[3] ?? '').padEnd(3, '0').slice(0, 3))
  const localMs = Date.UTC(year, month - 1, day, hour, minute, second, fraction)
  // Month 0 would be the December before, and the years before 100 those of the 20th century.
  const date = new Date(localMs)
  const isDate = date.getUTCFullYear() === year && date.getUTCMonth() === month - 1 && date.getUTCDate() === day
  const isReal = isDate && hour < 24 && minute < 60 && second < 60
  return isReal ? { localMs } : null
}
