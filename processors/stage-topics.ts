/** Partition counts of a plan's topics, checked before anything is read or written; called by the worker for each session. */
import type { BrokerData, StageTopics } from '../runtime/broker.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { Plan } from '../schemas/plan/plan.ts'
import { stageInputs } from './stage-inputs.ts'

/** Partition count of a topic. Throws `topic_missing` where it does not exist. */
export type PartitionsOf = (topic: string) => number

export async function partitionCountsOf(plan: Plan, broker: BrokerData): Promise<PartitionsOf> {
  const counts = await broker.partitionCounts(plan.topics.map(({ topic }) => topic))
  return (topic) => {
    const count = counts.get(topic)
    if (!count)
      throw new PipelineError('topic_missing', `Topic ${topic} does not exist. Create it, or run with --create-topics.`)
    return count
  }
}

/** Inputs of a stage must have the same partition count, since task p reads partition p of each. Throws `topic_mismatch`. */
export function stageTopicsOf(plan: Plan, partitionsOf: PartitionsOf): StageTopics[] {
  for (const { topic } of plan.topics) partitionsOf(topic)
  return plan.stages.map((stage) => {
    const topics = stageInputs(plan, stage).map(({ topic }) => topic)
    const partitions = partitionsOf(topics[0]!)
    const other = topics.find((topic) => partitionsOf(topic) !== partitions)
    if (other !== undefined) {
      throw new PipelineError(
        'topic_mismatch',
        `Topics ${topics[0]} and ${other} have ${partitions} and ${partitionsOf(other)} partitions; stage ${stage.entity.name} ` +
          'consumes both and needs the same number.',
      )
    }
    return { stage: stage.entity.name, topics, partitions }
  })
}
