/** A row that is not sent in, one line for the terminal out; called by the commands that send a source. */
import type { SourceEvent } from '../../producers/prepare.ts'
import type { Problem } from '../../schemas/kernel/event.ts'

export function rejectionLine(problems: readonly Problem[], event: SourceEvent): string {
  const location = event.location ?? ('stream' in event ? `an event of ${event.stream}` : 'an event')
  return `not sent: ${location}: ${problems.map(problemText).join('; ')}`
}

export function problemText({ path, expected, received }: Problem): string {
  return `${path === '' ? '' : `${path} `}expected ${expected}, received ${received}`
}
