/**
 * Events that were not folded in canonical order: their totals of the committed positions in, a check a stage out. They hold since the
 * beginning of the state and need no running process. Called by `examine`.
 */
import { committedPosition } from '../../processors/recovery/committed-position.ts'
import type { StagePlan } from '../../schemas/plan/plan.ts'
import { sharedNames } from '../context.ts'
import { shown } from '../terminal.ts'
import { type Check, type Examination, ok, warn } from './check.ts'
import { forEachStage, taskInputs } from './stages.ts'
import type { Subject } from './subject.ts'

export function orderExamination(subject: Subject): Examination {
  return {
    name: 'order',
    examine: () => forEachStage(subject, 'order', (stage, name) => stageOrder(subject, stage, name)),
  }
}

async function stageOrder(subject: Subject, stage: StagePlan, name: string): Promise<Check> {
  const inputs = await taskInputs(subject, stage)
  const { broker } = await subject.kafka.needed()
  const { group } = sharedNames(subject.config, await subject.plan.needed())
  const committed = await broker.groups.committedOffsets(group, inputs.flat())
  let [late, early, from] = [0, 0, 0]
  inputs.forEach((ofTask, partition) => {
    const position = committedPosition(stage.entity.name, partition, committed.slice(from, from + ofTask.length))
    from += ofTask.length
    late += position?.disorder?.late ?? 0
    early += position?.disorder?.early ?? 0
  })
  return orderCheck(name, { late, early })
}

export function orderCheck(name: string, { late, early }: { readonly late: number; readonly early: number }): Check {
  const lateEvents =
    late === 0 ? 'no event was late' : `${shown(late)} events were late (decided by what their producers sent)`
  if (early === 0) return ok(name, `${lateEvents}, none was released early.`)
  return warn(
    name,
    `${shown(early)} events were released before all sources had passed them, ${lateEvents}: their vectors, and those that they count ` +
      'in, may differ from a replay.',
    'A process or a partition had made no progress for MILLRACE_HOLD_MAX_MS: see the log of the processes for which.',
  )
}
