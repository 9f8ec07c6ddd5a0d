/** The options that say how a file's texts become events in, what `csv.ts`, `json-lines.ts` and `parquet.ts` take out; called by `file.ts`. */
import { basename } from 'node:path'
import type { CellOptions } from '../../producers/cells.ts'
import { dateFormat } from '../../producers/date-format.ts'
import { encodingNamed } from '../../producers/decode-text.ts'
import { localZone } from '../../producers/local-time.ts'
import type { RowId, RowOptions } from '../../producers/table.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { LoadedMapping } from './mapping-file.ts'
import { type NamedSource, scopedTo } from './named-source.ts'
import type { FileFormat, SourceOptions } from './source.ts'

/** What `--missing common` stands for. */
export const commonMissing = [
  'NA',
  'N/A',
  'n/a',
  'NaN',
  'nan',
  'NULL',
  'null',
  'None',
  'nil',
  '-',
  '--',
  '?',
  '\\N',
] as const

export interface Reading {
  readonly rows: Omit<RowOptions, 'printLine'> & { readonly encoding: string | null }
  /** What of it determines the rows, for the position. */
  readonly key: readonly unknown[]
}

/** `mappings`: those that were loaded for the command. */
export function readingOptions(
  source: NamedSource,
  options: SourceOptions,
  plan: Pick<Plan, 'streams'>,
  {
    sourceName,
    format,
    mappings,
  }: {
    readonly sourceName: string
    readonly format: FileFormat
    readonly mappings: readonly LoadedMapping[]
  },
): Reading {
  const { stream } = source
  const streams = plan.streams.filter(({ name }) => stream === null || name === stream)
  const own = ownFields(options.map, streams)
  const dates = ownFields(options.dates, streams)
  const loaded = mappings.find(({ mapping }) => mapping.stream === stream) ?? null
  const id = scopedTo(options.id, source)
  if (format === 'jsonl' && (loaded !== null || id !== undefined)) {
    throw new PipelineError(
      'usage',
      `--${loaded ? 'mapping' : 'id'} applies to CSV and Parquet, and ${source.path} is jsonl.`,
    )
  }
  if (format === 'parquet' && scopedTo(options.encoding, source) !== undefined)
    throw new PipelineError('usage', `--encoding applies to text, and ${source.path} is parquet.`)
  const rowId = id === undefined ? null : rowIdOf(id, sourceName)
  const encoding = scopedTo(options.encoding, source)
  return {
    rows: {
      sourceName,
      streams: plan.streams,
      stream,
      map: own,
      cells: cellsOf(source, options, dates),
      id: rowId,
      mapping: loaded?.mapping ?? null,
      encoding: encoding === undefined ? null : encodingNamed(encoding),
    },
    key: [
      [...own].sort(),
      [...dates].sort(),
      ...(['decimal', 'missing', 'zone', 'overlap'] as const).map(
        (name) => scopedTo<string>(options[name], source) ?? null,
      ),
      options.trim ?? false,
      encoding ?? null,
      rowId,
      loaded?.digest ?? null,
    ],
  }
}

function cellsOf(source: NamedSource, options: SourceOptions, dates: ReadonlyMap<string, string>): CellOptions {
  const zone = scopedTo(options.zone, source)
  const formats = new Map(
    [...dates].map(([key, format]) => {
      const field = key.split('.').at(-1)!
      return [field, dateFormat(field, format)] as const
    }),
  )
  for (const [field, { isLocal, text }] of formats) {
    if (isLocal && zone === undefined)
      throw new PipelineError(
        'usage',
        `--dates ${field}=${text} has no zone: add --zone, such as --zone Europe/Berlin or --zone UTC.`,
      )
  }
  return {
    decimal: scopedTo(options.decimal, source) ?? '.',
    missing: missingOf(scopedTo(options.missing, source)),
    trim: options.trim ?? false,
    dates: formats,
    zone: zone === undefined ? null : localZone(zone),
    overlap: scopedTo(options.overlap, source) ?? 'earlier',
  }
}

function missingOf(text: string | undefined): Set<string> {
  const texts = text?.split(',') ?? []
  return new Set(texts.flatMap((one) => (one === 'common' ? commonMissing : [one.trim()])))
}

/** What is given for other streams does not concern this file. */
function ownFields(
  map: ReadonlyMap<string, string> = new Map(),
  streams: Plan['streams'],
): ReadonlyMap<string, string> {
  const fields = new Set(streams.flatMap((one) => one.fields.flatMap(({ name }) => [name, `${one.name}.${name}`])))
  return new Map([...map].filter(([field]) => fields.has(field)))
}

/** Rows of files of other names have other ids. */
function rowIdOf(text: string, sourceName: string): RowId {
  const [kind, rest] = [text.split(':')[0]!, text.includes(':') ? text.slice(text.indexOf(':') + 1) : null]
  if (kind === 'row') return { kind, prefix: rest ?? basename(sourceName) }
  if (kind === 'hash') return { kind, columns: rest?.split(',') ?? null }
  throw new PipelineError('usage', `--id ${text} is unknown: expected row, row:prefix, hash or hash:column,column.`)
}
