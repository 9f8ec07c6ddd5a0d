/**
 * The streams and stages of a plan in, the shape of its stored state out: all that decides what stored rows mean. Its hash is the
 * `stateFingerprint`; the shape itself is stored beside that, so that another definition's is explained in words (`state-change.ts`).
 */
import { fingerprintOf } from './fingerprint.ts'
import type { StagePlan, StateShape, StreamPlan } from './plan.ts'

/** Version of the fixed columns of a row (`FactLayout`): stored rows of another are not read. */
const rowsVersion = 2

/** Before the JSON of a stored shape: one of another form is not read. */
const form = '1 '
/** Far above the largest definition that is sensible; a larger one is stored without its shape. */
const textLengthMax = 65_536

export function shapeOfState(name: string, streams: readonly StreamPlan[], stages: readonly StagePlan[]): StateShape {
  return {
    name,
    rows: rowsVersion,
    streams: streams.map(({ name, idField, keyField, timeField, rekey }) => ({
      name,
      idField,
      keyField,
      timeField,
      ...(rekey ? { rekey } : {}),
    })),
    stages: stages.map(({ entity }) => ({
      name: entity.name,
      keys: [...entity.keyFields],
      layout: entity.layout,
      retentionMs: entity.retentionMs,
    })),
  }
}

/** Columns before `known` and the values, in version 1. */
const firstFixedColumns = 3

/**
 * What of it the values of features depend on: columns are numbered as in version 1 of the rows, so that a definition keeps its
 * fingerprint, and the predictions made under it, when only the rows change.
 */
export function shapeOfDefinition({ rows: _, stages, ...rest }: StateShape, fixedColumns: number): StateShape {
  const moved = (column: number) => column - fixedColumns + firstFixedColumns
  return {
    ...rest,
    stages: stages.map(({ layout: { width, knownColumn, sources }, ...stage }) => ({
      ...stage,
      layout: {
        width: moved(width),
        knownColumn: knownColumn === null ? null : moved(knownColumn),
        sources: sources.map(({ values, ...source }) => ({
          ...source,
          values: values.map((value) => ({ ...value, column: moved(value.column) })),
        })),
      },
    })),
  }
}

/** As it is stored; null where there is none, or one that is too large. */
export function shapeText(shape: StateShape | undefined): string | null {
  if (shape === undefined) return null
  const text = `${form}${JSON.stringify(shape)}`
  return text.length <= textLengthMax ? text : null
}

/** Null for the shape of another state than the fingerprint's, which an earlier version of Millrace left, and for one of another form. */
export function storedShape(text: string | null, stateFingerprint: string): StateShape | null {
  if (text === null || !text.startsWith(form)) return null
  const shape = parsed(text.slice(form.length))
  return shape !== null && fingerprintOf(shape) === stateFingerprint ? (shape as StateShape) : null
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    // Not what was written; the fingerprint alone tells definitions apart.
    return null
  }
}
