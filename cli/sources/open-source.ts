/**
 * The names of sources in, their events in chunks out, merged by event time where there are several; called by every command with
 * `--source`. Only this file knows the sources by name.
 */
import { generateHandbook, type HandbookTable, handbookEventChunks, handbookStartMs } from '../../pipelines/handbook.ts'
import { inOrder, mergeRows } from '../../producers/merge.ts'
import { createRowCheck } from '../../producers/prepare.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { openFile, readStdin } from './file.ts'
import { loadMappings } from './mapping-file.ts'
import { type NamedSource, namedSources } from './named-source.ts'
import { type OrderedSource, orderedFile, orderedInput } from './ordered-source.ts'
import type { Source, SourceContext, SourceOptions, TimeSpan } from './source.ts'

const chunkEventsMax = 2_000

type SourcePlan = Pick<Plan, 'name' | 'streams'>

/**
 * Reads files once, to know their order. Rejects with `usage` for options that exclude each other and for a source that is not in order,
 * `input_unreadable` for a file that is not there.
 */
export async function openSource(
  options: SourceOptions,
  plan: SourcePlan,
  surroundings: SourceContext,
): Promise<Source> {
  if (options.source.includes('handbook')) return handbookSource(options, plan)
  for (const name of ['from', 'until', 'seed'] as const) {
    if (options[name] === undefined) continue
    throw new PipelineError('usage', `--${name} applies to a generated source such as --source handbook only.`)
  }
  const named = namedSources(options, plan)
  if (named.filter(({ path }) => path === 'stdin').length > 1)
    throw new PipelineError('usage', '--source stdin is given twice: there is one standard input.')
  const sources = await openAll(named, options, plan, surroundings)
  const [first] = sources
  const check = createRowCheck(plan.streams)
  const rows = sources.map(({ rows }) => rows)
  const merged = rows.length === 1 ? rows[0]! : mergeRows(rows, check)
  const disorderMs = Math.max(...plan.streams.map((stream) => stream.disorderMs))
  const needsOrder = surroundings.isReplay && disorderMs > 0 && sources.some(({ isSorted }) => !isSorted)
  return {
    startMs: null,
    span: spanOf(sources),
    chunks: needsOrder ? inOrder(merged, disorderMs, check) : merged,
    parts: sources.length,
    streams: streamsOf(named, plan),
    isOutOfOrder: sources.some(({ isOutOfOrder }) => isOutOfOrder),
    shareRead: () => meanOf(sources.map(({ shareRead }) => shareRead())),
    identity: sources.some(({ file }) => file === null)
      ? null
      : {
          name:
            sources.length === 1 ? first!.file!.part.name : sources.map(({ file }) => file!.part.name).join(' and '),
          key: JSON.stringify([...sources.map(({ file }) => file!.key), options.sort ?? false]),
          parts: sources.map(({ file }) => file!.part),
        },
  }
}

async function openAll(
  named: readonly NamedSource[],
  options: SourceOptions,
  plan: SourcePlan,
  surroundings: SourceContext,
): Promise<OrderedSource[]> {
  const sources: OrderedSource[] = []
  const mappings = await loadMappings(options.mapping ?? [], plan)
  const ordering = { options, surroundings, check: createRowCheck(plan.streams), sources: named.length }
  for (const source of named) {
    if (source.path === 'stdin')
      sources.push(orderedInput(readStdin(source, options, plan, mappings, surroundings), ordering))
    else sources.push(await orderedFile(await openFile(source, options, plan, mappings, surroundings.signal), ordering))
  }
  return sources
}

function streamsOf(named: readonly NamedSource[], { streams }: SourcePlan): SourcePlan['streams'] {
  return streams.filter(({ name }) => named.some(({ stream }) => stream === null || stream === name))
}

/** Null where one of them holds no event, or is not read yet. */
function spanOf(sources: readonly OrderedSource[]): TimeSpan | null {
  const spans = sources.flatMap(({ span }) => (span === null ? [] : [span]))
  if (spans.length < sources.length) return null
  return {
    firstMs: Math.min(...spans.map(({ firstMs }) => firstMs)),
    lastMs: Math.max(...spans.map(({ lastMs }) => lastMs)),
  }
}

function meanOf(shares: ReadonlyArray<number | null>): number | null {
  const known = shares.filter((share) => share !== null)
  return known.length < shares.length ? null : known.reduce((sum, share) => sum + share, 0) / known.length
}

function handbookSource(options: SourceOptions, plan: SourcePlan): Source {
  if (options.source.length > 1) {
    throw new PipelineError('usage', '--source handbook gives all its streams in order: it is not merged with others.')
  }
  for (const name of ['stream', 'format', 'delimiter', 'map', 'sort', 'unsorted'] as const) {
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
      `--source handbook gives ${missing.join(' and ')}, which ${plan.name} does not consume: name files of your own, such as ` +
        `--source ${plan.streams[0]!.name}=events.csv.`,
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
    span: null,
    chunks: chunks(),
    parts: 1,
    streams: plan.streams,
    isOutOfOrder: false,
    shareRead: () => null,
    identity: {
      name: 'the handbook',
      key: JSON.stringify(['handbook', 2, seed, options.from ?? null, options.until ?? null]),
      parts: [{ name: 'the handbook', file: null }],
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
