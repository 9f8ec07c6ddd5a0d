/**
 * Events that a stage did not fold in canonical order, since the beginning of its state: the committed positions of its tasks come in,
 * their totals go out. Needs no running process. Called by `millrace doctor` and `millrace audit`.
 */
import type { BrokerGroups } from '../../runtime/broker.ts'
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'
import { type Disorder, noDisorder } from '../position.ts'
import { stageInputs } from '../stage-inputs.ts'
import { committedPosition } from './committed-position.ts'

export interface StageDisorder extends Disorder {
  /** Offsets that the stage has read, of records of any kind. */
  readonly read: number
}

export async function committedDisorder(
  groups: Pick<BrokerGroups, 'committedOffsets'>,
  group: string,
  { plan, stage, partitions }: { readonly plan: Plan; readonly stage: StagePlan; readonly partitions: number },
): Promise<StageDisorder> {
  const topics = stageInputs(plan, stage).map(({ topic }) => topic)
  const inputs = Array.from({ length: partitions }, (_, partition) => topics.map((topic) => ({ topic, partition })))
  const committed = await groups.committedOffsets(group, inputs.flat())
  const total = { ...noDisorder, read: 0 }
  for (let partition = 0; partition < partitions; partition++) {
    const ofTask = committed.slice(partition * topics.length, (partition + 1) * topics.length)
    const position = committedPosition(stage.entity.name, partition, ofTask)
    const disorder = position?.disorder ?? noDisorder
    total.late += disorder.late
    total.early += disorder.early
    total.overtaken += disorder.overtaken
    total.uncounted += disorder.uncounted
    for (const { nextOffset } of position?.inputs ?? []) total.read += nextOffset
  }
  return total
}
