/**
 * Checks that Kafka's log still holds what a task is about to read: takes a position and the log bounds of the task's inputs, throws an
 * error that names topic, partition and offsets where they do not match. Called when a task is opened, so that no task waits for records
 * that never come.
 */
import type { BrokerData, LogRecord, TopicPartition } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'
import type { TaskPosition } from '../position.ts'
import { type StageInput, stageInputs } from '../stage-inputs.ts'

export interface LogBounds {
  readonly start: number
  /** Last stable offset. */
  readonly end: number
}

export interface CheckedLog {
  readonly plan: Plan
  readonly stage: StagePlan
  readonly partition: number
  readonly broker: BrokerData
  readonly clock: Clock
  /** In the order of the stage's inputs. */
  readonly bounds: readonly LogBounds[]
}

/** A new leader, or one on which a commit is not readable yet, reports an old end for a moment. */
export const settleMs = 200
export const settleTriesMax = 10

/** Checks that everything that was read is before the end of the log. Throws `state_ahead` where it does not: records were lost. */
export async function requireEnds(log: CheckedLog, position: TaskPosition): Promise<void> {
  const { stage, partition, broker, clock } = log
  const inputs = stageInputs(log.plan, stage)
  let ends = log.bounds.map(({ end }) => end)
  for (let tries = 1; ; tries++) {
    const at = position.inputs.findIndex(({ nextOffset }, i) => nextOffset > ends[i]!)
    if (at === -1) return
    const { topic } = inputs[at]!
    const { nextOffset } = position.inputs[at]!
    if (tries === settleTriesMax) {
      throw new PipelineError(
        'state_ahead',
        `Topic ${topic}, partition ${partition}, ends at offset ${ends[at]}, but ${stage.entity.name} ${partition} has read up to ` +
          `offset ${nextOffset}: Kafka lost records, or the topic was recreated. Start with --rebuild to continue from its end.`,
        { details: { topic, partition, end: ends[at], next: nextOffset } },
      )
    }
    await clock.sleep(settleMs)
    const bounds = await broker.bounds(partitionsOf(inputs, partition))
    ends = inputs.map((input) => bounds.find((bound) => bound.topic === input.topic)!.end)
  }
}

/** Everything that is still to be read is in the log. Throws `log_truncated` where retention has already removed some of it. */
export function requireStarts({ plan, stage, partition, bounds }: CheckedLog, position: TaskPosition): void {
  const at = position.inputs.findIndex(({ resumeOffset }, i) => resumeOffset < bounds[i]!.start)
  if (at === -1) return
  const { topic } = stageInputs(plan, stage)[at]!
  const { resumeOffset } = position.inputs[at]!
  throw new PipelineError(
    'log_truncated',
    `${stage.entity.name} ${partition} has to resume at offset ${resumeOffset} of ${topic}, partition ${partition}, which was ` +
      `removed: the log starts at ${bounds[at]!.start}`,
    { details: { topic, partition, offset: resumeOffset, start: bounds[at]!.start } },
  )
}

export interface ShortLog {
  readonly topic: string
  /** Latest event time that may have been removed; infinity where it is not known. */
  readonly removedUntil: number
  /** Events later than this are needed. */
  readonly needed: number
  /** Only windows of late events reach back that far. */
  readonly isLateOnly: boolean
}

/**
 * For an empty store that is restored from the start of the log: the input whose log does not reach back as far as the windows of the next
 * events, which would then be incomplete. Null where all do. Removed events were appended before the first one that is left. So their event
 * time is at most that of this event plus the stream's lateness, and at most its append time plus how far ahead the stream allows.
 */
export async function shortLog(log: CheckedLog, target: TaskPosition): Promise<ShortLog | null> {
  const { plan, stage, bounds } = log
  const needed = target.frontier.time - stage.entity.retentionMs
  if (!Number.isFinite(needed)) return null
  let worst: ShortLog | null = null
  for (const [at, input] of stageInputs(plan, stage).entries()) {
    if (bounds[at]!.start === 0) continue
    const removedUntil = await removedBy(log, input, bounds[at]!)
    if (removedUntil <= needed || removedUntil <= (worst?.removedUntil ?? Number.NEGATIVE_INFINITY)) continue
    const isLateOnly = removedUntil <= needed + plan.scored.latenessMs
    worst = { topic: input.topic, removedUntil, needed, isLateOnly }
  }
  return worst
}

async function removedBy(log: CheckedLog, input: StageInput, { start, end }: LogBounds): Promise<number> {
  const { plan, clock } = log
  const streams = input.stream ? [input.stream] : plan.streams
  const aheadMs = Math.max(...streams.map((stream) => stream.aheadMs))
  const latenessMs = Math.max(...streams.map((stream) => stream.latenessMs))
  const first = await firstEvent(log, input, { start, end })
  if (first) return Math.min(first.time + latenessMs, first.appendedAtMs + aheadMs)
  // Nothing is left, so retention has removed it; the topic's setting is checked at every start.
  const retentionMs = plan.topics.find(({ topic }) => topic === input.topic)?.retentionMs ?? null
  return retentionMs === null ? Number.POSITIVE_INFINITY : clock.nowMs() - retentionMs + aheadMs
}

/** The first record of the log that holds an event; null where there is none. */
async function firstEvent(
  { plan, stage, partition, broker }: CheckedLog,
  input: StageInput,
  { start, end }: LogBounds,
) {
  const fetcher = await broker.fetcher()
  try {
    for (let offset = start; offset < end; ) {
      const [fetched] = await fetcher.fetch([{ topic: input.topic, partition, offset }], readLimits)
      for (const record of fetched!.records) {
        const time = timeOf(plan, stage, input, record)
        if (time !== null) return { time, appendedAtMs: record.appendedAtMs }
      }
      if (fetched!.next === offset) break
      offset = fetched!.next
    }
    return null
  } finally {
    await fetcher.close()
  }
}

const readLimits = { maxWaitMs: 1_000, partitionBytesMax: 64 * 1_024 }

function timeOf(plan: Plan, stage: StagePlan, { stream }: StageInput, { value }: LogRecord): number | null {
  if (stream) {
    const decoded = stream.codec.decode(value)
    return decoded.ok ? (decoded.event[stream.timeField] as number) : null
  }
  if (value === null) return null
  const carried = stage.repartitionIn!.codec.decode(value)
  return carried.kind === 'event' ? (carried.event[plan.streams[carried.stream]!.timeField] as number) : null
}

function partitionsOf(inputs: readonly StageInput[], partition: number): TopicPartition[] {
  return inputs.map(({ topic }) => ({ topic, partition }))
}
