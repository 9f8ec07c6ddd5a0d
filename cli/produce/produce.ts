/** `millrace produce`: events of a source into the raw topics of a pipeline, at a pace. */
import type { Pace } from '../../producers/pace.ts'
import { openPositions, type PositionedSink } from '../../producers/positions.ts'
import { produce, type Sink } from '../../producers/produce.ts'
import type { ProduceProgress, ProduceSummary } from '../../producers/produce-counts.ts'
import type { Broker } from '../../runtime/broker.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { type CommandContext, openPipelineBroker } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { loadPlan } from '../load-plan.ts'
import { closedAfter, createShutdown } from '../shutdown.ts'
import { openSource } from '../sources/open-source.ts'
import { rejectionLine } from '../sources/rejection-line.ts'
import type { Source, SourceOptions } from '../sources/source.ts'
import { shown, shownTime, type Terminal } from '../terminal.ts'
import { requireTopics } from '../topics/requirements.ts'
import { writeFigures } from '../whole-file.ts'
import { dryRun } from './dry-run.ts'
import { openRejectedFile } from './rejected-file.ts'

export interface ProduceCommandOptions extends SourceOptions {
  /** Continues where the run before stopped. */
  readonly resume?: boolean
  /** Event seconds a second. */
  readonly speed?: number
  /** Events a second. */
  readonly rate?: number
  /** File for what is not sent. */
  readonly rejected?: string
  readonly json?: string
  /** Shows what would be sent, and sends nothing. */
  readonly dryRun?: boolean
}

/** Of the rejected events only the first few are printed, all are counted. */
const rejectionsShownMax = 20

export async function produceCommand(
  definition: string,
  options: ProduceCommandOptions,
  context: CommandContext,
): Promise<number> {
  const { config, terminal, clock } = context
  const signal = context.stopping.signal()
  const plan = await loadPlan(definition, config)
  const isTrial = options.dryRun ?? false
  const source = await openSource(options, plan, { stdin: context.stdin, signal, printLine: terminal.err, isTrial })
  if (isTrial) return dryRun(source, plan, options, { terminal, signal })
  if (options.resume && source.identity === null) {
    throw new PipelineError(
      'usage',
      '--resume applies to a file or a generated source: standard input cannot be read again.',
    )
  }
  const { broker } = openPipelineBroker(plan, config, context)
  const shutdown = createShutdown()
  shutdown.add('Kafka', broker.close)
  return closedAfter(shutdown, closeMaxMs, async () => {
    const sent = source.streams.map(({ topic }) => topic)
    const besides = plan.schemas.raw.filter((raw) => sent.includes(raw.of)).map(({ topic }) => topic)
    const partitionsOf = await requireTopics(broker.data, [...plan.streams.map(({ topic }) => topic), ...besides])
    await broker.admin.requireRights([...sent, ...besides].map((topic) => ({ topic, rights: ['Write'] })))
    const positions = await openSourcePositions(source, plan, broker, options, context)
    if (positions) shutdown.add('positions', positions.close)
    const sink: Sink = positions ?? (await broker.data.producer())
    const rowsDone = (options.resume ? positions?.found : null) ?? new Array<number>(source.parts).fill(0)
    const rejected =
      options.rejected === undefined
        ? null
        : await openRejectedFile(options.rejected, options.resume ? rowsDone : null, plan.streams)
    if (rejected) shutdown.add('rejected rows', rejected.close)
    let rejections = 0
    const summary = await produce(source.chunks, {
      streams: plan.streams,
      sink: {
        async send(records, rows) {
          await rejected?.keep()
          await sink.send(records, rows)
        },
      },
      rowsDone,
      partitionsOf,
      pace: paceOf(options),
      // What cannot be read again is standard input.
      mayPause: source.identity === null,
      onInstantSplit: (timeMs) => terminal.err(instantSplitText(timeMs)),
      clock,
      signal,
      onRejected: (problems, event, position) => {
        rejected?.add(problems, event, position)
        if (++rejections <= rejectionsShownMax) terminal.err(rejectionLine(problems, event))
      },
      onProgress: (progress) => terminal.err(progressLine(progress, source.shareRead())),
    })
    printSummary(summary, signal.aborted, terminal)
    await writeFigures(options.json, { ...summary, stopped: signal.aborted })
    return summary.rejected > (options.allowRejects ?? 0) ? exitCodes.rejected : exitCodes.done
  })
}

function instantSplitText(timeMs: number): string {
  return (
    `Too many events have the event time ${shownTime(timeMs)}: they are sent in several transactions. A pipeline that runs meanwhile ` +
    'may count some of them as late; one that begins afterwards does not.'
  )
}

const closeMaxMs = 10_000

async function openSourcePositions(
  { identity: source, streams }: Source,
  plan: Plan,
  broker: Broker,
  { resume = false }: ProduceCommandOptions,
  { config, terminal, clock, random, stopping }: CommandContext,
): Promise<PositionedSink | null> {
  if (source === null) return null
  const positions = await openPositions({
    broker,
    groupPrefix: `${config.namespace === '' ? '' : `${config.namespace}.`}${plan.name}`,
    topic: streams[0]!.topic,
    source,
    isResuming: resume,
    clock,
    random,
    signal: stopping.signal(),
    printLine: terminal.err,
  })
  const found = positions.found === null ? null : positions.found.reduce((sum, rows) => sum + rows, 0)
  if (resume && found === null) terminal.err(`${source.name} has no position yet: starting from its first row.`)
  if (resume && found !== null)
    terminal.err(`${source.name}: ${shown(found)} rows are completed; continuing after them.`)
  if (!resume && found)
    terminal.err(`${source.name}: an earlier run completed ${shown(found)} rows; all are sent again.`)
  return positions
}

/** The command has rejected both together. */
function paceOf({ speed, rate }: ProduceCommandOptions): Pace {
  if (speed !== undefined) return { kind: 'event time', speed }
  return rate === undefined ? { kind: 'flat out' } : { kind: 'rate', eventsPerSecond: rate }
}

function progressLine({ events, eventsPerSecond, timeMs }: ProduceProgress, share: number | null): string {
  const done = share === null ? '' : `, ${(share * 100).toFixed(0)} % read`
  return `${shown(events)} events, ${shown(Math.round(eventsPerSecond))}/s, event time ${shownTime(timeMs)}${done}`
}

function printSummary(summary: ProduceSummary, isStopped: boolean, terminal: Terminal): void {
  const {
    events,
    byStream,
    rejected,
    rejectedByCode,
    leftOut,
    skipped,
    seconds,
    eventsPerSecond,
    firstTime,
    lastTime,
  } = summary
  terminal.out(
    `${isStopped ? 'Stopped after' : 'Sent'} ${shown(events)} events in ${seconds.toFixed(1)} s ` +
      `(${shown(Math.round(eventsPerSecond))}/s), event time ${shownTime(firstTime)} to ${shownTime(lastTime)}.`,
  )
  for (const [stream, count] of Object.entries(byStream)) terminal.out(`  ${stream}: ${shown(count)}`)
  if (rejected > rejectionsShownMax) terminal.err(`${shown(rejected - rejectionsShownMax)} more were not sent.`)
  if (skipped > 0) terminal.out(`  rows completed by an earlier run: ${shown(skipped)}`)
  if (leftOut > 0) terminal.out(`  left out by the mapping: ${shown(leftOut)}`)
  if (rejected === 0) return
  const byCode = Object.entries(rejectedByCode).map(([code, count]) => `${code} ${shown(count)}`)
  terminal.out(`  not sent, since they are no valid events: ${shown(rejected)} (${byCode.join(', ')})`)
}
