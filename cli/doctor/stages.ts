/** One check for each stage of the plan, and the inputs of its tasks; called by the examinations of tasks. */
import { stageInputs } from '../../processors/stage-inputs.ts'
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'
import type { TopicReport } from '../topics/report.ts'
import { type Check, examined, NotChecked } from './check.ts'
import type { Subject } from './subject.ts'

/** One input of a task. */
export interface InputOffsets {
  readonly topic: string
  readonly partition: number
  readonly start: number
  readonly end: number
}

/** Names each check `<name> <entity>`; a failure of one does not affect the others. */
export async function forEachStage(
  subject: Subject,
  name: string,
  check: (stage: StagePlan, name: string) => Promise<Check>,
): Promise<Check[]> {
  const { stages } = await subject.plan.needed()
  const found = await Promise.all(
    stages.map((stage) => {
      const full = `${name} ${stage.entity.name}`
      return examined({ name: full, examine: async () => [await check(stage, full)] })
    }),
  )
  return found.flat()
}

/** The inputs of each of the stage's tasks, in the order of its positions. */
export async function taskInputs(subject: Subject, stage: StagePlan): Promise<InputOffsets[][]> {
  return inputsByTask(await subject.plan.needed(), stage, await subject.topics.needed())
}

/** Throws `NotChecked` where a topic is missing or they have not all the same partitions. */
export function inputsByTask(plan: Plan, stage: StagePlan, topics: readonly TopicReport[]): InputOffsets[][] {
  const names = stageInputs(plan, stage).map(({ topic }) => topic)
  const inputs = names.map((name) => topics.find(({ topic }) => topic === name)!)
  const [count, ...others] = new Set(inputs.map(({ partitions }) => partitions.found))
  if (!count || others.length > 0)
    throw new NotChecked(`not checked: it needs ${names.join(', ')} with the same partitions.`)
  return Array.from({ length: count }, (_, partition) =>
    inputs.map(({ topic, offsets }) => ({ topic, ...offsets[partition]! })),
  )
}
