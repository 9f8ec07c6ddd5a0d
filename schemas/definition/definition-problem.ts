/** One mistake of a definition, and how the checks of a definition report it and recognise its parts. */

import { isRecord, type Report } from '../kernel/report.ts'
import { showValue } from '../kernel/show-value.ts'
import type { Aggregate, AnyStream, Derived, Entity, FieldRef } from './definition.ts'

export interface DefinitionProblem {
  readonly path: string
  readonly expected: string
  readonly received: string
}

/** A list, and the function that adds to it. */
export function createReport(): { readonly problems: DefinitionProblem[]; readonly report: Report } {
  const problems: DefinitionProblem[] = []
  return {
    problems,
    report: (path, expected, received) => {
      problems.push({ path, expected, received: describe(received) })
    },
  }
}

// Callers in JavaScript may put anything anywhere, most often `undefined` for a misspelt field: each part is recognised by its kind.
export const isStream = (value: unknown): value is AnyStream => kindOf(value) === 'stream'
export const isField = (value: unknown): value is FieldRef => kindOf(value) === 'field'
export const isEntity = (value: unknown): value is Entity => kindOf(value) === 'entity'
export const isAggregate = (value: unknown): value is Aggregate => kindOf(value) === 'aggregate'
export const isDerived = (value: unknown): value is Derived => kindOf(value) === 'derived'

function kindOf(value: unknown): unknown {
  return isRecord(value) ? value.kind : undefined
}

const identifier = /^[A-Za-z_][A-Za-z0-9_]{0,63}$/
export const identifierExpected = 'a name of letters, digits and underscores that begins with no digit, at most 64'

/** Names that every JavaScript object has already, such as `constructor`, would be found in events that lack them. */
export function isIdentifier(name: unknown): boolean {
  return typeof name === 'string' && identifier.test(name) && !(name in Object.prototype)
}

/** What a definition holds, in the words of a definition: its parts refer to each other in circles. */
export function describe(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (value === '') return 'an empty text'
  if (isStream(value)) return `the stream ${showValue(value.name)}`
  if (isField(value)) return `the field ${fieldName(value)}`
  if (isEntity(value)) return `the entity ${showValue(value.name)}`
  if (isAggregate(value)) return 'an aggregate'
  if (isDerived(value)) return 'a derived value'
  if (kindOf(value) === 'pipeline') return 'a pipeline'
  return showValue(value)
}

export function fieldName(field: FieldRef): string {
  return isStream(field.stream) ? `${showValue(field.stream.name)}.${showValue(field.name)}` : showValue(field.name)
}
