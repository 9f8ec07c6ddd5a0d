/**
 * `millrace backtest`: a source through the pure core into the models, without servers: what the definition's model would have been worth
 * in a week, trained on what was known then.
 */
import { type Backtest, createBacktest } from '../../online-model/backtest/backtest.ts'
import { dayMs, type LineName, type Protocol, protocolOf } from '../../online-model/backtest/protocol.ts'
import type { BacktestResult, LineResult } from '../../online-model/backtest/results.ts'
import { shownMeasure } from '../../online-model/evaluation/report.ts'
import { createReplay, type Replayed } from '../../processors/replay.ts'
import { formatDuration } from '../../schemas/kernel/duration.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { EventValues } from '../../schemas/kernel/event.ts'
import type { ModelWeights } from '../../schemas/models/models.ts'
import { type Outcome, outcomeOf } from '../../schemas/plan/label-outcome.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { createLeftOut, type LeftOut } from '../left-out.ts'
import { loadPlan } from '../load-plan.ts'
import { createEventReader } from '../sources/checked-event.ts'
import { openSource } from '../sources/open-source.ts'
import type { Source, SourceOptions } from '../sources/source.ts'
import { shown, shownTime, type Terminal, tableLines } from '../terminal.ts'
import { writeFigures } from '../whole-file.ts'

export interface BacktestCommandOptions extends SourceOptions {
  /** Ms since 1970, the start of a day. */
  readonly testFrom?: number
  readonly lines?: readonly LineName[]
  readonly json?: string
}

/** The week that the Handbook's published results are of. */
const handbookTestFromMs = Date.UTC(2018, 7, 8)
/** Of fits and learners. */
const seed = 0
const partitions = 4
/** Where the definition gives no interval. */
const publishEveryMs = 6 * 3_600_000
const reportEveryMs = 10 * dayMs

export async function backtestCommand(
  definition: string,
  options: BacktestCommandOptions,
  context: CommandContext,
): Promise<number> {
  const { config, terminal, clock } = context
  const signal = context.stopping.signal()
  const plan = await loadPlan(definition, config)
  const protocol = protocolOf(testFrom(options), plan.label.otherwise.afterMs)
  /** The last label of the week counts then. */
  const untilMs = protocol.test.untilMs + protocol.labelDelayMs
  const span = options.source.includes('handbook') ? { until: untilMs } : {}
  const surroundings = { stdin: context.stdin, signal, printLine: terminal.err, isReplay: true }
  const source = await openSource({ ...options, ...span }, plan, surroundings)
  const beganMs = clock.elapsedMs()
  const backtest = await createBacktest({
    plan,
    protocol,
    seed,
    publishEveryMs: plan.learn.continuous?.publishEveryMs ?? publishEveryMs,
    elapsedMs: clock.elapsedMs,
    signal,
    printLine: (line) => terminal.err(line),
    recordBytesOf: (model) => plan.models.codec.encode(recordOf(plan, model)).length,
    ...(options.lines === undefined ? {} : { lines: options.lines }),
  })
  const leftOut = createLeftOut()
  try {
    const entityBytesMax = config.entityMbMax * 2 ** 20
    await replayInto(backtest, plan, source, { untilMs, entityBytesMax, protocol, signal, terminal, options, leftOut })
    if (signal.aborted) return exitCodes.interrupted
    const result = backtest.finish()
    const seconds = (clock.elapsedMs() - beganMs) / 1_000
    print(result, plan, protocol, seconds, terminal)
    const rejected = leftOut.total
    if (rejected > 0) terminal.out(`${shown(rejected)} rejected events left out.`)
    for (const line of leftOut.lines()) terminal.out(line)
    await writeFigures(options.json, { ...figures(result, protocol, seconds), rejected, reasons: leftOut.counts() })
    return rejected > (options.allowRejects ?? 0) ? exitCodes.rejected : exitCodes.done
  } finally {
    backtest.close()
  }
}

/** As the registry would hold it. */
function recordOf({ fingerprint }: Plan, model: ModelWeights): ModelVersion {
  const names = { kind: 'version', version: 'v1', origin: 'retrain', parent: null } as const
  return { ...names, createdAtMs: 0, fingerprint, seed, model, metrics: {}, trainedOn: [] }
}

function testFrom({ source, testFrom }: BacktestCommandOptions): number {
  if (testFrom !== undefined) return testFrom
  if (source.includes('handbook')) return handbookTestFromMs
  throw new PipelineError(
    'usage',
    '--test-from is missing: expected the first day of the week to test, such as --test-from 2026-03-02, with at least five weeks ' +
      'of events before it and the label delay after it.',
  )
}

interface Replaying {
  readonly untilMs: number
  readonly entityBytesMax: number
  readonly protocol: Protocol
  readonly signal: AbortSignal
  readonly terminal: Terminal
  readonly options: BacktestCommandOptions
  /** Rows that are no events, and events without features. */
  readonly leftOut: LeftOut
}

/** Every event is folded as live; of one instant the scored events come before the labels, which may name them. */
async function replayInto(
  backtest: Backtest,
  plan: Plan,
  source: Source,
  { untilMs, entityBytesMax, protocol, signal, terminal, options, leftOut }: Replaying,
): Promise<void> {
  const replay = createReplay(plan, {
    partitions,
    entityBytesMax,
    onRejected: ({ stream, id, time }, problem) =>
      leftOut.add(plan.streams[stream]!.name, problem, `${id} of ${new Date(time).toISOString()}`),
  })
  const read = createEventReader(plan, options, leftOut.add)
  const [scored, labels] = [plan.scored, plan.streams[plan.label.stream]!]
  const keyField = plan.entityStages[0]?.entity.keyFields.get(scored.index) ?? scored.keyField
  let instantMs = Number.NEGATIVE_INFINITY
  let waiting: Array<{ readonly id: string; readonly outcome: Outcome }> = []
  let reportedMs = Number.NEGATIVE_INFINITY
  let lastMs = Number.NEGATIVE_INFINITY
  let tested = 0

  async function take(replayed: readonly Replayed[]): Promise<void> {
    for (const { id, time, event, vector } of replayed) {
      await backtest.row({ id, time, key: String(event[keyField]), vector })
    }
    for (const { id, outcome } of waiting) await backtest.label(id, outcome, instantMs)
    waiting = []
  }

  async function push(stream: number, values: EventValues): Promise<boolean> {
    const timeMs = values[plan.streams[stream]!.timeField] as number
    if (stream === scored.index && lastMs === Number.NEGATIVE_INFINITY) requireBegin(timeMs, backtest, protocol)
    lastMs = Math.max(lastMs, timeMs)
    if (timeMs >= untilMs) return false
    if (stream === scored.index && timeMs >= protocol.test.fromMs && timeMs < protocol.test.untilMs) tested++
    // Nothing of what is scored later is measured, and no feature of the week needs it.
    const isOver = stream === scored.index && timeMs >= protocol.test.untilMs
    if (!isOver) {
      const replayed = replay.push(stream, values)
      if (timeMs > instantMs) await take(replayed)
      instantMs = timeMs
    }
    if (stream === labels.index) waiting.push({ id: String(values[labels.idField]), outcome: outcomeIn(plan, values) })
    if (timeMs >= reportedMs + reportEveryMs) {
      reportedMs = timeMs
      terminal.err(`  ${dayOf(timeMs)}: ${shown(replay.counts.events)} events`)
    }
    return true
  }

  reading: for await (const chunk of source.chunks) {
    for (const event of chunk) {
      if (signal.aborted) return
      const checked = read(event)
      if (checked && !(await push(checked.stream, checked.values))) break reading
    }
  }
  await take(replay.flush())
  if (lastMs < untilMs - dayMs || tested === 0) {
    throw new PipelineError(
      'usage',
      `The source ends at ${shownTime(lastMs)} with ${tested} events in the week from ${dayOf(protocol.test.fromMs)}, whose labels ` +
        `count until ${shownTime(untilMs)}: expected an earlier --test-from, or a source that continues as far.`,
    )
  }
}

/** Reported at the first event rather than after all of them. */
function requireBegin(firstMs: number, { needsFromMs }: Backtest, { test }: Protocol): void {
  if (firstMs < needsFromMs + dayMs) return
  const earliestMs = Math.ceil((firstMs + test.fromMs - needsFromMs) / dayMs) * dayMs
  throw new PipelineError(
    'usage',
    `The source begins at ${shownTime(firstMs)}, but a test from ${dayOf(test.fromMs)} on is trained on events from ` +
      `${shownTime(needsFromMs)} on: expected --test-from ${dayOf(earliestMs)} or later.`,
  )
}

function outcomeIn(plan: Plan, values: EventValues): Outcome {
  const outcome = outcomeOf(plan.label, values)
  if (outcome !== 'rejected') return outcome
  const { name, idField } = plan.streams[plan.label.stream]!
  throw new PipelineError(
    'input_unreadable',
    `The label event of ${name} for ${values[idField]} holds neither 0 nor 1 nor nothing; a backtest does not continue without it.`,
  )
}

function print(result: BacktestResult, plan: Plan, protocol: Protocol, seconds: number, terminal: Terminal): void {
  const { lines, testRows, skipped } = result
  if (lines.length === 0) throw new PipelineError('usage', `None of the lines can be drawn: ${skipped.join('; ')}.`)
  const { rows, positives } = lines[0]!.measured
  const [first, last] = [dayOf(protocol.test.fromMs), dayOf(protocol.test.untilMs - 1)]
  const delay = formatDuration(protocol.labelDelayMs)
  terminal.out(
    `${plan.name}, ${first} to ${last}: ${shown(rows)} of ${shown(testRows)} events measured, ${shown(positives)} of them positive.`,
  )
  terminal.out(
    `  Left out: on each day, whose entity was known as positive by then. A label counts ${delay} after its event.`,
  )
  const head = [
    'line',
    'AUC',
    'AP',
    'CP@100',
    'AP, all',
    'log-loss',
    'ECE',
    'taught',
    'positive',
    'µs to learn',
    'µs to predict',
  ]
  const cells = lines.map(({ name, measured, wholeWeek, ...line }) => [
    name,
    ...[measured.auc, measured.averagePrecision, measured.precisionAtK].map(shownThird),
    shownThird(wholeWeek.averagePrecision),
    shownMeasure(measured.logLoss),
    shownMeasure(measured.calibrationError),
    shown(line.taughtRows),
    shown(line.taughtPositives),
    line.learnMicros.toFixed(1),
    line.predictMicros.toFixed(2),
  ])
  for (const line of tableLines([head, ...cells])) terminal.out(line)
  for (const { name, what, note } of lines) terminal.out(`  ${name}: ${what} (${note})`)
  for (const { name, gate } of lines) {
    if (gate === null) continue
    const verdict = gate.promote ? 'would be promoted' : 'would not be promoted'
    terminal.out(`  gate: ${name} ${verdict} over ${gate.against}. ${gate.reasons.join(' ')}`)
  }
  for (const line of skipped) terminal.out(`  left out: ${line}`)
  terminal.out('Average precision by day:')
  for (const line of tableLines(byDay(lines))) terminal.out(`  ${line}`)
  terminal.out(`${seconds.toFixed(0)} s in all.`)
}

function byDay(lines: readonly LineResult[]): string[][] {
  const days = lines.map(({ report }) => report.groups.filter(({ by }) => by === 'day').toReversed())
  const head = ['day', 'measured', 'positive', ...lines.map(({ name }) => name)]
  const rows = days[0]!.map(({ name, quality }, i) => [
    name,
    shown(quality.rows),
    shown(quality.positives),
    ...days.map((groups) => shownThird(groups[i]!.quality.averagePrecision)),
  ])
  return [head, ...rows]
}

/** By the name of each line; null where there is none. */
function figures(
  { lines, testRows, skipped }: BacktestResult,
  { test, ...windows }: Protocol,
  seconds: number,
): object {
  const named = (name: string) => {
    const line = lines.find((one) => one.name === name)
    if (line === undefined) return null
    const { measured, wholeWeek, report, what, note, ...rest } = line
    return {
      auc: measured.auc,
      ap: measured.averagePrecision,
      cp100: measured.precisionAtK,
      test: { from: dayOf(test.fromMs), until: dayOf(test.untilMs) },
      ...rest,
      what,
      note,
      measured,
      wholeWeek,
      groups: report.groups,
    }
  }
  return {
    split: named('split'),
    retrained: named('retrained'),
    continuous: named('continuous'),
    arriving: named('arriving'),
    skipped,
    testRows,
    labelDelayMs: windows.labelDelayMs,
    seconds,
  }
}

function shownThird(value: number | null): string {
  return value === null ? '-' : value.toFixed(3)
}

function dayOf(timeMs: number): string {
  return new Date(timeMs).toISOString().slice(0, 10)
}
