/** The builder of entities. Called by definitions. */
import type { FieldRef } from './stream.ts'

/** Something whose history matters, found in several streams by the field that names it there. */
export interface Entity {
  readonly kind: 'entity'
  readonly name: string
  readonly keys: readonly FieldRef<string, 'text'>[]
}

/** An entity, and its key field in every stream that is aggregated by it; one of them is the scored stream's. */
export function entity(name: string, keys: readonly FieldRef<string, 'text'>[]): Entity {
  return Object.freeze({ kind: 'entity', name, keys: frozenList(keys) })
}

/** What is no list becomes an empty one, which the checks report. */
export function frozenList<T>(values: readonly T[]): readonly T[] {
  return Object.freeze(Array.isArray(values) ? [...values] : [])
}
