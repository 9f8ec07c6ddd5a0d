/** An event of a source in, its checked values out; called by the commands that replay a source without servers. */
import type { SourceEvent } from '../../producers/prepare.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { EventValues } from '../../schemas/kernel/event.ts'
import type { Plan } from '../../schemas/plan/plan.ts'

/** A replay defines the expected live results, so it stops at an event that live would reject. */
export function checkedEvent(event: SourceEvent, plan: Pick<Plan, 'streams'>): { stream: number; values: EventValues } {
  const stream = 'stream' in event ? plan.streams.find(({ name }) => name === event.stream) : undefined
  const location = event.location ?? (stream ? `an event of ${stream.name}` : 'an event')
  if ('problems' in event) throw replayError(location, event.problems)
  if (stream === undefined) {
    const expected = `one of ${plan.streams.map(({ name }) => name).join(', ')}`
    throw replayError(location, [{ path: '/stream', expected, received: event.stream }])
  }
  const result = stream.codec.check(event.values, { fromText: event.isText ?? false })
  if (!result.ok) throw replayError(location, result.problems)
  return { stream: stream.index, values: result.event }
}

function replayError(
  location: string,
  problems: ReadonlyArray<{ readonly path: string; readonly expected: string; readonly received: string }>,
): PipelineError {
  const sentences = problems.map(({ path, expected, received }) =>
    `${path} expected ${expected}, received ${received}`.trim(),
  )
  return new PipelineError(
    'input_unreadable',
    `The replay's source holds no valid event at ${location}: ${sentences.join('; ')}.`,
    {
      details: { problems },
    },
  )
}
