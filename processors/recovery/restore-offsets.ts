/**
 * Before a rebuild: replaces committed offsets that are lost, or that are outside Kafka's log, by the best known position of what was
 * published, so that a restore up to there publishes nothing again. Called by `open-tasks.ts` for all tasks, in one transaction, before the
 * stored state is cleared.
 */
import type { FeatureStore, StateIdentity } from '../../feature-store/store.ts'
import type { CommittedOffset, Membership, Worker } from '../../runtime/broker.ts'
import type { Log } from '../../runtime/log.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { decodePosition, encodePosition, type InputPosition, type TaskPosition } from '../position.ts'
import { stageInputs } from '../stage-inputs.ts'
import { type CheckedLog, type LogBounds, requireEnds } from './check-log.ts'

export interface RestoredTask extends CheckedLog {
  readonly identity: StateIdentity
}

export interface RestoreParts {
  readonly worker: Worker
  readonly membership: Membership
  readonly store: Pick<FeatureStore, 'inspect'>
  readonly log: Log
}

export async function restoreOffsets(tasks: readonly RestoredTask[], parts: RestoreParts): Promise<void> {
  const restored = await Promise.all(tasks.map((task) => restoredOffsets(task, parts)))
  const offsets = restored.flat()
  if (offsets.length > 0) await parts.worker.transact([], offsets, parts.membership)
}

async function restoredOffsets(task: RestoredTask, { worker, store, log }: RestoreParts) {
  const { plan, stage, partition } = task
  const topics = stageInputs(plan, stage).map(({ topic }) => topic)
  const committed = await worker.committed(topics.map((topic) => ({ topic, partition })))
  const name = `${stage.entity.name} ${partition}`
  const known = committed.find(({ offset }) => offset !== null)
  const position = known
    ? decodePosition(known.metadata, `committed offset of ${known.topic} ${partition}`)
    : await storedPosition(task, store, log)
  if (!position || position.inputs.length !== topics.length) return []
  const adjusted = await adjustToLog(task, position, known ? committed : null)
  const metadata = encodePosition(adjusted)
  if (known && metadata === known.metadata && committed.every(({ offset }) => offset !== null)) return []
  const offsets = adjusted.inputs.map(({ nextOffset }) => nextOffset).join(', ')
  log.warn({}, `The committed offsets of ${name} were lost or outside Kafka's log: reset to ${offsets}.`)
  return adjusted.inputs.map(({ resumeOffset }, i) => ({
    topic: topics[i]!,
    partition,
    offset: resumeOffset,
    metadata,
  }))
}

/** Where no offset is left, the store's position is used: a crash leaves it one batch behind at most. Null where it cannot be used. */
async function storedPosition(
  task: RestoredTask,
  store: RestoreParts['store'],
  log: Log,
): Promise<TaskPosition | null> {
  const { stage, partition, identity } = task
  const { position: text, identity: found } = await store.inspect(stage.entity.name, partition)
  if (text === null || found === null || found === 'clearing') return null
  if (found.clusterId !== identity.clusterId || found.partitions !== identity.partitions) return null
  try {
    const position = decodePosition(text, `store, ${stage.entity.name} ${partition}`)
    if (position.inputs.length === task.bounds.length) await requireEnds(task, position)
    return position
  } catch (error) {
    // The position is of another version, or the topics were recreated.
    if (!(error instanceof PipelineError) || !['record_unreadable', 'state_ahead'].includes(error.code)) throw error
    log.warn({ code: error.code }, `Everything in Kafka's log is published again: ${error.message}`)
    return null
  }
}

/** An input without an offset was recreated and is read from its start; one that lost its tail counts as read up to its end. */
async function adjustToLog(task: RestoredTask, position: TaskPosition, committed: readonly CommittedOffset[] | null) {
  const within = (bounds: readonly LogBounds[]): TaskPosition => ({
    ...position,
    inputs: position.inputs.map((input, i): InputPosition => {
      const { start, end } = bounds[i]!
      if (committed && committed[i]!.offset === null)
        return { resumeOffset: start, nextOffset: start, maxEventTime: Number.NEGATIVE_INFINITY }
      return { ...input, resumeOffset: Math.min(input.resumeOffset, end), nextOffset: Math.min(input.nextOffset, end) }
    }),
  })
  const unchanged = within(task.bounds.map(({ start }) => ({ start, end: Number.POSITIVE_INFINITY })))
  try {
    await requireEnds(task, unchanged)
    return unchanged
  } catch (error) {
    if (!(error instanceof PipelineError) || error.code !== 'state_ahead') throw error
    return within(task.bounds)
  }
}
