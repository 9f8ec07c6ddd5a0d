/** A validated event's values, and what can be wrong with one: the words that codecs, plan and processing share. */

/** A validated field value: text is string, number and timestamp (ms since 1970) are number, flag is boolean, missing is null. */
export type FieldValue = string | number | boolean | null
export type EventValues = Readonly<Record<string, FieldValue>>

export interface Problem {
  /** JSON-pointer-like path into the event, empty for the whole. */
  readonly path: string
  readonly code: RejectCode
  readonly expected: string
  readonly received: string
}

export const rejectCodes = [
  'empty',
  'not_json',
  'not_csv',
  'not_avro',
  'schema_unknown',
  'schema_incompatible',
  'missing',
  'repeated',
  'type',
  'range',
  'decimals',
  'length',
  'partition_mismatch',
  'ahead',
  'late',
  'duplicate_conflict',
  'function_threw',
  'not_finite',
  'entity_full',
] as const

export type RejectCode = (typeof rejectCodes)[number]

export type FieldKind = 'text' | 'number' | 'integer' | 'timestamp' | 'flag'

export interface FieldPlan {
  readonly name: string
  readonly kind: FieldKind
  readonly optional: boolean
  /** Of numbers; of timestamps the first and last instant, ms. */
  readonly min?: number
  readonly max?: number
  /** number only: at most this many decimals; sums of it are exact integers of 10^-decimals. */
  readonly decimals?: number
  /** text only: longest value, in UTF-16 units. */
  readonly lengthMax?: number
}
