import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compileRead, reachesBefore } from '../../feature-store/aggregates/read-slots.ts'
import { type EntityLog, findFact, insertFact } from '../../feature-store/entity-log.ts'
import { decodeLog } from '../../feature-store/stored-log.ts'
import { bigSum } from '../../processors/audit/big-sum.ts'
import type { AggregateKind } from '../../schemas/definition/aggregates.ts'
import type { CanonicalPosition } from '../../schemas/kernel/canonical-order.ts'
import { compareCanonical, orderOf } from '../../schemas/kernel/canonical-order.ts'
import type { AggregateSlot, EntityPlan } from '../../schemas/plan/plan.ts'
import { factRow, idOf } from '../support/fact-rows.ts'
import { drawn } from '../support/nightly.ts'

const knownColumn = 4
const centsColumn = 5
const ratioColumn = 6
const width = 7

type SlotSpec = Pick<AggregateSlot, 'kind' | 'stream' | 'column' | 'overMs' | 'lagMs'>

function entityOf(specs: readonly SlotSpec[], options: { known?: boolean; streams?: number } = {}): EntityPlan {
  const { known = true, streams = 3 } = options
  return {
    name: 'shop',
    keyFields: new Map(),
    layout: {
      width,
      knownColumn: known ? knownColumn : null,
      sources: Array.from({ length: streams }, (_, stream) => ({ stream, atField: 'at', values: [] })),
    },
    slots: specs.map((spec, index) => ({
      ...spec,
      index,
      name: `slot_${index}`,
      stage: 0,
      column: spec.kind === 'count' ? null : spec.column,
      decimals: spec.kind !== 'count' && spec.column === centsColumn ? 2 : null,
    })),
    retentionMs: 1_000,
  }
}

interface Fact {
  readonly stream: number
  readonly time: number
  readonly order: number
  readonly id: number
  readonly known: number
  /** Integer of hundredths, NaN where missing. */
  readonly cents: number
  readonly ratio: number
}

function logOf(facts: readonly Fact[]): EntityLog {
  const log = decodeLog(null, { width, knownColumn, sources: [] })
  for (const { stream, time, order, id, known, cents, ratio } of facts) {
    if (findFact(log, stream, idOf(id), Number.NEGATIVE_INFINITY) !== -1) continue
    expect(insertFact(log, factRow(time, order, id, known, cents, ratio))).toBe(true)
  }
  return log
}

/** The definition of a slot, read aloud. */
function slotOracle(facts: readonly Fact[], slot: AggregateSlot, at: CanonicalPosition, filtersKnown: boolean): number {
  const until = at.time - slot.lagMs
  const taken = facts
    .filter((fact) => fact.stream === slot.stream)
    .filter((fact) => fact.time > until - slot.overMs && fact.time <= until)
    .filter((fact) => slot.lagMs > 0 || compareCanonical(fact, at) <= 0)
    .filter((fact) => !filtersKnown || compareCanonical({ time: fact.known, order: fact.order }, at) <= 0)
  if (slot.kind === 'count') return taken.length
  const values = taken
    .map((fact) => (slot.column === centsColumn ? fact.cents : fact.ratio))
    .filter((value) => !Number.isNaN(value))
  const scale = slot.column === centsColumn ? 100 : 1
  if (slot.kind === 'sum') return bigSum(values) / scale
  if (values.length === 0) return Number.NaN
  if (slot.kind === 'mean') return bigSum(values) / (values.length * scale)
  return (slot.kind === 'min' ? Math.min(...values) : Math.max(...values)) / scale
}

function readAll(entity: EntityPlan, facts: readonly Fact[], at: CanonicalPosition, knowledge: 'now' | 'then') {
  const out = new Float64Array(entity.slots.length).fill(12345)
  compileRead(entity, { knowledge })(logOf(facts), at, out)
  return [...out]
}

const slotSpec: fc.Arbitrary<SlotSpec> = fc.record({
  kind: fc.constantFrom<AggregateKind>('count', 'sum', 'mean', 'min', 'max'),
  stream: fc.nat(2),
  column: fc.constantFrom(centsColumn, ratioColumn),
  overMs: fc.integer({ min: 1, max: 40 }),
  lagMs: fc.constantFrom(0, 0, 5, 13),
})

const factParts = fc.record({
  stream: fc.nat(2),
  partition: fc.nat(1),
  time: fc.nat(60),
  id: fc.nat(40),
  /** Stream 1 counts at another time than its own. */
  laterMs: fc.integer({ min: -5, max: 30 }),
  cents: fc.option(
    fc.oneof(fc.integer({ min: -10_000, max: 10_000 }), fc.maxSafeInteger(), fc.constantFrom(2 ** 60, -(2 ** 70))),
  ),
  ratio: fc.option(
    fc.oneof(
      fc.double({ min: -100, max: 100, noNaN: true }),
      fc.double({ min: -1e300, max: 1e300, noNaN: true }),
      fc.constantFrom(0.1, 0.2, 0.3, 1e16, -1e16),
    ),
  ),
})

const someFacts = fc.array(factParts, { maxLength: 60 }).map((parts) =>
  parts.map(
    ({ stream, partition, time, id, laterMs, cents, ratio }, offset): Fact => ({
      stream,
      time,
      order: orderOf(stream, partition, offset),
      id,
      known: stream === 1 ? time + laterMs : time,
      cents: (cents ?? Number.NaN) + 0,
      ratio: (ratio ?? Number.NaN) + 0,
    }),
  ),
)

function firstOfEachId(facts: readonly Fact[]): Fact[] {
  return facts.filter(
    (fact, index) => facts.findIndex(({ stream, id }) => stream === fact.stream && id === fact.id) === index,
  )
}

describe('read slots', () => {
  it('equals the definition bit for bit, in any order of arrival', () => {
    fc.assert(
      fc.property(
        fc.array(slotSpec, { minLength: 1, maxLength: 12 }),
        someFacts,
        fc.nat(70),
        fc.oneof(fc.nat(60), fc.constant(-1)),
        fc.constantFrom<'now' | 'then'>('now', 'then'),
        fc.gen(),
        (specs, arrived, time, atFact, knowledge, pick) => {
          const entity = entityOf(specs)
          const facts = firstOfEachId(arrived)
          const fact = facts[atFact]
          // Either at a fact, as for an event, or at an instant, as for a query.
          const at =
            fact === undefined ? { time, order: Number.POSITIVE_INFINITY } : { time: fact.known, order: fact.order }
          const expected = entity.slots.map((slot) => slotOracle(facts, slot, at, knowledge === 'then'))
          expect(readAll(entity, arrived, at, knowledge)).toEqual(expected)
          const shuffled = facts.toSorted(() => pick(fc.integer, { min: -1, max: 1 }))
          expect(readAll(entity, shuffled, at, knowledge)).toEqual(expected)
        },
      ),
      { numRuns: drawn({ always: 400, nightly: 1_500 }) },
    )
  })

  it('equals the definition where every fact counts at its own time and one stream is alone', () => {
    fc.assert(
      fc.property(fc.array(slotSpec, { minLength: 1, maxLength: 6 }), someFacts, fc.nat(70), (specs, arrived, time) => {
        const entity = entityOf(
          specs.map((spec) => ({ ...spec, stream: 0 })),
          { known: false, streams: 1 },
        )
        const facts = firstOfEachId(arrived).filter((fact) => fact.stream === 0)
        const at = { time, order: orderOf(0, 0, 30) }
        const expected = entity.slots.map((slot) => slotOracle(facts, slot, at, false))
        expect(readAll(entity, facts, at, 'then')).toEqual(expected)
      }),
      { numRuns: drawn({ always: 200, nightly: 500 }) },
    )
  })

  const sale = { stream: 0, id: 1, ratio: Number.NaN }

  it('opens a window after its beginning and closes it on its end', () => {
    const facts = [10, 11, 20, 21].map((time, id) => ({ ...sale, id, time, known: time, order: id, cents: 100 }))
    const entity = entityOf([
      { kind: 'count', stream: 0, column: null, overMs: 10, lagMs: 0 },
      { kind: 'count', stream: 0, column: null, overMs: 10, lagMs: 1 },
      { kind: 'sum', stream: 0, column: centsColumn, overMs: 11, lagMs: 0 },
    ])
    expect(readAll(entity, facts, { time: 20, order: 2 }, 'then')).toEqual([2, 2, 3])
    expect(readAll(entity, facts, { time: 20, order: 1 }, 'then')).toEqual([1, 2, 2])
  })

  it('answers an empty window: nothing counted, nothing summed, no mean', () => {
    const kinds = ['count', 'sum', 'mean', 'min', 'max'] as const
    for (const column of [centsColumn, ratioColumn]) {
      const entity = entityOf(kinds.map((kind) => ({ kind, stream: 0, column, overMs: 5, lagMs: 0 })))
      const none = [0, 0, Number.NaN, Number.NaN, Number.NaN]
      expect(readAll(entity, [], { time: 9, order: 0 }, 'then')).toEqual(none)
      const missing = { ...sale, time: 9, known: 9, order: 0, cents: Number.NaN }
      expect(readAll(entity, [missing], { time: 9, order: 0 }, 'then')).toEqual([1, ...none.slice(1)])
    }
  })

  it('divides whole cents once', () => {
    const facts = [10, 20].map((cents, id) => ({ ...sale, id, time: id, known: id, order: id, cents }))
    const entity = entityOf([
      { kind: 'sum', stream: 0, column: centsColumn, overMs: 9, lagMs: 0 },
      { kind: 'mean', stream: 0, column: centsColumn, overMs: 9, lagMs: 0 },
    ])
    expect(0.1 + 0.2).not.toBe(0.3)
    expect(readAll(entity, facts, { time: 5, order: 0 }, 'then')).toEqual([0.3, 0.15])
  })

  it('does not see what became known later, unless read with present knowledge', () => {
    const report = { stream: 1, id: 1, time: 10, order: orderOf(1, 0, 0), known: 50, cents: 1, ratio: 1 }
    const entity = entityOf([{ kind: 'count', stream: 1, column: null, overMs: 20, lagMs: 5 }])
    const scan = (time: number, knowledge: 'now' | 'then') =>
      readAll(entity, [report], { time, order: Number.POSITIVE_INFINITY }, knowledge)
    expect(scan(20, 'then')).toEqual([0])
    expect(scan(20, 'now')).toEqual([1])
    expect(
      readAll(
        entityOf([{ kind: 'count', stream: 1, column: null, overMs: 60, lagMs: 5 }]),
        [report],
        { time: 50, order: orderOf(0, 0, 0) },
        'then',
      ),
    ).toEqual([0])
    expect(
      readAll(
        entityOf([{ kind: 'count', stream: 1, column: null, overMs: 60, lagMs: 5 }]),
        [report],
        { time: 50, order: orderOf(1, 0, 0) },
        'then',
      ),
    ).toEqual([1])
  })

  it('reports a window that reaches before retention', () => {
    const [slot] = entityOf([{ kind: 'count', stream: 0, column: null, overMs: 30, lagMs: 10 }]).slots
    expect(reachesBefore(slot!, 140, 100)).toBe(false)
    expect(reachesBefore(slot!, 139, 100)).toBe(true)
  })
})
