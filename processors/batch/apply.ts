/**
 * Step 7 of a batch: the logs that it changed and the position that they stand for, one fenced script a task. Called by the batch loop
 * after step 6, so that the store is never ahead of Kafka.
 */
import type { Step, TaskStore } from '../../feature-store/store.ts'
import { encodePosition } from '../position.ts'
import type { ActiveBatch } from './active-batch.ts'

export interface PendingStep {
  readonly store: TaskStore
  readonly step: Step
}

/** The bytes are taken now: the next batch may be folded on top while this one is on its way. */
export function takeSteps(batches: readonly ActiveBatch[]): PendingStep[] {
  return batches.map(({ open, batch }) => {
    const to = encodePosition(batch.position)
    const step = { from: open.position, to, writes: open.cache.takeWrites(open.byEntity.entities) }
    open.position = to
    return { store: open.store, step }
  })
}

/** Rejects with `fenced` or `state_lost` where the store has another owner or position by now. */
export async function apply(steps: readonly PendingStep[]): Promise<void> {
  await Promise.all(steps.map(({ store, step }) => (step.from === step.to ? null : store.apply(step))))
}
