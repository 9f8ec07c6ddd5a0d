/**
 * Events that were not folded in canonical order: their totals of the committed positions in, a check a stage out. They hold since the
 * beginning of the state and need no running process. Called by `examine`.
 */
import { type Disorder, noDisorder } from '../../processors/position.ts'
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
  let [total, from] = [noDisorder, 0]
  inputs.forEach((ofTask, partition) => {
    const position = committedPosition(stage.entity.name, partition, committed.slice(from, from + ofTask.length))
    from += ofTask.length
    total = addedUp(total, position?.disorder ?? noDisorder)
  })
  return orderCheck(name, total, subject.definition)
}

function addedUp(a: Disorder, b: Disorder): Disorder {
  return {
    late: a.late + b.late,
    early: a.early + b.early,
    overtaken: a.overtaken + b.overtaken,
    uncounted: a.uncounted + b.uncounted,
  }
}

export function orderCheck(name: string, disorder: Disorder, definition: string): Check {
  const { late, early, overtaken, uncounted } = disorder
  const lateEvents =
    late === 0 ? 'no event was late' : `${shown(late)} events were late (decided by what their producers sent)`
  const without =
    uncounted === 0 ? shown(overtaken) : `at least ${shown(overtaken)} (facts of the others are kept no longer)`
  const overtook = `${without} predictions were made before facts of their windows arrived`
  const recompute = `To compute all of history again, type: millrace recompute ${definition} --from <instant>.`
  if (early === 0) {
    return overtaken + uncounted === 0
      ? ok(name, `${lateEvents}, none was released early.`)
      : warn(
          name,
          `${lateEvents}: ${overtook}.`,
          `${recompute} Send streams in one order: produce --source a=… --source b=….`,
        )
  }
  return warn(
    name,
    `${shown(early)} events were released before all sources had passed them, ${lateEvents}: their vectors, and those that they count ` +
      `in, may differ from a replay${overtaken + uncounted === 0 ? '' : `; ${overtook}`}.`,
    'A process or a partition had made no progress for MILLRACE_HOLD_MAX_MS: see the log of the processes for which. ' +
      recompute,
  )
}
