/**
 * Step 3 of a batch: the entity logs that it needs and that are not in memory, one MGET a task and more for the chunks of hot entities.
 * Called by the batch loop.
 */
import type { ActiveBatch } from './active-batch.ts'

/** Rejects with `fenced` where the store has another owner by now, and with `state_lost` where it stands at another position. */
export async function load(batches: readonly ActiveBatch[]): Promise<void> {
  await Promise.all(batches.map(loadMissing))
}

async function loadMissing({ open }: ActiveBatch): Promise<void> {
  const missing = open.byEntity.entities.filter(({ log }) => log === null)
  if (missing.length === 0) return
  const logs = await open.store.load(missing.map(({ key }) => key))
  missing.forEach((entity, i) => {
    open.cache.put(entity, logs[i]!)
  })
}
