/** `millrace replay`: a source in event-time order through the pure core into a CSV file of vectors and scores. Needs no server. */
import { readFile } from 'node:fs/promises'
import { stringify } from 'csv-stringify/sync'
import { createScorer, type Scorer } from '../../online-model/models/scorer.ts'
import { modelFromJson } from '../../online-model/registry/model-file.ts'
import { createReplay, type Replayed } from '../../processors/replay.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { createLeftOut } from '../left-out.ts'
import { loadPlan } from '../load-plan.ts'
import { createEventReader } from '../sources/checked-event.ts'
import { openSource } from '../sources/open-source.ts'
import type { SourceOptions } from '../sources/source.ts'
import { shown } from '../terminal.ts'
import { cell, entityKeyCells, vectorCells, vectorColumns } from '../vector-cells.ts'
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
  const leftOut = createLeftOut()
  const replay = createReplay(plan, {
    ...{ partitions: options.partitions, entityBytesMax: config.entityMbMax * 2 ** 20 },
    onRejected: ({ stream, id, time }, problem) =>
      leftOut.add(plan.streams[stream]!.name, problem, `${id} of ${new Date(time).toISOString()}`),
  })
  const read = createEventReader(plan, options, leftOut.add)
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
  const { events, duplicates } = replay.counts
  const rejected = leftOut.total
  terminal.out(
    `${options.out}: ${shown(rows)} rows from ${shown(events)} events in ${seconds.toFixed(1)} s; ` +
      `${shown(duplicates)} duplicates and ${shown(rejected)} rejected events left out.`,
  )
  for (const line of leftOut.lines()) terminal.out(line)
  const reasons = leftOut.counts()
  await writeFigures(options.json, {
    rows,
    events,
    duplicates,
    rejected,
    reasons,
    seconds,
    model: scorer?.version ?? null,
  })
  return rejected > (options.allowRejects ?? 0) ? exitCodes.rejected : exitCodes.done
}

async function loadScorer(path: string, plan: Plan): Promise<Scorer> {
  const text = await readFile(path, 'utf8').catch((cause: Error) => {
    throw new PipelineError('input_unreadable', `Model ${path} cannot be read: ${cause.message}.`, { cause })
  })
  return createScorer(modelFromJson(text, path), plan, 0)
}

function columnsOf(plan: Plan, isScored: boolean): string[] {
  return [plan.scored.idField, 'seconds', ...vectorColumns(plan), ...(isScored ? ['score'] : [])]
}

/** Cells in the order of the columns. The first event gives the start where the source has none. */
function rowMaker(plan: Plan, scorer: Scorer | null, startMs: number | null): (replayed: Replayed) => string[] {
  const keyCells = entityKeyCells(plan)
  let start = startMs
  return ({ id, time, event, vector }) => {
    start ??= time
    const cells = [id, cell((time - start) / 1_000), ...keyCells(event), ...vectorCells(vector)]
    if (scorer) cells.push(cell(scorer.score(vector)))
    return cells
  }
}
