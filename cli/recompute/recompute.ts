/**
 * `millrace recompute`: the features and predictions of history again from the raw topics, in canonical order, beside the running pipeline.
 * They go to a file with what differs from the predictions that were published; nothing is published a second time (decision 47).
 */
import { stringify } from 'csv-stringify/sync'
import { createScorer, type Scorer } from '../../online-model/models/scorer.ts'
import { createRegistryFollower } from '../../online-model/registry/follower.ts'
import { createReplay, type Replayed } from '../../processors/replay.ts'
import { stageInputs } from '../../processors/stage-inputs.ts'
import type { BrokerData } from '../../runtime/broker.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { type CommandContext, openPipelineBroker } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { createLeftOut, type LeftOut } from '../left-out.ts'
import { loadPlan } from '../load-plan.ts'
import { requireFitting, versionNamed } from '../models/open-registry.ts'
import { shown, shownTime, type Terminal } from '../terminal.ts'
import { requireTopics } from '../topics/requirements.ts'
import { cell, entityKeyCells, recomputedColumns, vectorCells } from '../vector-cells.ts'
import { openWholeFile, type WholeFile, writeFigures } from '../whole-file.ts'
import { type Comparison, type ComparisonFigures, createComparison } from './compare.ts'
import { eventsOf, type HistoryCounts, type HistoryEvent, type Published, readHistory, warmUpMs } from './history.ts'
import { type Spill, withSpill } from './spill.ts'

export interface RecomputeCommandOptions {
  readonly from: number
  readonly until?: number
  readonly model?: string
  readonly out?: string
  readonly json?: string
}

interface RecomputeParts {
  readonly plan: Plan
  readonly partitions: number
  readonly entityBytesMax: number
  readonly scorer: Scorer | null
  readonly fromMs: number
  readonly comparison: Comparison
  readonly leftOut: LeftOut
  readonly signal: AbortSignal
}

export async function recomputeCommand(
  definition: string,
  options: RecomputeCommandOptions,
  context: CommandContext,
): Promise<number> {
  const { config, terminal } = context
  const { from: fromMs, until: untilMs = Number.POSITIVE_INFINITY } = options
  if (untilMs <= fromMs) {
    throw new PipelineError(
      'usage',
      `--until ${shownTime(untilMs)} is not after --from ${shownTime(fromMs)}: expected an instant after it.`,
    )
  }
  const plan = await loadPlan(definition, config)
  const file = options.out ?? `${plan.name}.recomputed.csv`
  const signal = context.stopping.signal()
  const { broker } = openPipelineBroker(plan, config, context)
  try {
    const topics = plan.streams.filter(({ entersAt }) => entersAt !== null).map(({ topic }) => topic)
    const ofStage = stageInputs(plan, plan.entityStages[0]!).at(-1)!.topic
    const partitionsOf = await requireTopics(broker.data, [...topics, ofStage, plan.predictions.topic])
    const scorer = await scorerOf(plan, options.model, broker.data, terminal)
    const comparison = createComparison(plan.features.map(({ name }) => name))
    const leftOut = createLeftOut()
    const sizes = { partitions: partitionsOf(ofStage), entityBytesMax: config.entityMbMax * 2 ** 20 }
    const parts = { plan, ...sizes, scorer, fromMs, comparison, leftOut, signal }
    return await withSpill(async (spill) => {
      terminal.err(
        `Reading events from ${shownTime(fromMs - warmUpMs(plan))} on, for the windows at ${shownTime(fromMs)}.`,
      )
      const reading = { plan, broker: broker.data, partitionsOf, fromMs, untilMs, leftOut, signal }
      const history = await readHistory(reading, spill)
      const replayed = await writeRows(parts, spill, file)
      const figures = comparison.figures()
      printSummary({ file, history, figures, scorer, ...replayed }, terminal)
      for (const line of leftOut.lines()) terminal.out(line)
      const { short, ...counts } = history
      await writeFigures(options.json, {
        ...counts,
        ...replayed,
        ...figures,
        model: scorer?.version ?? null,
        reasons: leftOut.counts(),
        short: Object.fromEntries(short),
      })
      return exitCodes.done
    })
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error
    terminal.err(`Stopped: ${file} was not written.`)
    return exitCodes.interrupted
  } finally {
    await broker.close()
  }
}

/** The version that is named, else the champion; null, with the reason on the terminal, where there is none that fits. */
async function scorerOf(
  plan: Plan,
  name: string | undefined,
  broker: BrokerData,
  terminal: Terminal,
): Promise<Scorer | null> {
  await requireTopics(broker, [plan.models.topic])
  const follower = createRegistryFollower({ broker, plan, topic: plan.models.topic, printLine: () => undefined })
  try {
    await follower.loadToEnd()
    if (name !== undefined) {
      const version = versionNamed({ plan, state: follower.state() }, name)
      requireFitting(plan, version)
      return createScorer(version, plan, 0)
    }
    const champion = follower.current()
    if (champion === null)
      terminal.err('There is no champion that fits this definition: only the features are computed.')
    return champion
  } finally {
    await follower.close()
  }
}

interface ReplayedCounts {
  readonly rows: number
  readonly duplicates: number
  readonly rejected: number
}

/** Rejects with the signal's reason. */
async function writeRows(parts: RecomputeParts, spill: Spill, path: string): Promise<ReplayedCounts> {
  const { plan, partitions, entityBytesMax, leftOut, signal } = parts
  const replay = createReplay(plan, {
    partitions,
    entityBytesMax,
    onRejected: ({ stream, id, time }, problem) =>
      leftOut.add(plan.streams[stream]!.name, problem, `${id} of ${new Date(time).toISOString()}`),
  })
  const file = await openWholeFile(path)
  const pending: Pending = { timeMs: Number.NEGATIVE_INFINITY, byId: new Map() }
  let rows = 0
  const write = async (computed: readonly Computed[]) => {
    rows += await writeComputed(parts, file, computed)
  }
  try {
    await file.write(stringify([recomputedColumns(plan)]))
    for await (const events of eventsOf(plan, spill)) {
      signal.throwIfAborted()
      await write(events.flatMap((event) => pushEvent(parts, replay, event, pending)))
    }
    await write(withPublished(replay.flush(), pending))
    await file.finish()
  } finally {
    await file.discard()
  }
  const { duplicates, rejected } = replay.counts
  return { rows, duplicates, rejected }
}

interface Computed extends Replayed {
  readonly published: Published | null
}

/** What was published for the events of the last instant, whose vectors are not computed yet. */
interface Pending {
  timeMs: number
  readonly byId: Map<string, Published>
}

function pushEvent(
  { plan }: RecomputeParts,
  replay: ReturnType<typeof createReplay>,
  { stream, time, event, origin, rejectedBy, published }: HistoryEvent,
  pending: Pending,
): Computed[] {
  const computed = withPublished(
    replay.push(stream, event, origin.partition, { offset: origin.offset, rejectedBy }),
    pending,
  )
  // Also of events that were duplicates or rejected.
  if (time > pending.timeMs) pending.byId.clear()
  pending.timeMs = time
  if (published !== null) pending.byId.set(event[plan.scored.idField] as string, published)
  return computed
}

function withPublished(replayed: readonly Replayed[], { byId }: Pending): Computed[] {
  return replayed.map((one) => ({ ...one, published: byId.get(one.id) ?? null }))
}

/** How many rows were written: those before the span only fill its windows. */
async function writeComputed(
  { plan, fromMs, scorer, comparison }: RecomputeParts,
  file: WholeFile,
  computed: readonly Computed[],
): Promise<number> {
  const keyCells = entityKeyCells(plan)
  const lines: string[][] = []
  for (const { id, time, event, vector, published } of computed) {
    if (time < fromMs) continue
    const score = scorer?.score(vector) ?? null
    const status = comparison.add(vector, score, scorer?.version ?? null, published)
    const instant = new Date(time).toISOString()
    const scoreCells = [score === null ? '' : cell(score), scorer?.version ?? '']
    lines.push([id, instant, ...keyCells(event), ...vectorCells(vector), ...scoreCells, status, plan.fingerprint])
  }
  if (lines.length > 0) await file.write(stringify(lines))
  return lines.length
}

interface Summary extends ReplayedCounts {
  readonly file: string
  readonly history: HistoryCounts
  readonly figures: ComparisonFigures
  readonly scorer: Scorer | null
}

function printSummary(
  { file, history, figures, scorer, rows, duplicates, rejected }: Summary,
  terminal: Terminal,
): void {
  const { compared, differing, unpublished, features, scores } = figures
  terminal.out(
    `${file}: ${shown(rows)} rows from ${shown(history.events)} events${scorer ? `, scored by ${scorer.version}` : ''}; left out: ` +
      `${shown(history.invalid)} records that are no valid events, ${shown(duplicates)} duplicates, ${shown(rejected)} rejected.`,
  )
  terminal.out(
    `  ${shown(differing)} of ${shown(compared)} vectors differ from those that were published; ${shown(unpublished)} were not published` +
      (history.foreign === 0 ? '.' : `, ${shown(history.foreign)} by another definition.`),
  )
  for (const [name, { differing: count, missing, greatest }] of Object.entries(features)) {
    const isMissing = missing === 0 ? [] : [`${shown(missing)} of them missing before or now`]
    const byUpTo = missing === count ? [] : [`by up to ${greatest}`]
    terminal.out(`    ${name}: ${[`${shown(count)} differ`, ...isMissing, ...byUpTo].join(', ')}`)
  }
  if (scores.compared > 0) {
    terminal.out(
      `  scores of ${scorer!.version}: ${shown(scores.differing)} of ${shown(scores.compared)} differ, by up to ` +
        `${scores.greatest.toPrecision(3)}, ${scores.mean.toPrecision(3)} on average`,
    )
  }
  for (const [partition, firstMs] of history.short) {
    terminal.err(
      `${partition} begins at ${shownTime(firstMs)}, since retention has removed what was before: windows that reach further back are ` +
        'short.',
    )
  }
}
