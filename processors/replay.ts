/**
 * The pure core without servers: validated events in event-time order in, every vector out, from the same fold as live. What it gives is
 * what live must give, bit for bit, for a stream without late events. Called by `millrace replay` and by tests.
 */
import type { LogWrite } from '../feature-store/store.ts'
import { partitionOf } from '../runtime/partition.ts'
import { orderOf } from '../schemas/kernel/canonical-order.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { EventValues } from '../schemas/kernel/event.ts'
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
   * Events of one time are put in canonical order before they are folded, so vectors come out once time has gone on. `partition`: where
   * the event lies, if it is not where its key belongs.
   */
  push(stream: number, event: EventValues, partition?: number): Replayed[]
  /** The vectors of the last instant. */
  flush(): Replayed[]
}

interface ReplayStage {
  readonly stage: StagePlan
  readonly fold: Fold
  readonly caches: readonly EntityCache[]
  /** Greatest event time folded, by partition. */
  readonly newestTimes: number[]
}

export interface ReplayOptions {
  /** Of all topics, since the order of events of the same time depends on the partition that they lie in. */
  readonly partitions: number
  /** Gets what a store would be brought level with after each event; without it that is forgotten. */
  readonly onWrites?: (entity: string, partition: number, writes: readonly LogWrite[]) => void
}

export function createReplay(plan: Plan, options: ReplayOptions): Replay {
  const { partitions, onWrites } = options
  const counts = { events: 0, duplicates: 0, rejected: 0 }
  const stages = plan.stages.map(
    (stage): ReplayStage => ({
      stage,
      fold: createFold(plan, stage),
      caches: Array.from({ length: partitions }, () =>
        createEntityCache(stage.entity.layout, { rowsMax: Number.POSITIVE_INFINITY }),
      ),
      newestTimes: new Array<number>(partitions).fill(Number.NEGATIVE_INFINITY),
    }),
  )
  const nextOffsets = plan.streams.map(() => new Array<number>(partitions).fill(0))
  let waiting: FoldedEvent[] = []

  function push(streamIndex: number, event: EventValues, lies?: number): Replayed[] {
    const stream = plan.streams[streamIndex]!
    const time = event[stream.timeField] as number
    const last = waiting[0]?.time ?? Number.NEGATIVE_INFINITY
    if (time < last) {
      throw new PipelineError(
        'input_unreadable',
        `A replay needs its events in event-time order: ${stream.name} ${event[stream.idField]} of ${new Date(time).toISOString()} ` +
          `came after ${new Date(last).toISOString()}. Sort the source.`,
      )
    }
    const done = time > last ? flush() : []
    const partition = lies ?? partitionOf(Buffer.from(event[stream.keyField] as string), partitions)
    const offset = nextOffsets[streamIndex]![partition]!++
    const order = orderOf(streamIndex, partition, offset)
    waiting.push({
      time,
      order,
      stream: streamIndex,
      id: event[stream.idField] as string,
      event,
      slots: [],
      rejectedBy: null,
    })
    return done
  }

  function flush(): Replayed[] {
    const instant = waiting
    waiting = []
    if (instant.length > 1) instant.sort((a, b) => a.order - b.order)
    return instant.flatMap((event) => {
      counts.events++
      const vector = foldThrough(event)
      return vector ? [{ id: event.id, time: event.time, event: event.event, vector }] : []
    })
  }

  /** The vector, where the event is one to be scored and nothing stopped it on its way. */
  function foldThrough(first: FoldedEvent): Float64Array | null {
    const stream = plan.streams[first.stream]!
    let event = first
    for (const at of stages) {
      if (stream.entersAt === null || at.stage.index < stream.entersAt) continue
      const folded = foldAt(at, event)
      if (folded.kind === 'duplicate') counts.duplicates++
      if (folded.kind === 'rejected') counts.rejected++
      if (folded.kind !== 'folded') return null
      if (folded.vector) return folded.vector
      if (folded.slots) event = { ...event, slots: folded.slots.subarray(0, at.stage.repartitionOut!.slots.length) }
    }
    return null
  }

  function foldAt({ stage, fold, caches, newestTimes }: ReplayStage, event: FoldedEvent) {
    const keyField = stage.entity.keyFields.get(event.stream)
    if (keyField === undefined || !fold.needsLog(event.stream)) return fold.fold(event, null, Number.NEGATIVE_INFINITY)
    const key = event.event[keyField] as string
    const partition = partitionOf(Buffer.from(key), partitions)
    const cache = caches[partition]!
    if (cache.missing([key]).length > 0) cache.put(key, null)
    newestTimes[partition] = Math.max(newestTimes[partition]!, event.time)
    const log = cache.touch(key, 0)
    const folded = fold.fold(event, log, newestTimes[partition] - stage.entity.retentionMs)
    // Nothing is stored here. The writes are taken all the same, so that they do not pile up.
    const writes = cache.takeWrites([key])
    if (writes.length > 0) onWrites?.(stage.entity.name, partition, writes)
    return folded
  }

  return { counts, push, flush }
}
