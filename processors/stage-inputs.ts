/** The topics that a stage's tasks consume, in the order of their positions: raw topics in stream order, then the repartition topic. */
import type { Plan, StagePlan, StreamPlan } from '../schemas/plan/plan.ts'

export interface StageInput {
  readonly topic: string
  /** Null: the repartition topic. */
  readonly stream: StreamPlan | null
}

export function stageInputs(plan: Plan, stage: StagePlan): StageInput[] {
  const raw = stage.rawStreams.map((index) => plan.streams[index]!).map((stream) => ({ topic: stream.topic, stream }))
  return stage.repartitionIn ? [...raw, { topic: stage.repartitionIn.topic, stream: null }] : raw
}
