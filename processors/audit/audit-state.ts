/**
 * What the audit holds: partitions with how far each has been read, stages with their tasks, dead letters, counts. Made by `createAudit`;
 * filled by `read-records.ts`.
 */
import type { TopicPartition } from '../../runtime/broker.ts'
import { partitionOf } from '../../runtime/partition.ts'
import type { Plan, StagePlan, StreamPlan } from '../../schemas/plan/plan.ts'
import type { DeadLetter } from '../../schemas/wire/records.ts'
import { type StageInput, stageInputs } from '../stage-inputs.ts'
import { type AuditedPartition, createAuditedPartition } from './audit-partition.ts'
import { type AuditTask, type AuditTaskOptions, createAuditTask } from './audit-task.ts'
import type { SkipReason } from './audited-output.ts'

export interface AuditOptions {
  readonly plan: Plan
  readonly partitionsOf: (topic: string) => number
  /** Fraction of the entities of each stage, 0 to 1. */
  readonly sample: number
  /** Score of a model version; null where it is not known. */
  readonly scoreOf: AuditTaskOptions['scoreOf']
  /** First offset that is read of a partition; 0 unless given. Earlier records are not known. */
  readonly startOf?: (at: TopicPartition) => number
}

export interface AuditCounts {
  /** Outputs compared: repartition records of sampled entities, and predictions. */
  checked: number
  /** Predictions among them. */
  predictions: number
  differing: number
  readonly skipped: Partial<Record<SkipReason, number>>
}

export interface AuditState {
  readonly options: AuditOptions
  readonly plan: Plan
  readonly counts: AuditCounts
  readonly partitions: Map<string, AuditedPartition>
  readonly stages: AuditedStage[]
  /** Of sampled entities, by stage, raw event and attempt. */
  readonly deadLetters: Map<string, { readonly time: number; count: number }>
}

export interface AuditedStage {
  readonly stage: StagePlan
  readonly inputs: readonly StageInput[]
  /** False where the stage computes nothing and only repartitions. */
  readonly isAudited: boolean
  readonly outputs: readonly AuditedPartition[]
  /** How long before the slowest output events are kept. */
  readonly keepMs: number
  readonly tasks: readonly AuditTask[]
}

export function createAuditState(options: AuditOptions): AuditState {
  const { plan } = options
  const counts: AuditCounts = { checked: 0, predictions: 0, differing: 0, skipped: {} }
  const state: AuditState = { options, plan, counts, partitions: new Map(), stages: [], deadLetters: new Map() }
  for (const stage of plan.stages) state.stages.push(openStage(state, stage))
  return state
}

export function partitionAt({ options, plan, partitions }: AuditState, at: TopicPartition): AuditedPartition {
  const name = `${at.topic} ${at.partition}`
  const known = partitions.get(name)
  if (known) return known
  const opened = createAuditedPartition(at, options.startOf?.(at) ?? 0, {
    aheadMs: Math.max(...plan.streams.map(({ aheadMs }) => aheadMs)),
    // As coarse as a late event may be: nothing depends on finer times.
    stepMs: Math.max(1_000, plan.scored.latenessMs / 16),
  })
  partitions.set(name, opened)
  return opened
}

export function partitionsAt(state: AuditState, topic: string): AuditedPartition[] {
  const count = state.options.partitionsOf(topic)
  return Array.from({ length: count }, (_, partition) => partitionAt(state, { topic, partition }))
}

function openStage(state: AuditState, stage: StagePlan): AuditedStage {
  const { options, plan } = state
  const inputs = stageInputs(plan, stage)
  const keepMs = 2 * stage.entity.retentionMs + Math.max(...plan.streams.map(({ latenessMs }) => latenessMs))
  const streamsOf = inputs.map(({ stream }) => (stream ? [stream.index] : stage.repartitionIn!.streams))
  return {
    stage,
    inputs,
    isAudited: stage.repartitionOut === null || stage.entity.slots.length > 0,
    outputs: partitionsAt(state, stage.repartitionOut?.topic ?? plan.predictions.topic),
    keepMs,
    tasks: Array.from({ length: options.partitionsOf(inputs[0]!.topic) }, (_, partition) =>
      createAuditTask({
        plan,
        stage,
        inputs: inputs.map(({ topic }) => partitionAt(state, { topic, partition })),
        inputOf: (stream) => streamsOf.findIndex((streams) => streams.includes(stream)),
        rejections: ({ deadLetter }) => state.deadLetters.get(deadLetter)?.count ?? 0,
        keepMs,
        scoreOf: options.scoreOf,
        isWhole: options.sample >= 1,
      }),
    ),
  }
}

const sampleOf = 1_000_003

/** Whether the entity is in the sample: the same answer for all streams. */
export function isSampled({ options: { sample } }: AuditState, stage: StagePlan, key: string): boolean {
  return isInSample(sample, stage, key)
}

export function isInSample(sample: number, stage: StagePlan, key: string): boolean {
  return sample >= 1 || partitionOf(Buffer.from(`${stage.entity.name} ${key}`), sampleOf) < sample * sampleOf
}

export function countSkipped({ counts }: AuditState, reason: SkipReason): void {
  counts.skipped[reason] = (counts.skipped[reason] ?? 0) + 1
}

export function deadLetterName(
  stage: StagePlan,
  stream: StreamPlan,
  { partition, offset, attempt }: Pick<DeadLetter, 'partition' | 'offset' | 'attempt'>,
): string {
  return `${stage.index} ${stream.index} ${partition} ${offset} ${attempt}`
}
