/** A pipeline in this process on events of ordinary variety. Opened by the guard and by the test of the hot path. */

import { drawnScorer } from '../online-model/models/drawn-scorer.ts'
import { createRandom } from '../online-model/models/random.ts'
import type { HandbookTable } from '../pipelines/handbook.ts'
import { type InProcessRun, openInProcessRun } from '../processors/in-process/in-process-run.ts'
import { systemClock } from '../runtime/clock.ts'
import type { Plan } from '../schemas/plan/plan.ts'
import { mixedEvents } from './mixed-events.ts'

const modelSeed = 1
const reasonsMax = 3

/** Perceptrons score; definitions with another model are measured without one. */
export function openMixedRun(plan: Plan, table: HandbookTable, seed: number): InProcessRun {
  const scorer = plan.model.kind === 'mlp' ? drawnScorer(plan, createRandom(modelSeed), reasonsMax) : null
  const events = mixedEvents(table, seed)
  return openInProcessRun({ plan, events, currentModel: () => scorer, mayHold: false, clock: systemClock })
}
