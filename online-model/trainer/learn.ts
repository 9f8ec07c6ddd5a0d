/** Step 2 of the trainer: rows that have matured through the continuous learner, with step 3 wherever a version is due among them. */
import type { MatureRows } from '../training-store/store.ts'
import type { ContinuousLearning } from './continuous.ts'
import { publishLearnt } from './publish.ts'
import { begun, publishFrom } from './schedule.ts'
import { maturedBy, saveSchedule, type TrainerState } from './state.ts'

/** Versions are due by the rows' own event time, so that a backlog gives the same versions as live operation would have given. */
export async function learnMatured(
  state: TrainerState,
  continuous: ContinuousLearning,
  rows: MatureRows,
): Promise<void> {
  // After a failure to publish, the rows that were learnt from by then are handed out again.
  const unlearnt = rows.seqs.findIndex((seq) => seq > continuous.upToSeq)
  for (let row = unlearnt === -1 ? rows.rowCount : unlearnt; row < rows.rowCount; ) {
    // 2 learn
    const firstMs = rows.times[row]!
    await saveSchedule(state, begun(state.schedule, maturedBy(state), firstMs))
    const dueMs = publishFrom(state.plan.learn.continuous, state.schedule, firstMs)
    const from = row
    row = await continuous.learn(rows, from, dueMs)
    state.metrics.learnt(row - from)

    // 3 publish
    const newestMs = rows.times[row - 1]!
    if (newestMs >= dueMs) await publishLearnt(state, continuous, newestMs)
  }
}
