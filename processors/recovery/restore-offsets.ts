/**
 * Before a rebuild: committed offsets that are gone, or that no longer fit Kafka's log, are committed anew as far as it is known what was
 * published, so that the state is folded up to there in silence. Called by `run-worker.ts`, for all tasks in one transaction, before the
 * stored state is thrown away.
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
  readonly store: Pick<FeatureStore, 'look'>
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
  const fitting = await fitted(task, position, known ? committed : null)
  const metadata = encodePosition(fitting)
  if (known && metadata === known.metadata && committed.every(({ offset }) => offset !== null)) return []
  const places = fitting.inputs.map(({ nextOffset }) => nextOffset).join(', ')
  log.warn({}, `The committed offsets of ${name} were gone or did not fit Kafka's log: set to ${places}.`)
  return fitting.inputs.map(({ resumeOffset }, i) => ({ topic: topics[i]!, partition, offset: resumeOffset, metadata }))
}

/** Where no offset is left, the store says how far it was: at most the batch of a crash behind. Null where that is of no use. */
async function storedPosition(
  task: RestoredTask,
  store: RestoreParts['store'],
  log: Log,
): Promise<TaskPosition | null> {
  const { stage, partition, identity } = task
  const { position: text, identity: found } = await store.look(stage.entity.name, partition)
  if (text === null || found === null || found === 'clearing') return null
  if (found.clusterId !== identity.clusterId || found.partitions !== identity.partitions) return null
  try {
    const position = decodePosition(text, `store, ${stage.entity.name} ${partition}`)
    if (position.inputs.length === task.bounds.length) await requireEnds(task, position)
    return position
  } catch (error) {
    // Of another version, or of topics that are not these any more.
    if (!(error instanceof PipelineError) || !['record_unreadable', 'state_ahead'].includes(error.code)) throw error
    log.warn({ code: error.code }, `All that Kafka's log holds is published again: ${error.message}`)
    return null
  }
}

/** An input without an offset is another topic by now and begins at its start; one that lost its tail was read up to its end. */
async function fitted(task: RestoredTask, position: TaskPosition, committed: readonly CommittedOffset[] | null) {
  const fits = (bounds: readonly LogBounds[]): TaskPosition => ({
    frontier: position.frontier,
    retentionWatermark: position.retentionWatermark,
    inputs: position.inputs.map((input, i): InputPosition => {
      const { start, end } = bounds[i]!
      if (committed && committed[i]!.offset === null)
        return { resumeOffset: start, nextOffset: start, maxEventTime: Number.NEGATIVE_INFINITY }
      return { ...input, resumeOffset: Math.min(input.resumeOffset, end), nextOffset: Math.min(input.nextOffset, end) }
    }),
  })
  const asItIs = fits(task.bounds.map(({ start }) => ({ start, end: Number.POSITIVE_INFINITY })))
  try {
    await requireEnds(task, asItIs)
    return asItIs
  } catch (error) {
    if (!(error instanceof PipelineError) || error.code !== 'state_ahead') throw error
    return fits(task.bounds)
  }
}
