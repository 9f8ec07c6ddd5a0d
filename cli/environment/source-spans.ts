/** A source in, one span of event time after another out; called by `event-sender.ts` for `start` and `verify`. */
import type { Rows } from '../../producers/merge.ts'
import { createRowCheck, type SourceEvent } from '../../producers/prepare.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { CommandContext } from '../context.ts'
import { openSource } from '../sources/open-source.ts'
import type { SourceOptions } from '../sources/source.ts'

export interface SourceSpans {
  /** First event time of the source, ms since 1970, and its last, where that is known. */
  readonly startMs: number
  readonly lastMs: number | null
  /** How many files are merged. */
  readonly parts: number
  /** Its ids are known to be unique. */
  readonly isGenerated: boolean
  /** Each span begins where the one before ended, or later. */
  open(span: { readonly fromMs: number; readonly untilMs?: number }): Promise<Rows>
}

/** The benchmark, unless sources are named. */
export type OwnSourceOptions = Omit<SourceOptions, 'source'> & { readonly source?: readonly string[] }

export const isBenchmark = ({ source = ['handbook'] }: OwnSourceOptions) => source.includes('handbook')

export async function openSourceSpans(
  { source: names = ['handbook'], ...more }: OwnSourceOptions,
  plan: Plan,
  {
    stdin,
    terminal,
    stopping,
  }: Pick<CommandContext, 'stdin' | 'terminal'> & {
    readonly stopping: Pick<CommandContext['stopping'], 'signal'>
  },
): Promise<SourceSpans> {
  const options = { ...more, source: names }
  if (names.some((name) => /^([\w-]+=)?stdin$/.test(name))) {
    throw new PipelineError(
      'usage',
      'Standard input is not read here, since its span is not known before: name a file.',
    )
  }
  const surroundings = { stdin, signal: stopping.signal(), printLine: terminal.err, isReplay: true }
  // Files are read to their end, and a span of them is cut out here.
  const { until: _, ...unbounded } = options
  const source = await openSource(isBenchmark(options) ? options : unbounded, plan, surroundings)
  if (isBenchmark(options)) {
    return {
      startMs: source.startMs!,
      lastMs: null,
      parts: 1,
      isGenerated: true,
      async open({ fromMs, untilMs }) {
        const span = { from: fromMs, ...(untilMs === undefined ? {} : { until: untilMs }) }
        return (await openSource({ ...options, ...span }, plan, surroundings)).chunks
      },
    }
  }
  if (source.span === null) {
    throw new PipelineError(
      'input_unreadable',
      `${names.join(' and ')} hold no valid event: produce --dry-run shows why.`,
    )
  }
  const { firstMs: startMs, lastMs } = source.span
  const take = createSpanReader(source.chunks, plan)
  return {
    startMs,
    lastMs,
    parts: source.parts,
    isGenerated: false,
    open: async ({ fromMs, untilMs = Infinity }) => take(fromMs, untilMs),
  }
}

/** Rows in the order of event time, read once; what lies behind the end of a span is kept for the next. */
function createSpanReader(rows: Rows, plan: Plan): (fromMs: number, untilMs: number) => AsyncGenerator<SourceEvent[]> {
  const check = createRowCheck(plan.streams)
  const chunks = Symbol.asyncIterator in rows ? rows[Symbol.asyncIterator]() : rows[Symbol.iterator]()
  let rest: readonly SourceEvent[] = []

  return async function* take(fromMs, untilMs) {
    for (;;) {
      if (rest.length === 0) {
        const { done, value } = await chunks.next()
        if (done) return
        rest = value
      }
      const taken: SourceEvent[] = []
      const end = rest.findIndex((event) => {
        const row = check(event)
        const timeMs = row.kind === 'event' ? row.timeMs : fromMs
        if (timeMs >= fromMs && timeMs < untilMs) taken.push(event)
        return timeMs >= untilMs
      })
      rest = end === -1 ? [] : rest.slice(end)
      yield taken
      if (end !== -1) return
    }
  }
}
