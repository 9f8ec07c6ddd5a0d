/**
 * Answers what the features of some keys of an entity are, now or at a past place in canonical order: logs come from the store, the same
 * compiled slots and derive functions as in the batch loop make the values. The HTTP routes call it; it writes nothing.
 */
import assert from 'node:assert/strict'
import { type CanonicalPosition, compareCanonical } from '../schemas/kernel/canonical-order.ts'
import type { HashKey } from '../schemas/kernel/keyed-hash.ts'
import type { FeaturePlan, Plan, StagePlan } from '../schemas/plan/plan.ts'
import { compileRead, type Knowledge, type ReadSlots, reachesBefore } from './aggregates/read-slots.ts'
import { dropBefore, type EntityLog, liveRows, upperBound } from './entity-log.ts'
import { type PlaceProblem, placeOf, type QueriedPart, type QueryAt, throughInstant } from './query-place.ts'
import type { FeatureStore } from './store.ts'
import { decodeLog } from './stored-log.ts'

export interface ReaderOptions {
  readonly plan: Plan
  readonly store: FeatureStore
  readonly partitions: number
  /** Partition on which a key's facts are, as producers and stages choose it. */
  readonly partitionOf: (key: string) => number
  /** Of the ids in stored facts. */
  readonly hashKey: HashKey
  /** Frontier of a stored position. */
  readonly frontierOf: (position: string) => CanonicalPosition
}

export interface ReadRequest {
  readonly at: QueryAt
  /** `now`: with all that is known now about that place. `then`: only what was known then. */
  readonly knowledge: Knowledge
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
  | PlaceProblem

export type KeyAnswer =
  | { readonly found: false; readonly key: string; readonly partition: number }
  | {
      readonly found: true
      readonly key: string
      readonly partition: number
      /** Place that the values are for; of infinite order where it is after every event of its instant. */
      readonly place: CanonicalPosition
      /** The key's task has come to the end of the place: only late facts can still change the values. */
      readonly passed: boolean
      /** By feature name; null is missing. */
      readonly features: Readonly<Record<string, number | null>>
      /**
       * `before_retention`: some windows begin before the facts that are kept; the features that need them are null.
       */
      readonly status: 'complete' | 'before_retention'
      readonly beforeRetention: readonly string[]
      /** Features whose derive function threw; they are null too. */
      readonly failed: ReadonlyArray<{ readonly feature: string; readonly message: string }>
      /** Kept facts at or before the place. */
      readonly facts: number
      /** From the newest of them to the place; null where there is none. */
      readonly newestFactAgeMs: number | null
    }

export function createFeatureReader(options: ReaderOptions): FeatureReader {
  const { plan } = options
  const entities = new Map(plan.entityStages.map((stage) => [stage.entity.name, compileEntity(plan, stage)]))

  return {
    read: async (entityName, keys, { at, knowledge }) => {
      const entity = entities.get(entityName)
      if (entity === undefined) {
        return { ok: false, problem: { code: 'entity_unknown', expected: [...entities.keys()], received: entityName } }
      }
      const reads = await readLogs(options, entity.stage, keys)
      const placed = placeOf(at, entity.stage.entity, reads.filter(isFilled), options.hashKey)
      if (!placed.ok) return placed
      const items: KeyAnswer[] = new Array(keys.length)
      for (const { partition, indexes, logs, frontier } of reads) {
        indexes.forEach((keyIndex, i) => {
          const log = logs[i] ?? null
          const key = keys[keyIndex]!
          items[keyIndex] =
            frontier === null || log === null
              ? { found: false, key, partition }
              : { found: true, key, partition, ...entity.answer(log, frontier, placed.place, knowledge) }
        })
      }
      return { ok: true, items }
    },
  }
}

interface PartRead extends Omit<QueriedPart, 'frontier'> {
  readonly partition: number
  /** Of the requested keys, in the order of the logs. */
  readonly indexes: readonly number[]
  /** Null: the store holds nothing of the task. */
  readonly frontier: CanonicalPosition | null
}

function isFilled(read: PartRead): read is PartRead & QueriedPart {
  return read.frontier !== null
}

/** The live facts of the keys, of one position a partition. */
async function readLogs(options: ReaderOptions, { entity }: StagePlan, keys: readonly string[]): Promise<PartRead[]> {
  const { store, partitions, partitionOf, frontierOf } = options
  const indexesByPartition = new Map<number, number[]>()
  keys.forEach((key, index) => {
    const partition = partitionOf(key)
    assert(partition >= 0 && partition < partitions, `partition ${partition} of key ${key} is not one of ${partitions}`)
    const indexes = indexesByPartition.get(partition)
    if (indexes === undefined) indexesByPartition.set(partition, [index])
    else indexes.push(index)
  })
  return Promise.all(
    [...indexesByPartition].map(async ([partition, indexes]) => {
      const read = await store.read(
        entity.name,
        partition,
        indexes.map((index) => keys[index]!),
      )
      const frontier = read.position === null ? null : frontierOf(read.position)
      const logs = read.logs.map((stored) => {
        if (frontier === null || stored === null) return null
        const log = decodeLog(stored, entity.layout)
        // Expired facts may still be in the store; whether they are does not depend on the key.
        dropBefore(log, frontier.time - entity.retentionMs)
        return liveRows(log) === 0 ? null : log
      })
      return { partition, indexes, frontier, logs }
    }),
  )
}

interface CompiledEntity {
  readonly stage: StagePlan
  answer(
    log: EntityLog,
    frontier: CanonicalPosition,
    asked: CanonicalPosition | null,
    knowledge: Knowledge,
  ): Omit<Extract<KeyAnswer, { readonly found: true }>, 'found' | 'key' | 'partition'>
}

function compileEntity(plan: Plan, stage: StagePlan): CompiledEntity {
  const { entity } = stage
  const readThen = compileRead(entity)
  const readNow = compileRead(entity, { knowledge: 'now' })
  const features = plan.features.filter((feature) => feature.entity === entity.name)
  const slots = new Float64Array(plan.slots.length)
  const guarded = guardSlots(slots)

  return {
    stage,
    answer: (log, frontier, asked, knowledge) => {
      const place = asked ?? throughInstant(frontier.time)
      const read: ReadSlots = knowledge === 'then' ? readThen : readNow
      slots.fill(Number.NaN)
      read(log, place, slots)
      const floor = frontier.time - entity.retentionMs
      const short = entity.slots.filter((slot) => reachesBefore(slot, place.time, floor)).map((slot) => slot.index)
      const values = computeFeatures(features, slots, guarded, short)
      const { facts, newest } = factsUntil(log, place, knowledge === 'then' ? entity.layout.knownColumn : null)
      return {
        place,
        passed: compareCanonical(place, frontier) <= 0,
        ...values,
        status: short.length > 0 ? 'before_retention' : 'complete',
        facts,
        newestFactAgeMs: newest === null ? null : place.time - newest,
      }
    },
  }
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

function factsUntil(log: EntityLog, place: CanonicalPosition, knownColumn: number | null) {
  const { rows, width } = log
  let facts = 0
  let newest: number | null = null
  for (let index = upperBound(log, place.time, place.order) - 1; index >= log.start; index--) {
    const row = index * width
    if (knownColumn !== null) {
      const known = { time: rows[row + knownColumn]!, order: rows[row + 1]! }
      if (compareCanonical(known, place) > 0) continue
    }
    newest ??= rows[row]!
    facts++
  }
  return { facts, newest }
}
