/** The committed offsets of a task's inputs in, the position that was committed with them out; called when a task is opened or looked at. */
import type { CommittedOffset } from '../../runtime/broker.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { decodePosition, type TaskPosition } from '../position.ts'

/**
 * All inputs of a task carry the same position, which was committed in one transaction. Null where nothing was ever committed. Throws
 * `state_ahead` where some have none any more, `state_foreign` where the offsets do not belong together.
 */
export function committedPosition(
  entity: string,
  partition: number,
  offsets: readonly CommittedOffset[],
): TaskPosition | null {
  if (offsets.every(({ offset }) => offset === null)) return null
  const first = offsets.find(({ offset }) => offset !== null)!
  const gone = offsets.find(({ offset }) => offset === null)
  if (gone !== undefined) {
    throw new PipelineError(
      'state_ahead',
      `Kafka has no committed offset of ${gone.topic}, partition ${partition}, any more, but one of ${first.topic}, which ${entity} ` +
        `${partition} reads with it: the topic was made anew, or its offset expired. Start with --rebuild: it is then read from its ` +
        'start.',
      { details: { topic: gone.topic, partition } },
    )
  }
  const position = decodePosition(first.metadata, `committed offset of ${first.topic} ${partition}`)
  const agrees = offsets.every(
    ({ offset, metadata }, i) => offset === position.inputs[i]?.resumeOffset && metadata === first.metadata,
  )
  if (!agrees || offsets.length !== position.inputs.length) {
    throw new PipelineError(
      'state_foreign',
      `The committed offsets of ${entity} ${partition} do not belong together: something else commits in this ` +
        'group. Use a namespace of your own, or delete the group and start with --rebuild.',
    )
  }
  return position
}
