/**
 * Takes the committed offsets of a task's inputs and returns the position that was committed with them. Called when a task is opened, and
 * by `millrace doctor`.
 */
import type { CommittedOffset } from '../../runtime/broker.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { decodePosition, type TaskPosition } from '../position.ts'

/**
 * All inputs of a task carry the same position, which was committed in one transaction. Null where nothing was ever committed. Throws
 * `state_ahead` where some inputs have lost their offset, `state_foreign` where the offsets do not belong together.
 */
export function committedPosition(
  entity: string,
  partition: number,
  offsets: readonly CommittedOffset[],
): TaskPosition | null {
  if (offsets.every(({ offset }) => offset === null)) return null
  const first = offsets.find(({ offset }) => offset !== null)!
  const lost = offsets.find(({ offset }) => offset === null)
  if (lost !== undefined) {
    throw new PipelineError(
      'state_ahead',
      `Kafka no longer has a committed offset for ${lost.topic}, partition ${partition}, but has one for ${first.topic}, which ` +
        `${entity} ${partition} reads with it: the topic was recreated, or its offset expired. Start with --rebuild to read it from ` +
        'its start.',
      { details: { topic: lost.topic, partition } },
    )
  }
  const position = decodePosition(first.metadata, `committed offset of ${first.topic} ${partition}`)
  const agrees = offsets.every(
    ({ offset, metadata }, i) => offset === position.inputs[i]?.resumeOffset && metadata === first.metadata,
  )
  if (!agrees || offsets.length !== position.inputs.length) {
    throw new PipelineError(
      'state_foreign',
      `The committed offsets of ${entity} ${partition} do not belong together: another application commits ` +
        'in this group. Use a separate namespace, or delete the group and start with --rebuild.',
    )
  }
  return position
}
