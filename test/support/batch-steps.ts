/** What the steps of the batch loop work on, made by hand: records, fetches, tasks, events and batches of the clicks pipeline. */
import type { MemoryStore } from '../../feature-store/memory-store.ts'
import { createMemoryStore } from '../../feature-store/memory-store.ts'
import { type ActiveBatch, noneOvertaken, type OpenTask } from '../../processors/batch/active-batch.ts'
import { createEntityCache } from '../../processors/batch/entity-cache.ts'
import { createFold } from '../../processors/batch/fold-event.ts'
import type { Output } from '../../processors/batch/outputs.ts'
import { createOvertaking } from '../../processors/batch/overtaken.ts'
import { changedEvent, type StageEvent, stageEventOf } from '../../processors/batch/stage-event.ts'
import { createTask, type Task, type TaskBatch, type TaskOptions } from '../../processors/batch/task.ts'
import { fetchedEvents } from '../../processors/batch/task-input.ts'
import type { TaskPosition } from '../../processors/position.ts'
import { stageInputs } from '../../processors/stage-inputs.ts'
import { initialFrontier } from '../../processors/watermarks/frontier.ts'
import type { FetchedPartition, LogRecord } from '../../runtime/broker.ts'
import { recordsOf } from '../../runtime/records.ts'
import { fixedHashKey } from '../../schemas/kernel/keyed-hash.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { createRows, putEvent } from '../../schemas/wire/event-rows.ts'
import type { StreamEvent } from '../../testing/index.ts'
import { clicksStartMs } from './clicks.ts'

/** So many seconds after the start of the clicks, ms. */
export const at = (seconds: number) => clicksStartMs + seconds * 1_000

export const identity = { clusterId: 'memory', stateFingerprint: 'clicks', partitions: 1 }

/** Nothing was folded, and so many inputs are to be read from this offset on. */
export function freshPosition(inputs: number, offset = 0): TaskPosition {
  return {
    frontier: initialFrontier,
    retentionWatermark: Number.NEGATIVE_INFINITY,
    inputs: Array.from({ length: inputs }, () => ({
      resumeOffset: offset,
      nextOffset: offset,
      maxEventTime: Number.NEGATIVE_INFINITY,
    })),
  }
}

export function streamOf(plan: Plan, { stream }: StreamEvent) {
  return plan.streams.find(({ name }) => name === stream)!
}

/** The record of an event in its raw topic; text is a record that is no event. */
export function rawRecord(
  plan: Plan,
  event: StreamEvent | string,
  offset = 0,
  rest: Partial<LogRecord> = {},
): LogRecord {
  const value = typeof event === 'string' ? Buffer.from(event) : streamOf(plan, event).codec.encode(event.values)
  return { offset, appendedAtMs: at(100_000), key: null, value, headers: {}, ...rest }
}

/** The answer of a fetch that reached the end of the partition. */
export function fetchedOf(
  topic: string,
  records: readonly LogRecord[],
  rest: Partial<FetchedPartition> = {},
): FetchedPartition {
  const from = rest.from ?? records[0]?.offset ?? 0
  const next = (records.at(-1)?.offset ?? from - 1) + 1
  return { topic, partition: 0, from, records: recordsOf(records), next, stableEnd: next, end: next, age: 0, ...rest }
}

export function taskOptions(plan: Plan, rest: Partial<TaskOptions> = {}): TaskOptions {
  const stage = rest.stage ?? plan.stages[0]!
  return {
    plan,
    stage,
    partition: 0,
    partitions: 1,
    tasksBefore: 0,
    sourceFrontiers: null,
    openedAtMs: 0,
    limits: { holdMaxMs: Number.POSITIVE_INFINITY, heldMax: 100_000, readAheadMax: 1_000 },
    start: freshPosition(stageInputs(plan, stage).length),
    restoreTo: null,
    ...rest,
  }
}

/** A task with its part of a store in memory. */
export async function openTaskOf(task: Task, plan: Plan, store: MemoryStore = createMemoryStore()): Promise<OpenTask> {
  const { stage, partition } = task
  return {
    task,
    store: await store.claim(stage.entity.name, partition, 'owner', identity),
    cache: createEntityCache(stage.entity.layout, { rowsMax: 10_000 }),
    fold: createFold(plan, stage, fixedHashKey),
    overtaking: createOvertaking(plan, stage, Number.NEGATIVE_INFINITY),
    position: null,
    newestTime: Number.NEGATIVE_INFINITY,
    positionTakenMs: 0,
  }
}

export async function openClicks(plan: Plan, rest: Partial<TaskOptions> = {}): Promise<OpenTask> {
  return openTaskOf(createTask(taskOptions(plan, rest)), plan)
}

/** The event as the first stage holds it, read at this offset of its raw topic. */
export function heldEvent(
  plan: Plan,
  event: StreamEvent,
  offset: number,
  rest: Partial<StageEvent> & { readonly headers?: LogRecord['headers'] } = {},
): StageEvent {
  const { headers = {}, ...own } = rest
  const stream = streamOf(plan, event)
  const { index, codec } = stream
  const record = rawRecord(plan, event, offset, { headers })
  const records = recordsOf([record])
  const at = { input: index, partition: 0, round: 1, readAtMs: 0 }
  const fetched = {
    ...fetchedEvents(records, at),
    rows: plan.streams.map(() => createRows(codec.layout, 1, records.bytes)),
  }
  putEvent(fetched.rows[index]!, 0, event.values)
  const keyField = plan.stages[0]!.entity.keyFields.get(index)
  const key = keyField === undefined ? null : (event.values[keyField] as string)
  return changedEvent(stageEventOf(stream, fetched, 0, index, key, null), own)
}

/** A batch of these events as `order` gives it: nothing is folded yet. */
export function activeBatch(open: OpenTask, events: readonly StageEvent[], rest: Partial<TaskBatch> = {}): ActiveBatch {
  const { stage, partition, inputs } = open.task
  const batch: TaskBatch = {
    events,
    rejections: [],
    position: freshPosition(inputs.length),
    stagePosition: { stage: stage.entity.name, partition, next: inputs.map(({ nextOffset }) => nextOffset) },
    isRestore: false,
    ...rest,
  }
  const keys = new Set(events.flatMap(({ key }) => key ?? []))
  return { open, batch, keys, outputs: [], rejections: [...batch.rejections], overtaken: noneOvertaken() }
}

export function outputOf(event: StageEvent, vector: readonly number[] | null = null): Output {
  return {
    event,
    slots: null,
    vector: vector && Float64Array.from(vector),
    score: null,
    modelVersion: null,
    reasons: [],
    shadow: [],
  }
}
