/**
 * Creates what the tasks of a process need to observe and report progress: the source frontiers of every repartition topic before the tasks
 * are opened, and afterwards a progress exchange for each topic that these tasks write to or read. Called by the worker.
 */
import type { BrokerData, StageTopics } from '../../runtime/broker.ts'
import type { Plan, RepartitionPlan, StagePlan } from '../../schemas/plan/plan.ts'
import type { PartitionsOf } from '../stage-topics.ts'
import { createProgressConsumer, type ProgressConsumer } from './progress-consumer.ts'
import { createProgressExchange, type ProgressExchange } from './progress-exchange.ts'
import type { ReadingTask, WritingTask } from './progress-task.ts'
import { createSourceFrontiers, type SourceFrontiers } from './source-frontiers.ts'

/** By the stage that reads the repartition topic. */
export function createFrontiersByStage(plan: Plan, stages: readonly StageTopics[]): Map<StagePlan, SourceFrontiers> {
  const partitionsOf = ({ entity }: StagePlan) => stages.find(({ stage }) => stage === entity.name)!.partitions
  return new Map(
    plan.stages.slice(1).map((stage) => {
      const sources = partitionsOf(plan.stages[stage.index - 1]!)
      const rawSources = partitionsOf(stage) * stage.rawStreams.length
      return [stage, createSourceFrontiers(sources, rawSources)]
    }),
  )
}

export interface OpenExchangesOptions {
  readonly plan: Plan
  readonly broker: BrokerData
  /** All tasks of this process. */
  readonly tasks: ReadonlyArray<WritingTask & ReadingTask>
  readonly frontiersByStage: ReadonlyMap<StagePlan, SourceFrontiers>
  readonly partitionsOf: PartitionsOf
  /** What a task may hold. */
  readonly heldMax: number
}

export async function openExchanges(options: OpenExchangesOptions): Promise<ProgressExchange[]> {
  const { plan, broker, frontiersByStage, partitionsOf, heldMax } = options
  const exchanges: ProgressExchange[] = []
  for (const [readingStage, sourceFrontiers] of frontiersByStage) {
    const stage = plan.stages[readingStage.index - 1]!
    const tasks = options.tasks.filter((task) => task.stage === stage)
    const readers = options.tasks.filter((task) => task.stage === readingStage)
    if (tasks.length + readers.length === 0) continue
    const repartition = stage.repartitionOut!
    const progressConsumer = readers.length === 0 ? await consumeProgress(broker, repartition, sourceFrontiers) : null
    const partitions = partitionsOf(repartition.topic)
    const parts = { stage, tasks, readers, partitions, sourceFrontiers, progressConsumer }
    exchanges.push(createProgressExchange({ ...parts, readersHeldMax: heldMax / 2 }))
  }
  return exchanges
}

/** Every partition has the same watermark records, so the first one is enough. */
async function consumeProgress(
  broker: BrokerData,
  repartition: RepartitionPlan,
  sourceFrontiers: SourceFrontiers,
): Promise<ProgressConsumer> {
  const topicPartition = { topic: repartition.topic, partition: 0 }
  const [bounds] = await broker.bounds([topicPartition])
  return createProgressConsumer(repartition, { ...topicPartition, offset: bounds!.end }, sourceFrontiers)
}
