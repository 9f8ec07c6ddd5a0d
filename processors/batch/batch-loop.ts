/**
 * The pipeline, one numbered batch at a time: records of this process's tasks in, features into the store, scored events into Kafka.
 *
 *   1 poll · 2 decode, validate and order · 3 load state · 4 fold and read features · 5 score · 6 publish outputs and consumed offsets in
 *   one Kafka transaction · 7 apply state and position to the store in one fenced step a task · 8 next
 *
 * Exactly once, 6 commits before 7 applies, so the store is never ahead of Kafka; a crash between them leaves it behind, and whoever
 * opens the task next folds the difference again without publishing (`open-task.ts`). At least once, 6 publishes outside a transaction and
 * offsets are committed after 7: the store's position alone says what is done. On a backlog, steps 1 to 5 of the next batch overlap 6 and
 * 7 of this one. Any failure ends the loop: nothing in memory is trusted after it, and the tasks are opened anew.
 */

import { outcomeOf, unwrap } from '../outcome.ts'
import type { ActiveBatch } from './active-batch.ts'
import { apply, type PendingStep, takeSteps } from './apply.ts'
import { decode } from './decode.ts'
import { fold } from './fold.ts'
import { clearFolded } from './folded-events.ts'
import { load } from './load.ts'
import {
  awaitsAnotherFetch,
  beginFetch,
  type LoopParts,
  type LoopState,
  measured,
  nextFetched,
  openLoop,
  worked,
} from './loop-state.ts'
import { order } from './order.ts'
import { isBacklogged } from './poll.ts'
import { dueUpdates, encode, type Publication, publicationOf, publish } from './publish.ts'
import { score } from './score.ts'

/** Runs until `isStopping`; finishes the batch it is in. Throws what ended it. */
export async function runBatchLoop(parts: LoopParts): Promise<void> {
  const loop = openLoop(parts)
  try {
    while (!parts.isStopping()) await runBatch(loop)
  } finally {
    await loop.fetching
    unwrap(await loop.committing)
  }
}

async function runBatch(loop: LoopState): Promise<void> {
  const { clock, tasks, exchanges, limits } = loop

  // 1 poll
  const fetched = await nextFetched(loop)

  // 2 decode, validate and order
  for (const part of fetched)
    await worked(loop, 'decode', () => decode(loop, part, loop.answeredRound, loop.runningMs()))
  if (awaitsAnotherFetch(loop)) return
  if (isBacklogged(tasks)) beginFetch(loop, 0)
  const beganMs = clock.elapsedMs()
  const nowMs = loop.runningMs()
  const batches = order(loop, loop.answeredRound, nowMs)
  const updates = dueUpdates(exchanges, batches, { answeredRound: loop.answeredRound, nowMs, ...limits })
  if (batches.length === 0 && updates.length === 0) return

  // 3 load state
  await measured(loop, 'load', () => load(batches))

  // 4 fold and read features, 5 score, and what it gives in the form of Kafka, task by task
  const model = loop.currentModel()
  for (const batch of batches) {
    await worked(loop, 'fold', () => fold(loop, batch))
    await worked(loop, 'score', () => score(loop, batch, model))
    await worked(loop, 'encode', () => encode(loop, batch))
  }
  // Nothing holds on to events that are done.
  clearFolded(loop.folded, 0, 0)

  // 6 publish, then 7 apply, while 8 the next batch begins
  const publication = publicationOf(loop, batches, updates)
  const steps = takeSteps(batches)
  unwrap(await loop.committing)
  for (const { open } of batches) open.cache.trim(open.byEntity.batch)
  loop.commitBeganMs = clock.elapsedMs()
  loop.committing = outcomeOf(commit(loop, publication, steps, batches, beganMs))
}

async function commit(
  loop: LoopState,
  publication: Publication,
  steps: readonly PendingStep[],
  batches: readonly ActiveBatch[],
  beganMs: number,
): Promise<void> {
  const { plan, worker, membership, clock, metrics, earlyReleases, overtakenReport } = loop
  await measured(loop, 'publish', () => publish(loop, publication))
  await measured(loop, 'apply', () => apply(steps))
  if (plan.delivery === 'at-least-once' && publication.offsets.length > 0) {
    // The store's position decides what is published again; offsets are where a lost store begins from.
    await worker.commitOffsets(publication.offsets, membership)
  }
  metrics.took('batch', clock.elapsedMs() - beganMs)
  for (const { open, batch, predictions, rejections, overtaken } of batches) {
    metrics.committed(open.task, batch, predictions, rejections)
    earlyReleases.observe(open.task)
    if (overtaken.last === null) continue
    metrics.overtaken(open.task, overtaken)
    overtakenReport.observe(open.task, overtaken)
  }
}
