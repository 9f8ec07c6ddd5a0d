/**
 * The pure core without servers: validated events in event-time order in, every vector out, from the same fold as live. For a stream
 * without late events live processing must compute the same vectors, bit for bit. Called by `millrace replay` and by tests.
 */
import type { EntityLog } from '../feature-store/entity-log.ts'
import { forgetUnwritten } from '../feature-store/stored-log.ts'
import { partitionOf } from '../runtime/partition.ts'
import { orderOf } from '../schemas/kernel/canonical-order.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { EventValues, Problem } from '../schemas/kernel/event.ts'
import { fixedHashKey, type HashKey } from '../schemas/kernel/keyed-hash.ts'
import type { Plan, StagePlan } from '../schemas/plan/plan.ts'
import { createEntityCache, type EntityCache } from './batch/entity-cache.ts'
import { createFold, type Fold, type FoldedEvent } from './batch/fold-event.ts'

export interface Replayed {
  readonly id: string
  readonly time: number
  readonly event: EventValues
  /** In the plan's feature order, NaN where missing. */
  readonly vector: Float64Array
}

export interface Replay {
  readonly counts: { readonly events: number; readonly duplicates: number; readonly rejected: number }
  /**
   * Events of one instant are put in canonical order before they are folded, so their vectors are returned with the next instant.
   * `partition`: of the event, unless it is that of its key. `record`: of an event that lies in a raw topic.
   */
  push(stream: number, event: EventValues, partition?: number, record?: ReplayedRecord): Replayed[]
  /** The vectors of the last instant. */
  flush(): Replayed[]
}

export interface ReplayedRecord {
  readonly offset: number
  /** Stage that had rejected the event, if it was requeued to the raw topic; null for all others. */
  readonly rejectedBy: string | null
}

export interface ReplayOptions {
  /** Of all topics, since the order of events of the same time depends on their partitions. */
  readonly partitions: number
  /** Of the ids in what `onWrites` gets; a fixed one unless given, since nothing else shows it. */
  readonly hashKey?: HashKey
  /** See `WorkerLimits`; its default unless given. */
  readonly entityBytesMax?: number
  /** Called with each event that is left out since a feature could not be computed from it, or its entity is full. */
  readonly onRejected?: (event: FoldedEvent, problem: Problem) => void
  /** Called after each event with the log of its entity. */
  readonly onFolded?: (entity: string, partition: number, key: string, log: EntityLog) => void
}

interface ReplayStage {
  readonly stage: StagePlan
  readonly fold: Fold
  readonly caches: readonly EntityCache[]
  /** Greatest event time folded, by partition. */
  readonly maxEventTimes: number[]
}

interface ReplayState extends ReplayOptions {
  readonly plan: Plan
  readonly counts: { events: number; duplicates: number; rejected: number }
  readonly stages: readonly ReplayStage[]
  /** By stream and partition. */
  readonly nextOffsets: readonly number[][]
  /** Events of the last instant, which are not folded yet. */
  waiting: FoldedEvent[]
}

export function createReplay(plan: Plan, options: ReplayOptions): Replay {
  const { partitions } = options
  const state: ReplayState = {
    ...options,
    plan,
    counts: { events: 0, duplicates: 0, rejected: 0 },
    stages: plan.stages.map((stage) => ({
      stage,
      fold: createFold(plan, stage, options.hashKey ?? fixedHashKey, options.entityBytesMax),
      caches: Array.from({ length: partitions }, () =>
        createEntityCache(stage.entity.layout, { rowsMax: Number.POSITIVE_INFINITY }),
      ),
      maxEventTimes: new Array<number>(partitions).fill(Number.NEGATIVE_INFINITY),
    })),
    nextOffsets: plan.streams.map(() => new Array<number>(partitions).fill(0)),
    waiting: [],
  }
  return {
    counts: state.counts,
    push: (stream, event, partition, record) => push(state, stream, event, partition, record),
    flush: () => flush(state),
  }
}

function push(
  state: ReplayState,
  streamIndex: number,
  event: EventValues,
  at?: number,
  record?: ReplayedRecord,
): Replayed[] {
  const stream = state.plan.streams[streamIndex]!
  const time = event[stream.timeField] as number
  const last = state.waiting[0]?.time ?? Number.NEGATIVE_INFINITY
  if (time < last) {
    throw new PipelineError(
      'input_unreadable',
      `A replay needs its events in event-time order: ${stream.name} ${event[stream.idField]} of ${new Date(time).toISOString()} ` +
        `came after ${new Date(last).toISOString()}. Sort the source.`,
    )
  }
  const done = time > last ? flush(state) : []
  const partition = at ?? partitionOf(Buffer.from(event[stream.keyField] as string), state.partitions)
  const offset = record?.offset ?? state.nextOffsets[streamIndex]![partition]!++
  state.waiting.push({
    time,
    order: orderOf(streamIndex, partition, offset),
    stream: streamIndex,
    id: event[stream.idField] as string,
    event,
    slots: noNumbers,
    slotsFrom: 0,
    slotCount: 0,
    rejectedBy: record?.rejectedBy ?? null,
  })
  return done
}

function flush(state: ReplayState): Replayed[] {
  const instant = state.waiting
  state.waiting = []
  if (instant.length > 1) instant.sort((a, b) => a.order - b.order)
  return instant.flatMap((event) => {
    state.counts.events++
    const vector = foldThrough(state, event)
    return vector ? [{ id: event.id, time: event.time, event: event.event, vector }] : []
  })
}

/** The vector, where the event is a scored one and was not rejected or dropped on its way. */
function foldThrough(state: ReplayState, first: FoldedEvent): Float64Array | null {
  const { plan, counts } = state
  const { entersAt } = plan.streams[first.stream]!
  let event = first
  for (const at of state.stages) {
    if (entersAt === null || at.stage.index < entersAt) continue
    const isScored = event.stream === plan.scored.index
    const numbers = isScored ? new Float64Array(at.fold.width) : noNumbers
    const { kind, problem } = foldAt(state, at, event, numbers)
    if (kind === 'duplicate') counts.duplicates++
    if (kind === 'rejected') {
      counts.rejected++
      state.onRejected?.(first, problem!)
    }
    if (kind !== 'folded') return null
    if (!isScored) continue
    if (at.stage.repartitionOut === null) return numbers
    event = { ...event, slots: numbers, slotCount: numbers.length }
  }
  return null
}

const noNumbers = new Float64Array(0)

function foldAt(
  state: ReplayState,
  { stage, fold, caches, maxEventTimes }: ReplayStage,
  event: FoldedEvent,
  numbers: Float64Array,
) {
  const keyField = stage.entity.keyFields.get(event.stream)
  if (keyField === undefined || !fold.needsLog(event.stream))
    return fold.fold(event, null, Number.NEGATIVE_INFINITY, numbers, 0)
  const key = event.event[keyField] as string
  const partition = partitionOf(Buffer.from(key), state.partitions)
  const cache = caches[partition]!
  const entity = cache.find(key)
  if (entity.log === null) cache.put(entity, null)
  maxEventTimes[partition] = Math.max(maxEventTimes[partition]!, event.time)
  const log = entity.log!
  const folded = fold.fold(event, log, maxEventTimes[partition] - stage.entity.retentionMs, numbers, 0)
  // Nothing is stored here.
  forgetUnwritten(log)
  state.onFolded?.(stage.entity.name, partition, key, log)
  return folded
}
