/** An event of a source in, its checked values out; called by the commands that replay a source without servers. */
import { createRowCheck, type SourceEvent } from '../../producers/prepare.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { EventValues, Problem } from '../../schemas/kernel/event.ts'
import type { Plan } from '../../schemas/plan/plan.ts'

export type EventReader = (event: SourceEvent) => { readonly stream: number; readonly values: EventValues } | null

/**
 * A replay defines the expected live results, so it stops at an event that live would reject, unless so many are allowed. Null: a row
 * that is left out.
 */
export function createEventReader(
  plan: Pick<Plan, 'streams'>,
  { allowRejects = 0 }: { readonly allowRejects?: number },
  onRejected: (stream: string, problem: Problem, location: string) => void = () => undefined,
): EventReader {
  const check = createRowCheck(plan.streams)
  let rejected = 0
  return (event) => {
    const row = check(event)
    if (row.kind === 'left out') return null
    if (row.kind === 'event') return { stream: row.stream.index, values: row.values }
    const stream = 'stream' in event ? event.stream : null
    const location = event.location ?? (stream === null ? 'an event' : `an event of ${stream}`)
    if (++rejected > allowRejects) throw replayError(location, row.problems)
    onRejected(stream ?? 'a row', row.problems[0]!, location)
    return null
  }
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
