/** The name of a source in, its events in chunks out; called by every command with `--source`. Only this file knows the sources by name. */
import { generateHandbook, type HandbookTable, handbookEventChunks, handbookStartMs } from '../../pipelines/handbook.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { openFileSource, openStdinSource } from './file.ts'
import type { Source, SourceContext, SourceOptions } from './source.ts'

const chunkEventsMax = 2_000

/** Rejects with `usage` for options that exclude each other, `input_unreadable` for a file that is not there. */
export async function openSource(
  options: SourceOptions,
  plan: Pick<Plan, 'name' | 'streams'>,
  surroundings: SourceContext,
): Promise<Source> {
  if (options.source === 'handbook') return handbookSource(options, plan)
  for (const name of ['from', 'until', 'seed'] as const) {
    if (options[name] === undefined) continue
    throw new PipelineError('usage', `--${name} applies to a generated source such as --source handbook only.`)
  }
  if (options.source === 'stdin') return openStdinSource(options, plan, surroundings)
  return openFileSource(options, plan, surroundings)
}

function handbookSource(options: SourceOptions, plan: Pick<Plan, 'name' | 'streams'>): Source {
  for (const name of ['stream', 'format', 'delimiter', 'map'] as const) {
    if (options[name] === undefined) continue
    throw new PipelineError(
      'usage',
      `--${name} applies to a file or stdin only: the handbook defines its own streams and fields.`,
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

/** The last table drawn: it takes seconds, and a source that reads span by span needs it again. */
let drawn: HandbookTable | null = null

/** Draws the table of a seed unless it is the last one drawn: with the first event, or earlier in idle time. */
export function drawHandbook(seed: number): HandbookTable {
  if (drawn?.seed !== seed) drawn = generateHandbook({ seed })
  return drawn
}
