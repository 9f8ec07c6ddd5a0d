/**
 * A small plan by hand and facts for it, for the tests of reader and routes: payments of a shop, and reports that count
 * at the payment.
 */
import { insertFact } from '../../feature-store/entity-log.ts'
import { compileFactRow, createFactRow } from '../../feature-store/fact-row.ts'
import { createMemoryStore } from '../../feature-store/memory-store.ts'
import { createFeatureReader } from '../../feature-store/reader.ts'
import { createStepWrites } from '../../feature-store/step-writes.ts'
import { decodeLog, takeWrite } from '../../feature-store/stored-log.ts'
import { orderOf } from '../../schemas/kernel/canonical-order.ts'
import type { EventValues } from '../../schemas/kernel/event.ts'
import { fixedHashKey } from '../../schemas/kernel/keyed-hash.ts'
import type { AggregateSlot, EntityPlan, FeaturePlan, Plan, StreamPlan } from '../../schemas/plan/plan.ts'

export const partitions = 2
export const hour = 3_600_000
/** Frontier of the stored positions: an instant, and the newest payment that a log holds of it. */
export const reached = Date.parse('2024-03-10T00:00:00Z')
export const reachedOrder = orderOf(0, 1, 1)

const base = { stage: 0, column: null, decimals: null, lagMs: 0 }
const slots: readonly AggregateSlot[] = [
  { ...base, index: 0, name: 'count_payments_1h', kind: 'count', stream: 0, overMs: hour },
  { ...base, index: 1, name: 'mean_amount_24h', kind: 'mean', stream: 0, column: 5, decimals: 2, overMs: 24 * hour },
  { ...base, index: 2, name: 'count_reports_24h', kind: 'count', stream: 1, overMs: 24 * hour },
]

const shop: EntityPlan = {
  name: 'shop',
  keyFields: new Map([
    [0, 'shop'],
    [1, 'shop'],
  ]),
  layout: {
    width: 6,
    knownColumn: 4,
    sources: [
      { stream: 0, atField: 'at', values: [{ field: 'amount', column: 5, decimals: 2 }] },
      { stream: 1, atField: 'paidAt', values: [] },
    ],
  },
  slots,
  retentionMs: 48 * hour,
}

const streams = [
  { index: 0, name: 'payments', idField: 'id', timeField: 'at', fields: [{ name: 'amount', kind: 'number' }] },
  { index: 1, name: 'reports', idField: 'id', timeField: 'reportedAt', fields: [] },
] as unknown as StreamPlan[]

const features: readonly FeaturePlan[] = [
  { name: 'amount', identity: 'amount', entity: null, compute: (event) => event.amount as number },
  { name: 'lastHour', identity: 'lastHour', entity: 'shop', compute: (_, values) => values[0]! },
  { name: 'meanDay', identity: 'meanDay', entity: 'shop', compute: (_, values) => values[1]! },
  { name: 'reportsDay', identity: 'reportsDay', entity: 'shop', compute: (_, values) => values[2]! },
  {
    name: 'fragile',
    identity: 'fragile',
    entity: 'shop',
    compute: (_, values) => {
      if (values[0] === 2) throw new Error('two is too many')
      return values[0]!
    },
  },
]

const stage = { kind: 'entity', index: 0, entity: shop, rawStreams: [0, 1], repartitionIn: null, repartitionOut: null }

export const plan = {
  name: 'shops',
  streams,
  scored: streams[0],
  stages: [stage],
  entityStages: [stage],
  slots,
  features,
} as unknown as Plan

/** Keys that begin with `b` are on partition 1. */
export function partitionOf(key: string): number {
  return key.startsWith('b') ? 1 : 0
}

const payment = (id: string, time: number, amount: number | null) => ({ stream: 0, event: { id, at: time, amount } })
const report = (id: string, paidAt: number, reportedAt: number) => ({ stream: 1, event: { id, paidAt, reportedAt } })

const history: Readonly<Record<string, ReadonlyArray<{ stream: number; event: EventValues }>>> = {
  a1: [
    payment('p1', reached - 30 * hour, 10),
    payment('p2', reached - 3 * hour, 20.5),
    payment('p3', reached - 0.5 * hour, 1.25),
    report('r1', reached - 3 * hour, reached - hour),
  ],
  a2: [payment('p4', reached - 100 * hour, 7)],
  b1: [payment('p5', reached - 0.25 * hour, null), payment('p6', reached, null)],
}

/** A store that holds the history above, and a reader of it. */
export async function openShops() {
  const store = createMemoryStore()
  const identity = { clusterId: 'kafka-1', stateFingerprint: 'f00d', partitions }
  const writeFactRow = compileFactRow(shop, streams, fixedHashKey)
  for (let partition = 0; partition < partitions; partition++) {
    const task = await store.claim('shop', partition, 'owner', identity)
    const writes = createStepWrites()
    for (const [key, facts] of Object.entries(history)) {
      if (partitionOf(key) !== partition) continue
      const log = decodeLog(null, shop.layout)
      facts.forEach(({ stream, event }, offset) => {
        const row = createFactRow(shop.layout)
        writeFactRow(stream, event, orderOf(stream, partition, offset), row)
        insertFact(log, row)
      })
      takeWrite(log, key, writes)
    }
    await task.apply({ from: null, to: JSON.stringify({ time: reached, order: reachedOrder }), writes })
  }
  const frontierOf = (position: string) => JSON.parse(position)
  return {
    store,
    reader: createFeatureReader({ plan, store, partitions, partitionOf, hashKey: fixedHashKey, frontierOf }),
  }
}
