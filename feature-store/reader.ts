/**
 * Answers what the features of some keys of an entity are, now or at a past instant: logs come from the store, the same
 * compiled slots and derive functions as in the batch loop make the values. The HTTP routes call it; it writes nothing.
 */
import assert from 'node:assert/strict'
import type { FeaturePlan, Plan, StagePlan } from '../schemas/plan/plan.ts'
import { compileRead, type Knowledge, type ReadSlots, reachesBefore } from './aggregates/read-slots.ts'
import { decodeLog, dropBefore, type EntityLog, liveRows, upperBound } from './entity-log.ts'
import type { FeatureStore } from './store.ts'

export interface ReaderOptions {
  readonly plan: Plan
  readonly store: FeatureStore
  readonly partitions: number
  /** Partition on which a key's facts are, as producers and stages choose it. */
  readonly partitionOf: (key: string) => number
  /** Event time (ms) of a stored position. */
  readonly eventTimeOf: (position: string) => number
}

export interface ReadRequest {
  /** Requested instant, ms; absent for now. */
  readonly asOf?: number
  /** `now`: with all that is known now about that instant. `then`: only what was known then. */
  readonly knowledge: Knowledge
  /** What "now" is: the event time that the key's task has reached, or the wall clock. */
  readonly clock: 'event' | 'wall'
  readonly nowMs: number
}

export interface FeatureReader {
  /** One answer a key, in the order requested. A store that fails rejects with its `PipelineError`. */
  read(entity: string, keys: readonly string[], request: ReadRequest): Promise<ReadAnswer>
}

export type ReadAnswer =
  | { readonly ok: true; readonly items: readonly KeyAnswer[] }
  | { readonly ok: false; readonly problem: ReadProblem }

export type ReadProblem =
  | { readonly code: 'entity_unknown'; readonly expected: readonly string[]; readonly received: string }
  /** The stream has only reached `expected` (ms). */
  | { readonly code: 'as_of_ahead'; readonly expected: number; readonly received: number }

export type KeyAnswer =
  | { readonly found: false; readonly key: string; readonly partition: number }
  | {
      readonly found: true
      readonly key: string
      readonly partition: number
      /** Instant that the values are for, ms. */
      readonly instant: number
      /** By feature name; null is missing. */
      readonly features: Readonly<Record<string, number | null>>
      /**
       * `before_retention`: some windows begin before the facts that are kept; the features that need them are null.
       */
      readonly status: 'complete' | 'before_retention'
      readonly beforeRetention: readonly string[]
      /** Features whose derive function threw; they are null too. */
      readonly failed: ReadonlyArray<{ readonly feature: string; readonly message: string }>
      /** Kept facts at or before the instant. */
      readonly facts: number
      /** From the newest of them to the instant; null where there is none. */
      readonly newestFactAgeMs: number | null
    }

export function createFeatureReader(options: ReaderOptions): FeatureReader {
  const { plan, store, partitions, partitionOf, eventTimeOf } = options
  const entities = new Map(plan.entityStages.map((stage) => [stage.entity.name, compileEntity(plan, stage)]))

  return {
    read: async (entityName, keys, request) => {
      const entity = entities.get(entityName)
      if (entity === undefined) {
        return { ok: false, problem: { code: 'entity_unknown', expected: [...entities.keys()], received: entityName } }
      }
      const indexesByPartition = new Map<number, number[]>()
      keys.forEach((key, index) => {
        const partition = partitionOf(key)
        assert(
          partition >= 0 && partition < partitions,
          `partition ${partition} of key ${key} is not one of ${partitions}`,
        )
        const indexes = indexesByPartition.get(partition)
        if (indexes === undefined) indexesByPartition.set(partition, [index])
        else indexes.push(index)
      })
      const reads = await Promise.all(
        [...indexesByPartition].map(async ([partition, indexes]) => {
          const { position, logs } = await store.read(
            entityName,
            partition,
            indexes.map((index) => keys[index]!),
          )
          return { partition, indexes, logs, reached: position === null ? null : eventTimeOf(position) }
        }),
      )
      const { asOf } = request
      const reachedLeast = Math.min(...reads.map(({ reached }) => reached ?? Number.POSITIVE_INFINITY))
      if (asOf !== undefined && asOf > reachedLeast) {
        return { ok: false, problem: { code: 'as_of_ahead', expected: reachedLeast, received: asOf } }
      }
      const items: KeyAnswer[] = new Array(keys.length)
      for (const { partition, indexes, logs, reached } of reads) {
        indexes.forEach((keyIndex, i) => {
          const bytes = logs[i] ?? null
          const key = keys[keyIndex]!
          items[keyIndex] =
            reached === null || bytes === null
              ? { found: false, key, partition }
              : entity.answer(key, partition, bytes, reached, request)
        })
      }
      return { ok: true, items }
    },
  }
}

interface CompiledEntity {
  answer(key: string, partition: number, bytes: Buffer, reached: number, request: ReadRequest): KeyAnswer
}

function compileEntity(plan: Plan, { entity }: StagePlan): CompiledEntity {
  const readThen = compileRead(entity)
  const readNow = compileRead(entity, { knowledge: 'now' })
  const features = plan.features.filter((feature) => feature.entity === entity.name)
  const slots = new Float64Array(plan.slots.length)
  const guarded = guardSlots(slots)

  function answer(key: string, partition: number, bytes: Buffer, reached: number, request: ReadRequest): KeyAnswer {
    const log = decodeLog(bytes, entity.layout)
    const floor = reached - entity.retentionMs
    dropBefore(log, floor)
    // Expired facts may still be in the store; whether they are does not depend on the key.
    if (liveRows(log) === 0) return { found: false, key, partition }
    const instant = request.asOf ?? (request.clock === 'wall' ? request.nowMs : reached)
    const read: ReadSlots = request.knowledge === 'then' ? readThen : readNow
    slots.fill(Number.NaN)
    read(log, { time: instant, order: Number.POSITIVE_INFINITY }, slots)
    const short = entity.slots.filter((slot) => reachesBefore(slot, instant, floor)).map((slot) => slot.index)
    const values = computeFeatures(features, slots, guarded, short)
    const { facts, newest } = factsUntil(log, instant, request.knowledge === 'then' ? entity.layout.knownColumn : null)
    return {
      found: true,
      key,
      partition,
      instant,
      ...values,
      status: short.length > 0 ? 'before_retention' : 'complete',
      facts,
      newestFactAgeMs: newest === null ? null : instant - newest,
    }
  }

  return { answer }
}

function computeFeatures(
  features: readonly FeaturePlan[],
  slots: Float64Array,
  guarded: GuardedSlots,
  short: readonly number[],
) {
  const values: Record<string, number | null> = {}
  const beforeRetention: string[] = []
  const failed: Array<{ feature: string; message: string }> = []
  for (const feature of features) {
    guarded.begin(short)
    let value = Number.NaN
    let failure: string | null = null
    try {
      value = feature.compute({}, short.length > 0 ? guarded.slots : slots)
    } catch (error) {
      // The definition's own function threw: the answer reports it and still contains the other features.
      failure = error instanceof Error ? error.message : String(error)
    }
    values[feature.name] = guarded.touched() || Number.isNaN(value) ? null : value
    if (guarded.touched()) beforeRetention.push(feature.name)
    else if (failure !== null) failed.push({ feature: feature.name, message: failure })
  }
  return { features: values, beforeRetention, failed }
}

/** Slots that notice when one of those that would be short is read. */
interface GuardedSlots {
  readonly slots: ArrayLike<number>
  begin(short: readonly number[]): void
  touched(): boolean
}

function guardSlots(slots: Float64Array): GuardedSlots {
  let forbidden: readonly number[] = []
  let wasTouched = false
  const guarded = Object.defineProperties(
    { length: slots.length },
    Object.fromEntries(
      Array.from(slots, (_, index) => [
        index,
        {
          get: () => {
            if (forbidden.includes(index)) wasTouched = true
            return slots[index]
          },
        },
      ]),
    ),
  )
  return {
    slots: guarded,
    begin: (short) => {
      forbidden = short
      wasTouched = false
    },
    touched: () => wasTouched,
  }
}

function factsUntil(log: EntityLog, instant: number, knownColumn: number | null) {
  const { rows, width } = log
  let facts = 0
  let newest: number | null = null
  for (let index = upperBound(log, instant, Number.POSITIVE_INFINITY) - 1; index >= log.start; index--) {
    if (knownColumn !== null && rows[index * width + knownColumn]! > instant) continue
    newest ??= rows[index * width]!
    facts++
  }
  return { facts, newest }
}
