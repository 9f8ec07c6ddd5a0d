/** The interface of a source of events, shared by `open-source.ts` and its callers. */
import type { Readable } from 'node:stream'
import type { Rows } from '../../producers/merge.ts'
import type { SourceIdentity } from '../../producers/positions.ts'
import type { StreamPlan } from '../../schemas/plan/plan.ts'

export const fileFormats = ['csv', 'jsonl', 'parquet'] as const
export type FileFormat = (typeof fileFormats)[number]

/** Values of an option, each for the sources of one stream or, without a name, for all; the last one counts. */
export type Scoped<T> = ReadonlyArray<{ readonly stream: string | null; readonly value: T }>

export interface SourceOptions {
  /** `handbook`, `stdin` or the path of a file, each with or without `stream=` before it. Several are merged by event time. */
  readonly source: readonly string[]
  /** Bounds on event time, ms since 1970; for generated sources. */
  readonly from?: number
  readonly until?: number
  readonly seed?: number
  /** Stream of every row of the sources that name none; each row names its own without it, unless there is only one. */
  readonly stream?: string
  /** By the ending of the file by default. */
  readonly format?: Scoped<FileFormat>
  /** Between the cells of a CSV. */
  readonly delimiter?: Scoped<string>
  /** Names in the source by names of fields, or by `stream.field`. For files. */
  readonly map?: ReadonlyMap<string, string>
  /** Formats of dates by names of fields, or by `stream.field`. */
  readonly dates?: ReadonlyMap<string, string>
  readonly decimal?: Scoped<'.' | ','>
  /** Texts that are no values, comma-separated; `common` is a list of them. */
  readonly missing?: Scoped<string>
  /** Of local times. */
  readonly zone?: Scoped<string>
  readonly overlap?: Scoped<'earlier' | 'later' | 'refuse'>
  readonly trim?: boolean
  readonly encoding?: Scoped<string>
  /** `row`, `row:prefix`, `hash` or `hash:column,column`. */
  readonly id?: Scoped<string>
  /** Files with mappings. */
  readonly mapping?: readonly string[]
  /** Rows that may be invalid. */
  readonly allowRejects?: number
  /** Files that are not in the order of event time are sorted. */
  readonly sort?: boolean
  /** They are taken as they are. */
  readonly unsorted?: boolean
}

/** Ms since 1970, both inclusive. */
export interface TimeSpan {
  readonly firstMs: number
  readonly lastMs: number
}

export interface Source {
  /** Ms since 1970 that times are counted from; null: from the first event. */
  readonly startMs: number | null
  /** Earliest and latest event time, ms since 1970; null where they are not known before the rows are read. */
  readonly span: TimeSpan | null
  readonly chunks: Rows
  /** How many are merged. */
  readonly parts: number
  /** Streams that its rows may belong to, in canonical order. */
  readonly streams: readonly StreamPlan[]
  /** How much of it has been read, from 0 to 1; null where it is not known how much there is. */
  readonly shareRead: () => number | null
  /** It is not in the order of event time, and only tried. */
  readonly isOutOfOrder: boolean
  /** What its position is kept for; null where it cannot be read again. */
  readonly identity: SourceIdentity | null
}

export interface SourceContext {
  readonly stdin: () => Readable
  readonly signal: AbortSignal
  /** Gets notes on a file, such as columns that are not read. */
  readonly printLine: (line: string) => void
  /** Nothing is sent: a source that is out of order is reported, and read on. */
  readonly isTrial?: boolean
  /** For replays: rows within the declared disorder are put in order, as a running pipeline takes them. */
  readonly isReplay?: boolean
}
