/** The interface of a source of events, shared by `open-source.ts` and its callers. */
import type { Readable } from 'node:stream'
import type { SourceIdentity } from '../../producers/positions.ts'
import type { SourceEvent } from '../../producers/prepare.ts'

export const fileFormats = ['csv', 'jsonl', 'parquet'] as const
export type FileFormat = (typeof fileFormats)[number]

export interface SourceOptions {
  /** `handbook`, `stdin` or the path of a file. */
  readonly source: string
  /** Bounds on event time, ms since 1970; for generated sources. */
  readonly from?: number
  readonly until?: number
  readonly seed?: number
  /** Stream of every row; each row names its own without it, unless there is only one. For files. */
  readonly stream?: string
  /** By the ending of the file by default. */
  readonly format?: FileFormat
  /** Between the cells of a CSV. */
  readonly delimiter?: string
  /** Names in the source by names of fields. For files. */
  readonly map?: ReadonlyMap<string, string>
}

export interface Source {
  /** Ms since 1970 that times are counted from; null: from the first event. */
  readonly startMs: number | null
  readonly chunks: Iterable<readonly SourceEvent[]> | AsyncIterable<readonly SourceEvent[]>
  /** How much of it has been read, from 0 to 1; null where it is not known how much there is. */
  readonly shareRead: () => number | null
  /** What its position is kept for; null where it cannot be read again. */
  readonly identity: SourceIdentity | null
}

export interface SourceContext {
  readonly stdin: () => Readable
  readonly signal: AbortSignal
  /** Gets notes on a file, such as columns that are not read. */
  readonly printLine: (line: string) => void
}
