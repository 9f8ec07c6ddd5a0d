/** `millrace replay`: a source in event-time order through the pure core into a CSV file of vectors and scores. Needs no server. */
import { readFile } from 'node:fs/promises'
import { stringify } from 'csv-stringify/sync'
import { createScorer, type Scorer } from '../../online-model/models/scorer.ts'
import { modelFromJson } from '../../online-model/registry/model-file.ts'
import { createReplay, type Replayed } from '../../processors/replay.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { EntityPlan, Plan } from '../../schemas/plan/plan.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { loadPlan } from '../load-plan.ts'
import { createEventReader } from '../sources/checked-event.ts'
import { openSource } from '../sources/open-source.ts'
import type { SourceOptions } from '../sources/source.ts'
import { shown } from '../terminal.ts'
import { openWholeFile, writeFigures } from '../whole-file.ts'

export interface ReplayCommandOptions extends SourceOptions {
  readonly partitions: number
  readonly out: string
  /** File with a model to score with. */
  readonly model?: string
  readonly json?: string
}

export async function replayCommand(
  definition: string,
  options: ReplayCommandOptions,
  context: CommandContext,
): Promise<number> {
  const { config, terminal, clock } = context
  const signal = context.stopping.signal()
  const plan = await loadPlan(definition, config)
  const scorer = options.model === undefined ? null : await loadScorer(options.model, plan)
  const source = await openSource(options, plan, {
    stdin: context.stdin,
    signal,
    printLine: terminal.err,
    isReplay: true,
  })
  const startedMs = clock.elapsedMs()
  const rowOf = rowMaker(plan, scorer, source.startMs)
  const replay = createReplay(plan, { partitions: options.partitions })
  const read = createEventReader(plan, options)
  const out = await openWholeFile(options.out)
  let rows = 0
  const write = async (replayed: readonly Replayed[]) => {
    rows += replayed.length
    if (replayed.length > 0) await out.write(stringify(replayed.map(rowOf)))
  }
  try {
    await out.write(stringify([columnsOf(plan, scorer !== null)]))
    for await (const chunk of source.chunks) {
      if (signal.aborted) break
      const replayed: Replayed[] = []
      for (const event of chunk) {
        const checked = read(event)
        if (checked) replayed.push(...replay.push(checked.stream, checked.values))
      }
      await write(replayed)
    }
    if (signal.aborted) {
      terminal.err(`Stopped: ${options.out} was not written.`)
      return exitCodes.interrupted
    }
    await write(replay.flush())
    await out.finish()
  } finally {
    await out.discard()
  }
  const seconds = (clock.elapsedMs() - startedMs) / 1_000
  const { events, duplicates, rejected } = replay.counts
  terminal.out(
    `${options.out}: ${shown(rows)} rows from ${shown(events)} events in ${seconds.toFixed(1)} s; ` +
      `${shown(duplicates)} duplicates and ${shown(rejected)} rejected events left out.`,
  )
  await writeFigures(options.json, { rows, events, duplicates, rejected, seconds, model: scorer?.version ?? null })
  return exitCodes.done
}

async function loadScorer(path: string, plan: Plan): Promise<Scorer> {
  const text = await readFile(path, 'utf8').catch((cause: Error) => {
    throw new PipelineError('input_unreadable', `Model ${path} cannot be read: ${cause.message}.`, { cause })
  })
  return createScorer(modelFromJson(text, path), plan, 0)
}

function columnsOf(plan: Plan, isScored: boolean): string[] {
  const entities = entityPlans(plan).map(({ name }) => name)
  const features = plan.features.map(({ name }) => name)
  return [plan.scored.idField, 'seconds', ...entities, ...features, ...(isScored ? ['score'] : [])]
}

function entityPlans(plan: Plan): EntityPlan[] {
  return plan.entityStages.map(({ entity }) => entity)
}

/** Cells in the order of the columns. The first event gives the start where the source has none. */
function rowMaker(plan: Plan, scorer: Scorer | null, startMs: number | null): (replayed: Replayed) => string[] {
  const keyFields = entityPlans(plan).map(({ keyFields }) => keyFields.get(plan.scored.index))
  let start = startMs
  return ({ id, time, event, vector }) => {
    start ??= time
    const cells = [id, cell((time - start) / 1_000)]
    for (const field of keyFields) cells.push(field === undefined ? '' : String(event[field] ?? ''))
    for (const value of vector) cells.push(cell(value))
    if (scorer) cells.push(cell(scorer.score(vector)))
    return cells
  }
}

/** The shortest text that is read back as the same double; nothing where it is missing. */
function cell(value: number): string {
  if (Number.isNaN(value)) return ''
  return Object.is(value, -0) ? '-0' : String(value)
}
