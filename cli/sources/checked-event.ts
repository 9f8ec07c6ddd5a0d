/** An event of a source in, its checked values out; called by the commands that replay a source without servers. */
import type { RowCheck, SourceEvent } from '../../producers/prepare.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { EventValues, Problem } from '../../schemas/kernel/event.ts'

/**
 * A replay defines the expected live results, so it stops at an event that live would reject. Null: a mapping leaves the row out.
 */
export function checkedEvent(event: SourceEvent, check: RowCheck): { stream: number; values: EventValues } | null {
  const row = check(event)
  if (row.kind === 'left out') return null
  if (row.kind === 'event') return { stream: row.stream.index, values: row.values }
  throw replayError(event.location ?? ('stream' in event ? `an event of ${event.stream}` : 'an event'), row.problems)
}

function replayError(location: string, problems: readonly Problem[]): PipelineError {
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
