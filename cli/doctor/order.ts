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

export function orderCheck(name: string, { late, early, read }: StageDisorder, definition: string): Check {
  const lateEvents =
    late === 0
      ? 'no event was late'
      : `${shown(late)} events of at most ${shown(Math.max(late, read))} came when later ones had been folded`
  if (early > 0) {
    return warn(
      name,
      `${shown(early)} events were released before all sources had passed them, ${lateEvents}: their vectors, and those that they count ` +
        'in, may differ from a replay.',
      'A process or a partition had made no progress for MILLRACE_HOLD_MAX_MS: see the log of the processes for which.',
    )
  }
  if (late > 0 && late >= read * lateShareWarn) {
    return warn(
      name,
      `${lateEvents}, none was released early: predictions that were made meanwhile lack them, as where streams are sent one after ` +
        'the other.',
      `Count them: millrace audit ${definition} --once. Send streams together, in event time (docs/producing.md).`,
    )
  }
  return ok(name, `${lateEvents}, none was released early.`)
}
