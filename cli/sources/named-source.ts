/** Texts of `--source` in, the stream and the path of each out, in one order however they were given; called by `open-source.ts`. */
import { existsSync } from 'node:fs'
import { partsMax } from '../../producers/positions.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { nearestName } from '../../schemas/kernel/nearest-name.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { Scoped, SourceOptions } from './source.ts'

export interface NamedSource {
  /** `handbook`, `stdin` or the path of a file. */
  readonly path: string
  /** Stream of every row; null: each row names its own. */
  readonly stream: string | null
}

type StreamsPlan = Pick<Plan, 'name' | 'streams'>

/** The order decides between rows of one instant, and which position belongs to which file: it must not depend on the command. */
export function namedSources(options: SourceOptions, plan: StreamsPlan): NamedSource[] {
  const { source } = options
  if (source.length > partsMax) {
    throw new PipelineError(
      'usage',
      `${source.length} sources are given, and at most ${partsMax} are merged in one run.`,
    )
  }
  const named = source.map((text) => namedSource(text, options, plan))
  const streams = plan.streams.map(({ name }) => name)
  const rankOf = ({ stream }: NamedSource) => (stream === null ? streams.length : streams.indexOf(stream))
  const sorted = named.toSorted((a, b) => rankOf(a) - rankOf(b) || (a.path < b.path ? -1 : 1))
  const twice = sorted.find(
    (one, i) => i > 0 && one.path === sorted[i - 1]!.path && one.stream === sorted[i - 1]!.stream,
  )
  if (twice) throw new PipelineError('usage', `--source ${twice.path} is given twice.`)
  requireScopes(options, plan, sorted)
  requireFields(options, plan, sorted)
  return sorted
}

/** A path may hold `=` too, so what stands before it has to be a stream. */
function namedSource(text: string, { stream }: SourceOptions, { name: pipeline, streams }: StreamsPlan): NamedSource {
  const names = streams.map(({ name }) => name)
  if (stream !== undefined && !names.includes(stream)) {
    throw new PipelineError('usage', `--stream must be one of ${names.join(', ')}, but is ${stream}.`)
  }
  const [, prefix = '', path = ''] = /^([\w-]+)=(.+)$/s.exec(text) ?? []
  if (names.includes(prefix)) {
    if (stream === undefined || stream === prefix) return { path, stream: prefix }
    throw new PipelineError(
      'usage',
      `--source ${text} is of the stream ${prefix}, and --stream says ${stream}: give one of them.`,
    )
  }
  if (prefix !== '' && !existsSync(text)) {
    throw new PipelineError(
      'usage',
      `--source ${text}: ${pipeline} has no stream ${prefix}. Did you mean ${nearestName(prefix, names)}? Expected stream=file ` +
        `with a stream of: ${names.join(', ')}.`,
    )
  }
  return { path: text, stream: stream ?? (names.length === 1 ? names[0]! : null) }
}

/** Options that name a stream need a source of it: a misspelt name must not be an option without effect. */
function requireScopes(options: SourceOptions, { streams }: StreamsPlan, sources: readonly NamedSource[]): void {
  const known = streams.map(({ name }) => name).filter((name) => sources.some(({ stream }) => stream === name))
  for (const name of scopedOptions) {
    const unknown = options[name]?.find(({ stream }) => stream !== null && !known.includes(stream))
    if (unknown === undefined) continue
    const expected = known.length === 0 ? 'no source names its stream' : `sources are of ${known.join(', ')}`
    throw new PipelineError('usage', `--${name} is given for ${unknown.stream}, but ${expected}.`)
  }
}

/** Likewise for fields that are mapped, of the streams that the sources give. */
function requireFields(options: SourceOptions, plan: StreamsPlan, sources: readonly NamedSource[]): void {
  const given = plan.streams.filter(({ name }) => sources.some(({ stream }) => stream === null || stream === name))
  const fields = [...new Set(given.flatMap((stream) => stream.fields.map(({ name }) => name)))]
  const known = new Set([
    ...fields,
    ...given.flatMap(({ name, fields }) => fields.map((field) => `${name}.${field.name}`)),
  ])
  const name = (['map', 'dates'] as const).find((one) =>
    [...(options[one]?.keys() ?? [])].some((field) => !known.has(field)),
  )
  if (name === undefined) return
  const unknown = [...options[name]!.keys()].filter((field) => !known.has(field))
  const owner = given.length === 1 ? given[0]!.name : plan.name
  throw new PipelineError(
    'usage',
    `--${name} names ${unknown.join(', ')}, which ${owner} has no field for. Did you mean ${nearestName(unknown[0]!, fields)}? ` +
      `Expected field=${name === 'map' ? 'column' : 'format'}, with or without stream. before it, with a field of: ${fields.join(', ')}.`,
  )
}

const scopedOptions = [
  'format',
  'delimiter',
  'decimal',
  'missing',
  'zone',
  'overlap',
  'encoding',
  'id',
] as const satisfies ReadonlyArray<keyof SourceOptions>

/** The value for a source: of its stream where there is one, else the one for all. */
export function scopedTo<T>(values: Scoped<T> | undefined, { stream }: NamedSource): T | undefined {
  const own = values?.findLast((one) => one.stream !== null && one.stream === stream)
  return (own ?? values?.findLast((one) => one.stream === null))?.value
}
