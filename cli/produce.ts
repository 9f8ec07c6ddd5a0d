/** `millrace produce`: events of a source into the raw topics of a pipeline, at a pace. */
import type { Pace } from '../producers/pace.ts'
import type { SourceEvent } from '../producers/prepare.ts'
import { type ProduceSummary, produce } from '../producers/produce.ts'
import type { Problem } from '../schemas/plan.ts'
import { type CommandContext, openPipelineBroker } from './context.ts'
import { exitCodes } from './failure-text.ts'
import { loadPlan } from './load-plan.ts'
import { openSource, type SourceOptions } from './sources.ts'
import { shown, shownTime, type Terminal } from './terminal.ts'
import { requireTopics } from './topics.ts'
import { writeFigures } from './whole-file.ts'

export interface ProduceCommandOptions extends SourceOptions {
  /** Event seconds a second. */
  readonly speed?: number
  /** Events a second. */
  readonly rate?: number
  readonly json?: string
}

/** Of the events that were refused only the first few are printed, all are counted. */
const rejectionsShownMax = 20

export async function produceCommand(
  definition: string,
  options: ProduceCommandOptions,
  context: CommandContext,
): Promise<number> {
  const { config, terminal, clock } = context
  const signal = context.stopping.signal()
  const plan = await loadPlan(definition, config.namespace)
  const source = await openSource(options, plan, context.stdin, signal)
  const { broker } = openPipelineBroker(plan, config, context)
  try {
    const partitionsOf = await requireTopics(
      broker,
      plan.streams.map(({ topic }) => topic),
    )
    const producer = await broker.producer()
    let rejections = 0
    const summary = await produce(source.chunks, {
      streams: plan.streams,
      producer,
      partitionsOf,
      pace: paceOf(options),
      clock,
      signal,
      onRejected: (problems, event) => {
        if (++rejections <= rejectionsShownMax) terminal.err(rejectionLine(problems, event))
      },
      onProgress: ({ events, eventsPerSecond, timeMs }) => {
        terminal.err(
          `${shown(events)} events, ${shown(Math.round(eventsPerSecond))}/s, event time ${shownTime(timeMs)}`,
        )
      },
    })
    printSummary(summary, signal.aborted, terminal)
    await writeFigures(options.json, { ...summary, stopped: signal.aborted })
    return exitCodes.done
  } finally {
    await broker.close()
  }
}

/** The command has refused both together. */
function paceOf({ speed, rate }: ProduceCommandOptions): Pace {
  if (speed !== undefined) return { kind: 'event time', speed }
  return rate === undefined ? { kind: 'flat out' } : { kind: 'rate', eventsPerSecond: rate }
}

function rejectionLine(problems: readonly Problem[], event: SourceEvent): string {
  const place = event.place ?? ('stream' in event ? `an event of ${event.stream}` : 'an event')
  const told = problems.map(
    ({ path, expected, received }) => `${path === '' ? '' : `${path} `}expected ${expected}, received ${received}`,
  )
  return `not sent: ${place}: ${told.join('; ')}`
}

function printSummary(summary: ProduceSummary, isStopped: boolean, terminal: Terminal): void {
  const { events, byStream, rejected, seconds, eventsPerSecond, firstTime, lastTime } = summary
  terminal.out(
    `${isStopped ? 'Stopped after' : 'Sent'} ${shown(events)} events in ${seconds.toFixed(1)} s ` +
      `(${shown(Math.round(eventsPerSecond))}/s), event time ${shownTime(firstTime)} to ${shownTime(lastTime)}.`,
  )
  for (const [stream, count] of Object.entries(byStream)) terminal.out(`  ${stream}: ${shown(count)}`)
  if (rejected > rejectionsShownMax) terminal.err(`${shown(rejected - rejectionsShownMax)} more were not sent.`)
  if (rejected > 0) terminal.out(`  not sent, since they are no valid events: ${shown(rejected)}`)
}
