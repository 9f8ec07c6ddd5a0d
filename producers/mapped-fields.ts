/**
 * A mapping and the columns of a file in, a function from a row to computed fields out; called by `table.ts`. A function that throws makes
 * the row invalid, and a column that the file does not have ends the reading: a misspelt name must not be an empty value.
 */

import type { Mapping, Row } from '../schemas/definition/definition.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { FieldPlan, Problem } from '../schemas/kernel/event.ts'
import { nearestName } from '../schemas/kernel/nearest-name.ts'
import { problem } from '../schemas/wire/event-codec.ts'

export type Computed =
  | { readonly kind: 'left out' }
  | { readonly kind: 'row'; readonly values: ReadonlyMap<string, unknown>; readonly problems: readonly Problem[] }

type Cell = (column: number, field: FieldPlan) => unknown

/** A cell as text, whatever the field. */
export const textField: FieldPlan = { name: '', kind: 'text', optional: true }

export function createMappedFields(
  { where, fields }: Mapping,
  columns: readonly string[],
  file: string,
): (cell: Cell, row: number) => Computed {
  let current: Cell = () => null
  const row = rowOver(columns, file, (column) => current(column, textField))

  return (cell, number) => {
    current = cell
    const place = { row: number, file }
    const problems: Problem[] = []
    const tried = (path: string, compute: () => unknown) => {
      try {
        return compute()
      } catch (error) {
        if (error instanceof PipelineError) throw error
        problems.push(
          problem(path, 'function_threw', 'a value from the mapping', (error as Error)?.message ?? String(error)),
        )
        return null
      }
    }
    if (where !== null && !tried('', () => where(row, place)) && problems.length === 0) return { kind: 'left out' }
    const values = new Map(
      Object.entries(fields).map(
        ([name, compute]) => [name, plain(tried(`/${name}`, () => compute(row, place)))] as const,
      ),
    )
    return { kind: 'row', values, problems }
  }
}

function plain(value: unknown): unknown {
  return value instanceof Date ? value.getTime() : value
}

/** One object for all rows: the functions that get it return before the next. */
function rowOver(columns: readonly string[], file: string, text: (column: number) => unknown): Row {
  const textOf = (column: number) => String(text(column) ?? '')
  const has = (key: string | symbol): key is string => typeof key === 'string' && columns.includes(key)
  return new Proxy<Record<string, string>>(
    {},
    {
      get(_, key) {
        if (has(key)) return textOf(columns.indexOf(key))
        if (typeof key === 'symbol') return undefined
        throw new PipelineError(
          'usage',
          `The mapping reads ${key}, a column that ${file} does not have. Did you mean ${nearestName(key, columns)}?`,
        )
      },
      has: (_, key) => has(key),
      ownKeys: () => [...columns],
      getOwnPropertyDescriptor: (_, key) =>
        has(key) ? { value: textOf(columns.indexOf(key)), enumerable: true, configurable: true } : undefined,
    },
  )
}
