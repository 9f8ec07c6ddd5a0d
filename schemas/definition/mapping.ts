/**
 * The builder of a mapping: how events of a stream come from the rows of a file whose columns are not its fields. Called by mapping
 * files.
 */
import type { FieldSpec, FieldSpecs, Stream } from './stream.ts'

/** The cells of a row by the names of their columns; empty where there is none. Another name is an error. */
export type Row = Readonly<Record<string, string>>

/** Where a row stands: its number in the file, from 1, and the file's name. */
export interface RowPlace {
  readonly row: number
  readonly file: string
}

/** A text is read as a cell would be. */
export type MappedValue = string | number | boolean | Date | null | undefined

export interface Mapping {
  readonly kind: 'mapping'
  readonly stream: string
  /** Rows for which it is false are left out. */
  readonly where: ((row: Row, place: RowPlace) => boolean) | null
  /** By names of fields. Fields without a function come from columns, as without a mapping. */
  readonly fields: Readonly<Record<string, (row: Row, place: RowPlace) => MappedValue>>
}

/** The functions are called once for each row, in the order of the file; they have to be pure, or a resumed run sends other events. */
export function defineMapping<F extends FieldSpecs>(
  stream: Stream<F>,
  options: {
    readonly where?: (row: Row, place: RowPlace) => boolean
    readonly fields: { readonly [K in keyof F]?: (row: Row, place: RowPlace) => ValueFor<F[K]> }
  },
): Mapping {
  const fields = Object.freeze({ ...options.fields }) as Mapping['fields']
  return Object.freeze({ kind: 'mapping', stream: stream.name, where: options.where ?? null, fields })
}

type ValueFor<S> = S extends FieldSpec<infer T> ? T | string | Date | null | undefined : never
