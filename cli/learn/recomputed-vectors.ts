/**
 * The file that `recompute` writes, as vectors to train on: its rows must be of this definition. Columns are found by name, or by their
 * place where names are not unique. Called by `train`.
 */
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream'
import { CsvError, parse } from 'csv-parse'
import type { ReadVectors } from '../../online-model/trainer/train-inputs.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { definitionColumn, recomputedColumns } from '../vector-cells.ts'

type VectorPlan = Pick<Plan, 'scored' | 'entityStages' | 'features' | 'fingerprint'>

/** Rejects with `input_unreadable`, which names the line. */
export function recomputedVectors(path: string, plan: VectorPlan): ReadVectors {
  return async (take) => {
    const parser = parse({ info: true })
    // A failure of either reaches the loop below through the parser.
    pipeline(createReadStream(path), parser, () => undefined)
    let columns: Columns | null = null
    try {
      for await (const { record, info } of parser as AsyncIterable<ParsedRow>) {
        if (columns === null) columns = columnsOf(record, path, plan)
        else take(vectorOf(record, columns, { path, line: info.lines, fingerprint: plan.fingerprint }))
      }
    } catch (cause) {
      if (cause instanceof PipelineError) throw cause
      const what =
        cause instanceof CsvError
          ? `is no CSV file of recompute: ${cause.message}`
          : `cannot be read: ${(cause as Error).message}`
      throw new PipelineError('input_unreadable', `${path} ${what}`, { cause })
    }
    if (columns === null)
      throw new PipelineError('input_unreadable', `${path} is empty: expected the file that recompute writes.`)
  }
}

interface ParsedRow {
  readonly record: readonly string[]
  readonly info: { readonly lines: number }
}

/** Places in a row. */
interface Columns {
  readonly id: number
  readonly time: number
  readonly definition: number
  readonly features: readonly number[]
}

function columnsOf(header: readonly string[], path: string, plan: VectorPlan): Columns {
  const { scored, entityStages, features } = plan
  const written = recomputedColumns(plan)
  if (written.length === header.length && written.every((name, place) => header[place] === name)) {
    const first = 2 + entityStages.length
    return { id: 0, time: 1, definition: header.length - 1, features: features.map((_, i) => first + i) }
  }
  const placeOf = (name: string) => {
    const place = header.indexOf(name)
    const fault = place < 0 ? `no column ${name}` : `several columns ${name}`
    if (place >= 0 && header.lastIndexOf(name) === place) return place
    throw new PipelineError(
      'input_unreadable',
      `${path} has ${fault}: expected the file that recompute writes for this definition.`,
    )
  }
  return {
    id: placeOf(scored.idField),
    time: placeOf('time'),
    definition: placeOf(definitionColumn),
    features: features.map(({ name }) => placeOf(name)),
  }
}

function vectorOf(
  row: readonly string[],
  { id, time, definition, features }: Columns,
  { path, line, fingerprint }: { readonly path: string; readonly line: number; readonly fingerprint: string },
) {
  if (row[definition] !== fingerprint) {
    throw new PipelineError(
      'input_unreadable',
      `${path}, line ${line}, was computed by definition ${row[definition]}; this one is ${fingerprint}: ` +
        'recompute it with this definition.',
    )
  }
  const values = features.map((place) => (row[place] === '' ? Number.NaN : Number(row[place])))
  const timeMs = Date.parse(row[time]!)
  const wrong = values.findIndex((value, i) => Number.isNaN(value) && row[features[i]!] !== '')
  if (wrong >= 0 || Number.isNaN(timeMs)) {
    const cell = Number.isNaN(timeMs)
      ? `an instant, received "${row[time]}"`
      : `a number, received "${row[features[wrong]!]}"`
    throw new PipelineError('input_unreadable', `${path}, line ${line}: expected ${cell}.`)
  }
  return { id: row[id]!, time: timeMs, features: values }
}
