/**
 * Events that were not folded in canonical order: their totals of the committed positions in, a check a stage out. They hold since the
 * beginning of the state and need no running process. Called by `examine`.
 */
import { committedDisorder, type StageDisorder } from '../../processors/recovery/committed-disorder.ts'
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
  const plan = await subject.plan.needed()
  const partitions = (await taskInputs(subject, stage)).length
  const { broker } = await subject.kafka.needed()
  const { group } = sharedNames(subject.config, plan)
  const disorder = await committedDisorder(broker.groups, group, { plan, stage, partitions })
  return orderCheck(name, disorder, subject.definition)
}

/** Fewer late events than this share of what was read are a matter of the network; more are one of how streams are sent. */
const lateShareWarn = 0.01

export function orderCheck(name: string, disorder: StageDisorder, definition: string): Check {
  const { late, early, read, overtaken, uncounted } = disorder
  const lateEvents =
    late === 0
      ? 'no event was late'
      : `${shown(late)} events of at most ${shown(Math.max(late, read))} came when later ones had been folded`
  const without =
    uncounted === 0 ? shown(overtaken) : `at least ${shown(overtaken)} (facts of the others are kept no longer)`
  const overtook =
    overtaken + uncounted === 0 ? '' : `: ${without} predictions were made before facts of their windows arrived`
  const recompute = `To compute all of history again, type: millrace recompute ${definition} --from <instant>.`
  if (early > 0) {
    return warn(
      name,
      `${shown(early)} events were released before all sources had passed them, ${lateEvents}${overtook}. ` +
        'Vectors may differ from a replay.',
      'A process or a partition had made no progress for MILLRACE_HOLD_MAX_MS: see the log of the processes for which. ' +
        recompute,
    )
  }
  if (overtook !== '' || (late > 0 && late >= read * lateShareWarn)) {
    return warn(
      name,
      `${lateEvents}, none was released early${overtook}.`,
      `${recompute} Send streams together, in event time: produce --source a=… --source b=…; docs/producing.md says why.`,
    )
  }
  return ok(name, `${lateEvents}, none was released early.`)
}
