/**
 * Texts of options in, their values out, for commander: a wrong one is `InvalidArgumentError`, which the entry prints with the option's
 * name.
 */
import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { InvalidArgumentError } from 'commander'
import { parseInstant } from '../schemas/wire/event-codec.ts'
import { type FileFormat, fileFormats, type Scoped } from './sources/source.ts'

/** Ms since 1970 of a day (its start in UTC) or an instant. */
export function instantOption(text: string): number {
  const timeMs = parseInstant(/^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00:00Z` : text)
  if (timeMs !== null) return timeMs
  throw new InvalidArgumentError('Expected a day such as 2018-04-01 or an instant such as 2018-04-01T06:30:00Z.')
}

/** Ms since 1970 of the start of a day (UTC). */
export function dayOption(text: string): number {
  const timeMs = /^\d{4}-\d{2}-\d{2}$/.test(text) ? parseInstant(`${text}T00:00:00Z`) : null
  if (timeMs !== null) return timeMs
  throw new InvalidArgumentError('Expected a day such as 2018-08-08.')
}

export function positiveOption(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && Number.isFinite(value) && value > 0) return value
  throw new InvalidArgumentError('Expected a number above 0.')
}

export function shareOption(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && value > 0 && value <= 1) return value
  throw new InvalidArgumentError('Expected a share above 0 and up to 1, such as 0.01.')
}

/** A parser for whole numbers within bounds. */
export function wholeOption(min: number, max: number): (text: string) => number {
  return (text) => {
    if (/^\d{1,15}$/.test(text) && Number(text) >= min && Number(text) <= max) return Number(text)
    throw new InvalidArgumentError(`Expected a whole number from ${min} to ${max}.`)
  }
}

export function urlOption(text: string): string {
  if (/^https?:\/\//.test(text) && URL.canParse(text)) return text
  throw new InvalidArgumentError('Expected an address such as http://127.0.0.1:8080.')
}

/** A file that can be written, as far as can be known before the work: a typing mistake must not cost an hour's results. */
export function outputFileOption(path: string): string {
  if (existsSync(path) && statSync(path).isDirectory())
    throw new InvalidArgumentError('Expected a file, this is a folder.')
  try {
    accessSync(`${dirname(path)}/.`, constants.W_OK)
  } catch (error) {
    throw new InvalidArgumentError(`Expected a file in a folder that can be written to: ${(error as Error).message}.`)
  }
  return path
}

export function numberOption(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && Number.isFinite(value)) return value
  throw new InvalidArgumentError('Expected a number.')
}

export interface Condition {
  readonly name: string
  readonly comparison: '>=' | '<=' | '!=' | '=' | '>' | '<'
  readonly value: number
}

const condition = /^\s*([A-Za-z_]\w*)\s*(>=|<=|!=|=|>|<)\s*(-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*$/

/** Of an option that may be given several times. */
export function conditionsOption(text: string, former: readonly Condition[] = []): Condition[] {
  const [, name, comparison, value] = condition.exec(text) ?? []
  if (name !== undefined) {
    return [...former, { name, comparison: comparison as Condition['comparison'], value: Number(value) }]
  }
  throw new InvalidArgumentError(
    "Expected a name, one of >= <= != = > < and a number, in quotes, such as 'amount>=100'.",
  )
}

/**
 * Names by fields, of `field=name` or `stream.field=name`, several with commas or in several options. A name may hold commas that begin
 * no further field.
 */
export function mapOption(text: string, before: ReadonlyMap<string, string> = new Map()): ReadonlyMap<string, string> {
  const map = new Map(before)
  for (const part of text.split(/,(?=[\w.-]+=)/)) {
    const [, field, name] = /^\s*((?:[\w-]+\.)?\w+)=(.+)$/s.exec(part) ?? []
    if (field === undefined || name === undefined) {
      throw new InvalidArgumentError(`Expected field=column, such as customerId=CUSTOMER_ID, received "${part}".`)
    }
    if (map.has(field)) throw new InvalidArgumentError(`The field ${field} is mapped twice.`)
    map.set(field, name)
  }
  return map
}

/** For an option that may be given for the sources of one stream, as `stream=value`, and several times. */
export function scopedOption<T>(parse: (text: string) => T): (text: string, before?: Scoped<T>) => Scoped<T> {
  return (text, before = []) => {
    const [, stream = null, value = text] = /^([\w-]+)=(.+)$/s.exec(text) ?? []
    return [...before, { stream, value: parse(value) }]
  }
}

/** Of an option that is given once or several times. */
export function listOption(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text]
}

export function formatOption(text: string): FileFormat {
  const format = fileFormats.find((one) => one === text)
  if (format !== undefined) return format
  throw new InvalidArgumentError(`Allowed choices are ${fileFormats.join(', ')}.`)
}

export function decimalOption(text: string): '.' | ',' {
  if (text === '.' || text === ',') return text
  throw new InvalidArgumentError('Expected "." or ",".')
}

export function overlapOption(text: string): 'earlier' | 'later' | 'refuse' {
  if (text === 'earlier' || text === 'later' || text === 'refuse') return text
  throw new InvalidArgumentError('Allowed choices are earlier, later, refuse.')
}

export function delimiterOption(text: string): string {
  const character = text === '\\t' || text === 'tab' ? '\t' : text
  if (character.length === 1 && !/["\r\n]/.test(character)) return character
  throw new InvalidArgumentError('Expected one character such as ";" (or "tab"), no quote and no end of line.')
}
