/**
 * Options that a builder does not take: builders keep them beside what they understood (`strayIn`), the checks of a definition report each
 * with its path and the nearest name (`checkStray`). A misspelt option would otherwise be a default in silence wherever no compiler ran.
 */
import { editsBetween, nearestName } from './nearest-name.ts'
import { either, isRecord, type Parts, type Report } from './report.ts'

/** What was given beside the options, or in their place; absent where there was nothing. */
export interface Stray {
  readonly stray?: unknown
}

/** The names of an interface of options, in the order of messages: the compiler lets none be missing and none be added. */
export function namesOf<T>(names: Readonly<Record<keyof T & string, true>>): readonly string[] {
  return Object.freeze(Object.keys(names))
}

/** Called by builders with what they were given. */
export function strayIn(given: unknown, known: readonly string[]): Stray {
  if (given === undefined) return {}
  if (!isRecord(given)) return { stray: given }
  const unknown = Object.entries(given).filter(([name]) => !known.includes(name))
  return unknown.length === 0 ? {} : { stray: Object.freeze(Object.fromEntries(unknown)) }
}

/** The options themselves, nothing where none were given or something else. */
export function optionsIn<T extends object>(given: T | undefined): Partial<T> {
  return isRecord(given) ? given : {}
}

/** `of` is what takes the options, such as `stream()`. */
export function checkStray(path: string, of: string, known: readonly string[], stray: unknown, report: Report): void {
  if (stray === undefined) return
  if (!isRecord(stray)) report(path, `options of ${of} as an object`, stray)
  else
    for (const [name, value] of Object.entries(stray)) reportUnknown(`${path}.${name}`, of, known, name, value, report)
}

/** For what is written as an object in a definition, without a builder. */
export function checkKeys(path: string, of: string, known: readonly string[], parts: Parts, report: Report): void {
  for (const [name, value] of Object.entries(parts)) {
    if (!known.includes(name)) reportUnknown(path === '' ? name : `${path}.${name}`, of, known, name, value, report)
  }
}

function reportUnknown(
  path: string,
  of: string,
  known: readonly string[],
  name: string,
  value: unknown,
  report: Report,
): void {
  report(
    path,
    known.length === 0 ? `no options of ${of}` : `an option of ${of}: ${either(known)}${hint(name, known)}`,
    value,
  )
}

/** Only a name that could be meant: of a word that has nothing in common with any, the list says enough. */
function hint(name: string, known: readonly string[]): string {
  const nearest = nearestName(name, known)
  const edits = editsBetween(name.toLowerCase(), nearest.toLowerCase())
  return known.length > 1 && edits <= Math.max(2, name.length / 3) ? `; the nearest is ${nearest}` : ''
}
