/** What the steps of the batch loop work on, made by hand: records, fetches, tasks, events and batches of the clicks pipeline. */
import type { EntityLog } from '../../feature-store/entity-log.ts'
import type { MemoryStore } from '../../feature-store/memory-store.ts'
import { createMemoryStore } from '../../feature-store/memory-store.ts'
import type { StoredLog } from '../../feature-store/store.ts'
import { type ActiveBatch, noneOvertaken, noPredictions, type OpenTask } from '../../processors/batch/active-batch.ts'
import { createEntityCache, type EntityCache } from '../../processors/batch/entity-cache.ts'
import { addEvent, clearEvents, createEventsByEntity } from '../../processors/batch/events-by-entity.ts'
import { createFold } from '../../processors/batch/fold-event.ts'
import { addFolded, clearFolded, createFoldedEvents, type FoldedEvents } from '../../processors/batch/folded-events.ts'
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
    byEntity: createEventsByEntity(),
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
  return changedEvent(stageEventOf(stream, fetched, 0, index, key), own)
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
  const { byEntity, cache } = open
  clearEvents(byEntity)
  for (const { key } of events) addEvent(byEntity, cache, key, events.length)
  const rejections = [...batch.rejections]
  return { open, batch, predictions: noPredictions, rejections, overtaken: noneOvertaken() }
}

/** These events as they were folded, each with its numbers; null: it is not of the scored stream. Nothing is scored. */
export function foldedOf(outputs: ReadonlyArray<readonly [StageEvent, readonly number[] | null]>): FoldedEvents {
  const folded = createFoldedEvents()
  const width = outputs.find(([, numbers]) => numbers !== null)?.[1]?.length ?? 0
  clearFolded(folded, outputs.length, width)
  outputs.forEach(([event, numbers], i) => {
    if (numbers) folded.numbers.set(numbers, i * width)
    addFolded(folded, event, numbers ? i : -1)
  })
  return folded
}

/** What was folded, event by event; the numbers of one of another stream than the scored one are null. */
export function listFolded({ count, events, rows, numbers, width }: FoldedEvents) {
  return Array.from({ length: count }, (_, i) => {
    const row = rows[i]!
    return { event: events[i]!, numbers: row < 0 ? null : Array.from(numbers.subarray(row * width, (row + 1) * width)) }
  })
}

/** Puts the log of this entity into the cache, or an empty one, and returns it. */
export function putLog(cache: EntityCache, key: string, stored: StoredLog | null = null): EntityLog {
  const entity = cache.find(key)
  if (entity.log === null || stored !== null) cache.put(entity, stored)
  return entity.log!
}

/** For `TakeBounds`: events of at most so many entities. */
export function admitsKeys(keysMax: number): (event: StageEvent) => boolean {
  const [events, cache] = [
    createEventsByEntity(),
    createEntityCache({ width: 4, knownColumn: null, sources: [] }, { rowsMax: 0 }),
  ]
  return ({ key }) => addEvent(events, cache, key, keysMax)
}
