/** The name of a source in, its events in chunks out; called by `produce` and `replay`. The only place that knows the sources by name. */
import type { Readable } from 'node:stream'
import { generateHandbook, type HandbookTable, handbookEventChunks, handbookStartMs } from '../pipelines/handbook.ts'
import type { SourceIdentity } from '../producers/positions.ts'
import type { SourceEvent } from '../producers/prepare.ts'
import { PipelineError } from '../schemas/errors.ts'
import type { Plan } from '../schemas/plan.ts'
import { type FileFormat, openFileSource, openStdinSource } from './file-source.ts'

export interface SourceOptions {
  /** `handbook`, `stdin` or the path of a file. */
  readonly source: string
  /** Bounds on event time, ms since 1970; for generated sources. */
  readonly from?: number
  readonly until?: number
  readonly seed?: number
  /** Stream of every row; each row names its own without it, unless there is only one. For files. */
  readonly stream?: string
  /** By the ending of the file unless told. */
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

export interface SourceSurroundings {
  readonly stdin: () => Readable
  readonly signal: AbortSignal
  /** Told what is worth knowing of a file, such as columns that nobody reads. */
  readonly say: (line: string) => void
}

const chunkEventsMax = 2_000

/** Rejects with `usage` for options that do not go together, `input_unreadable` for a file that is not there. */
export async function openSource(
  options: SourceOptions,
  plan: Pick<Plan, 'name' | 'streams'>,
  surroundings: SourceSurroundings,
): Promise<Source> {
  if (options.source === 'handbook') return handbookSource(options, plan)
  for (const name of ['from', 'until', 'seed'] as const) {
    if (options[name] === undefined) continue
    throw new PipelineError('usage', `--${name} goes with a generated source such as --source handbook only.`)
  }
  if (options.source === 'stdin') return openStdinSource(options, plan, surroundings)
  return openFileSource(options, plan, surroundings)
}

function handbookSource(options: SourceOptions, plan: Pick<Plan, 'name' | 'streams'>): Source {
  for (const name of ['stream', 'format', 'delimiter', 'map'] as const) {
    if (options[name] === undefined) continue
    throw new PipelineError(
      'usage',
      `--${name} goes with a file or stdin only: the handbook says itself what it gives.`,
    )
  }
  const missing = ['transactions', 'chargebacks'].filter((name) => !plan.streams.some((stream) => stream.name === name))
  if (missing.length > 0) {
    throw new PipelineError(
      'usage',
      `--source handbook gives ${missing.join(' and ')}, which ${plan.name} does not consume.`,
    )
  }
  const secondOf = (timeMs: number) => (timeMs - handbookStartMs) / 1_000
  const span = {
    chunkEventsMax,
    ...(options.from === undefined ? {} : { fromSecond: secondOf(options.from) }),
    ...(options.until === undefined ? {} : { untilSecond: secondOf(options.until) }),
  }
  const seed = options.seed ?? 0
  function* chunks() {
    yield* handbookEventChunks(drawHandbook(seed), span)
  }
  return {
    startMs: handbookStartMs,
    chunks: chunks(),
    shareRead: () => null,
    identity: {
      name: 'the handbook',
      key: JSON.stringify(['handbook', seed, options.from ?? null, options.until ?? null]),
      file: null,
    },
  }
}

/** The last table drawn: it takes seconds, and a feed that goes span by span asks for it again. */
let drawn: HandbookTable | null = null

/** Draws the table of a seed, where it is not at hand: when the first event is asked for, or earlier by who has time to spare. */
export function drawHandbook(seed: number): HandbookTable {
  if (drawn?.seed !== seed) drawn = generateHandbook({ seed })
  return drawn
}
