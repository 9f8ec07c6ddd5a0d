/** The name of a source in, its events in chunks out; called by `produce` and `replay`. The only place that knows the sources by name. */
import { createReadStream } from 'node:fs'
import { access, constants } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { generateHandbook, type HandbookTable, handbookEventChunks, handbookStartMs } from '../pipelines/handbook.ts'
import { jsonLines } from '../producers/json-lines.ts'
import type { SourceEvent } from '../producers/prepare.ts'
import { PipelineError } from '../schemas/errors.ts'
import type { Plan } from '../schemas/plan.ts'

export interface SourceOptions {
  /** `handbook`, `stdin` or the path of a file with JSON lines. */
  readonly source: string
  /** Bounds on event time, ms since 1970; for generated sources. */
  readonly from?: number
  readonly until?: number
  readonly seed?: number
  /** Stream of every line; each line names its own without it. For files. */
  readonly stream?: string
}

export interface Source {
  /** Ms since 1970 that times are counted from; null: from the first event. */
  readonly startMs: number | null
  readonly chunks: Iterable<readonly SourceEvent[]> | AsyncIterable<readonly SourceEvent[]>
}

const chunkEventsMax = 2_000
const fileBytesAtOnce = 256 * 1_024

/** Rejects with `usage` for options that do not go together, `input_unreadable` for a file that is not there. */
export async function openSource(
  options: SourceOptions,
  plan: Pick<Plan, 'name' | 'streams'>,
  stdin: () => Readable,
  signal: AbortSignal,
): Promise<Source> {
  if (options.source === 'handbook') return handbookSource(options, plan)
  for (const name of ['from', 'until', 'seed'] as const) {
    if (options[name] === undefined) continue
    throw new PipelineError('usage', `--${name} goes with a generated source such as --source handbook only.`)
  }
  const stream = options.stream ?? null
  const names = plan.streams.map(({ name }) => name)
  if (stream !== null && !names.includes(stream)) {
    throw new PipelineError('usage', `--stream must be one of ${names.join(', ')}, but is ${stream}.`)
  }
  const bytes = options.source === 'stdin' ? stdin() : await openFile(options.source)
  const place = options.source === 'stdin' ? 'standard input' : options.source
  return { startMs: null, chunks: jsonLines(untilAborted(bytes, place, signal), { place, stream }) }
}

function handbookSource(options: SourceOptions, plan: Pick<Plan, 'name' | 'streams'>): Source {
  if (options.stream !== undefined) {
    throw new PipelineError('usage', '--stream goes with a file or stdin only: the handbook names its streams.')
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
  function* chunks() {
    yield* handbookEventChunks(drawHandbook(options.seed ?? 0), span)
  }
  return { startMs: handbookStartMs, chunks: chunks() }
}

/** The last table drawn: it takes seconds, and a feed that goes span by span asks for it again. */
let drawn: HandbookTable | null = null

/** Draws the table of a seed, where it is not at hand: when the first event is asked for, or earlier by who has time to spare. */
export function drawHandbook(seed: number): HandbookTable {
  if (drawn?.seed !== seed) drawn = generateHandbook({ seed })
  return drawn
}

async function openFile(path: string): Promise<Readable> {
  await access(path, constants.R_OK).catch((cause: Error) => {
    throw new PipelineError(
      'input_unreadable',
      `Source ${path} cannot be read: ${cause.message}. Expected handbook, stdin or the path of a file with JSON lines.`,
      { cause },
    )
  })
  return createReadStream(path, { highWaterMark: fileBytesAtOnce })
}

/** Ends with the signal even while the next piece is being waited for, as it is at a terminal. */
async function* untilAborted(bytes: Readable, place: string, signal: AbortSignal): AsyncGenerator<Buffer, void, void> {
  const stop = () => void bytes.destroy()
  if (signal.aborted) return
  signal.addEventListener('abort', stop, { once: true })
  try {
    for await (const piece of bytes) yield piece as Buffer
  } catch (cause) {
    if (signal.aborted) return
    throw new PipelineError('input_unreadable', `Source ${place} cannot be read: ${(cause as Error).message}.`, {
      cause,
    })
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
