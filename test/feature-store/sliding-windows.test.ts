/**
 * Windows that slide against the scan of the same facts: whatever comes in whatever order, late, taken back or dropped, every slot has the
 * same bits.
 *
 * More of it: SLIDING_ROUNDS=200000 npx vitest run --project unit test/feature-store/sliding-windows.test.ts
 * A failure names its seed: SLIDING_SEED=… SLIDING_ROUNDS=1 repeats it.
 */
import { expect, test } from 'vitest'
import { bytesOfMaxima } from '../../feature-store/aggregates/block-maxima.ts'
import { compileRead, compileSlidingRead } from '../../feature-store/aggregates/read-slots.ts'
import {
  dropBefore,
  type EntityLog,
  findFact,
  insertFact,
  liveRows,
  removeLastInserted,
} from '../../feature-store/entity-log.ts'
import { type FactRow, idWord } from '../../feature-store/fact-row.ts'
import { createStepWrites, emptyWrites } from '../../feature-store/step-writes.ts'
import { decodeLog, encodeLiveRows, takeWrite } from '../../feature-store/stored-log.ts'
import { type CanonicalPosition, orderOf, streamOfOrder } from '../../schemas/kernel/canonical-order.ts'
import type { AggregateSlot, EntityPlan } from '../../schemas/plan/plan.ts'
import { createRandom, type Random } from '../../testing/random.ts'
import { factRow, idOf } from '../support/fact-rows.ts'
import { drawn } from '../support/nightly.ts'
import { applyTo, logIn } from '../support/stored-logs.ts'

/** Of a ranking: 35 bytes a block of 64 facts; half of the blocks may be room when they are formed, and room is a power of two. */
const maximaBytesPerFact = (4 * 35) / 64
const rounds = Number(process.env.SLIDING_ROUNDS ?? drawn({ always: 2_000, nightly: 30_000 }))
const firstSeed = Number(process.env.SLIDING_SEED ?? 1)

const [centsColumn, ratioColumn] = [5, 6]
const streams = 3
const kinds = ['count', 'sum', 'mean', 'min', 'max', 'min', 'max'] as const

/** Stream 1 counts at another time than its own. */
function drawEntity(random: Random, isKnown: boolean): EntityPlan {
  const slots = Array.from({ length: 1 + random.below(7) }, (_, index): AggregateSlot => {
    const kind = random.pick(kinds)
    const column = kind === 'count' ? null : random.pick([centsColumn, ratioColumn])
    const stream = random.below(streams)
    const rest = { stage: 0, name: `slot_${index}`, decimals: column === centsColumn ? 2 : null }
    return { ...rest, index, kind, stream, column, overMs: 1 + random.below(60), lagMs: random.pick([0, 0, 7, 25]) }
  })
  const sources = Array.from({ length: streams }, (_, stream) => ({ stream, atField: 'at', values: [] }))
  const layout = { width: 7, knownColumn: isKnown ? 4 : null, sources }
  return { name: 'shop', keyFields: new Map(), layout, slots, retentionMs: 100 }
}

/** Extremes that leave one after the other, many facts with the same one, zeros of both signs, or anything. */
const manners = ['falling', 'rising', 'alike', 'any'] as const

function drawNumber({ random, now, manner }: Round): number {
  const isFaithful = random.below(20) > 0
  if (manner === 'falling' && isFaithful) return 1_000 - now * 10 - random.below(10)
  if (manner === 'rising' && isFaithful) return now * 10 + random.below(10) - 1_000
  if (manner === 'alike' && isFaithful) return random.pick([0, -0, 0, -0, 1, -1, Number.NaN])
  switch (random.below(12)) {
    case 0:
      return Number.NaN
    case 1:
      return random.pick([0, 2 ** 60, -(2 ** 70), 2 ** 1001, -(2 ** 1010), 1e16, -1e16, 2 ** 53 - 1, 5e-324, 1e300])
    case 2:
    case 3:
    case 4:
      return random.pick([0.1, 0.2, 0.3, -0.1]) * (1 + random.below(9))
    default:
      return random.below(20_000) - 10_000
  }
}

interface Played {
  /** Reads of windows that were moved, and logs that had rows aside. */
  readonly slid: number
  readonly late: number
  /** 1 where an extreme was looked for among so many facts that blocks were formed. */
  readonly blocks: number
  readonly problem: string | null
}

interface Round {
  readonly random: Random
  readonly entity: EntityPlan
  readonly log: EntityLog
  readonly isLumpy: boolean
  readonly manner: (typeof manners)[number]
  readonly stored: Map<string, Buffer>
  /** Streams by the id of their facts. */
  readonly ids: number[]
  now: number
  offset: number
  floor: number
}

/** One fact: in order, at an instant that others share, late, or that counts long before it is known. */
function insertOne(round: Round): CanonicalPosition & { readonly row: FactRow } {
  const { random, log, entity } = round
  const stream = random.below(streams)
  const order = orderOf(stream, random.below(2), round.offset++)
  const known = random.below(8) === 0 ? round.now - random.below(50) : round.now
  const isElsewhere = entity.layout.knownColumn !== null && stream === 1
  const time = Math.max(round.floor, isElsewhere ? known + 5 - random.below(60) : known)
  round.ids[round.offset] = stream
  const row = factRow(time, order, round.offset, known, drawNumber(round), drawNumber(round))
  insertFact(log, row)
  return { time: isElsewhere ? known : time, order, row }
}

function play(seed: number): Played {
  const random = createRandom(seed)
  const entity = drawEntity(random, random.below(2) === 0)
  const log = decodeLog(null, entity.layout)
  const round: Round = {
    random,
    entity,
    log,
    isLumpy: random.below(3) === 0,
    manner: random.pick(manners),
    ids: [],
    stored: new Map(),
    now: 0,
    offset: 0,
    floor: 0,
  }
  const slide = compileSlidingRead(entity, random.below(12))
  const scan = compileRead(entity)
  const [found, expected] = [new Float64Array(entity.slots.length), new Float64Array(entity.slots.length)]
  let [slid, late] = [0, 0]
  const played = (problem: string | null): Played => {
    const blocks = log.windows?.maxima?.some(({ count }) => count > 0) ? 1 : 0
    return { slid, late, blocks, problem }
  }
  const steps = 20 + random.below(random.below(10) === 0 ? 900 : 120)
  // So many that a late fact lies far from the end, and an extreme is looked for among many.
  const before = random.below(5) === 0 ? random.pick([400, 900, 900, 2_000]) : 0
  const isDense = random.below(2) === 0
  for (let left = before; left > 0; left--) {
    round.now += left % (isDense ? 60 : 20) === 0 ? 1 : 0
    insertOne(round)
  }
  write(round)
  for (let step = 0; step < steps; step++) {
    const pause = random.below(20) === 0 ? (before > 0 ? 20 : 90) : 6
    if (random.below(round.isLumpy || before > 0 ? 5 : 2) === 0) round.now += random.below(pause)
    const at = insertOne(round)
    const hasUndo = random.below(15) === 0
    const read = random.below(6) === 0 ? pastPlace(round) : at
    slide(log, read, found)
    // The scan merges the rows aside; it reads another log where there are some, so that they stay.
    scan((log.aside?.count ?? 0) > 0 ? copyOf(log, entity) : log, read, expected)
    if (log.windows !== null) slid++
    if ((log.aside?.count ?? 0) > 0) late = 1
    for (const [index, slot] of entity.slots.entries()) {
      if (Object.is(found[index], expected[index])) continue
      return played(`step ${step}, ${JSON.stringify(slot)}: ${found[index]}, expected ${expected[index]}`)
    }
    const problem = idProblem(round)
    if (problem !== null) return played(`step ${step}: ${problem}`)
    if (hasUndo) removeLastInserted(log, at.row)
    if (random.below(10) === 0) round.floor = Math.max(round.floor, round.now - 30 - random.below(100))
    if (random.below(4) === 0) dropBefore(log, round.floor)
    if (random.below(12) === 0) write(round)
  }
  write(round)
  const reloaded = decodeLog(logIn(round.stored, 'k'), entity.layout)
  dropBefore(reloaded, round.floor)
  dropBefore(log, round.floor)
  if (log.ids !== null && log.ids.used !== liveRows(log)) return played('the index has other ids')
  const isStored = encodeLiveRows(reloaded).equals(encodeLiveRows(log))
  return played(isStored ? null : 'what is stored are other facts')
}

/** Also what lies aside. */
function write({ log, stored }: Round): void {
  const writes = createStepWrites()
  takeWrite(log, 'k', writes)
  applyTo(stored, writes)
}

/** Not in every step: to find a fact merges the rows aside. */
function idProblem({ random, log, ids, offset, now }: Round): string | null {
  for (let left = random.below(4) === 0 ? 12 : 0; left > 0; left--) {
    const id = random.below(offset + 2)
    const since = now - random.below(120)
    const expected = idScanned(log, ids[id] ?? 0, id, since)
    const found = idFound(log, ids[id] ?? 0, id, since)
    if (found !== expected) return `id ${id} since ${since}: ${found}, expected ${expected}`
  }
  return null
}

/** Time and order of the fact of an id; null where there is none. */
function idFound(log: EntityLog, stream: number, id: number, since: number): string | null {
  const at = findFact(log, stream, idOf(id), since)
  return at === -1 ? null : `${log.rows[at]} ${log.rows[at + 1]}`
}

function idScanned(log: EntityLog, stream: number, id: number, since: number): string | null {
  let found: string | null = null
  const look = ({ rows, words }: { rows: Float64Array; words: Int32Array }, from: number, to: number) => {
    for (let row = from; row < to; row++) {
      const at = row * log.width
      const isIt = words[2 * at + idWord] === id && rows[at]! >= since && streamOfOrder(rows[at + 1]!) === stream
      if (isIt) found = `${rows[at]} ${rows[at + 1]}`
    }
  }
  look(log, log.start, log.end)
  if (log.aside) look(log.aside, 0, log.aside.count)
  return found
}

function pastPlace({ random, now }: Round): CanonicalPosition {
  const order = random.pick([
    Number.POSITIVE_INFINITY,
    orderOf(random.below(streams), random.below(2), random.below(500)),
  ])
  return { time: now - random.below(80), order }
}

/** The same rows, nothing else. */
function copyOf({ rows, start, end, aside }: EntityLog, { layout }: EntityPlan): EntityLog {
  const kept = aside === null ? null : { ...aside, ...copyRows(aside.rows) }
  return { ...decodeLog(null, layout), ...copyRows(rows), start, end, aside: kept }
}

function copyRows(rows: Float64Array) {
  const copied = rows.slice()
  return { rows: copied, words: new Int32Array(copied.buffer) }
}

test(`${rounds} random logs: windows that slide have the bits of the scan`, { timeout: 3_600_000 }, () => {
  let [slid, late, blocks] = [0, 0, 0]
  for (let seed = firstSeed; seed < firstSeed + rounds; seed++) {
    const played = play(seed)
    if (played.problem !== null) expect.fail(`seed ${seed}: ${played.problem}`)
    slid += played.slid
    late += played.late
    blocks += played.blocks
  }
  if (rounds <= 100) return
  expect(slid / rounds).toBeGreaterThan(20)
  expect(late / rounds).toBeGreaterThan(0.02)
  expect(blocks / rounds).toBeGreaterThan(0.05)
})

/**
 * Cells of rows that are read, of a log whose largest fact leaves its windows with every event. A scan would read two million an event and
 * slot. What it takes to form blocks behind a late fact is part of it.
 */
test('the extremes of a million facts are found by a few reads, late facts or not', { timeout: 120_000 }, () => {
  const facts = 1_000_000
  const slots = (['min', 'max'] as const).flatMap((kind) =>
    [facts, 10_000].map((overMs) => ({
      kind,
      overMs,
      name: kind,
      column: 4,
      decimals: null,
      ...{ stage: 0, stream: 0 },
    })),
  )
  const layout = { width: 5, knownColumn: null, sources: [{ stream: 0, atField: 'at', values: [] }] }
  const entity: EntityPlan = {
    name: 'shop',
    keyFields: new Map(),
    layout,
    slots: slots.map((slot, index) => ({ ...slot, index, lagMs: 0 })),
    retentionMs: facts,
  }
  const log = decodeLog(null, layout)
  const [slide, scan] = [compileSlidingRead(entity), compileRead(entity)]
  const [found, expected] = [new Float64Array(slots.length), new Float64Array(slots.length)]
  const writes = createStepWrites()
  const row = factRow(0, 0, 0, 0)
  let order = 0
  const insert = (time: number) => {
    row.cells.set([time, ++order], 0)
    // Rises and falls by turns: the smallest and the largest both are the oldest facts.
    row.cells[4] = (order % 2 === 0 ? 1 : -1) * (3 * facts - order)
    insertFact(log, row)
  }
  for (let time = 0; time < facts; time++) insert(time)
  slide(log, { time: facts, order }, found)
  const bytes = bytesOfMaxima(log.windows?.maxima ?? [])
  expect(bytes).toBeGreaterThan(0)
  expect(bytes).toBeLessThanOrEqual(2 * maximaBytesPerFact * facts)
  const reads = { count: 0 }
  let now = facts
  const measured = (events: number, lateEvery: number): number => {
    reads.count = 0
    for (let event = 1; event <= events; event++) {
      const time = ++now
      dropBefore(log, time - facts)
      if (event % lateEvery === 0) insert(time - 200_000)
      insert(time)
      const { rows } = log
      log.rows = counting(rows, reads)
      slide(log, { time, order }, found)
      log.rows = rows
      if (event % 500 !== 0) continue
      emptyWrites(writes)
      takeWrite(log, 'k', writes)
      scan(log, { time, order }, expected)
      expect([...found]).toEqual([...expected])
    }
    return reads.count / events
  }
  expect(measured(2_000, Number.POSITIVE_INFINITY)).toBeLessThan(1_000)
  expect(measured(2_000, 3)).toBeLessThan(1_000)
})

/** The same cells; each that is read is counted. */
function counting(rows: Float64Array, reads: { count: number }): Float64Array {
  return new Proxy(rows, {
    get(target, key) {
      reads.count++
      return Reflect.get(target, key)
    },
  })
}

/** What was refused as `entity_full`, and would have cost a scan of a million rows an event. */
test('a million facts of 30 days have the sums of the scan', { timeout: 60_000 }, () => {
  const dayMs = 86_400_000
  const slots = (['count', 'sum', 'mean'] as const).flatMap((kind) =>
    [1, 30].map((days): Omit<AggregateSlot, 'index'> => {
      const [column, decimals] = kind === 'count' ? [null, null] : [4, 2]
      return { stage: 0, name: kind, kind, stream: 0, column, decimals, overMs: days * dayMs, lagMs: 0 }
    }),
  )
  const layout = { width: 5, knownColumn: null, sources: [{ stream: 0, atField: 'at', values: [] }] }
  const entity = {
    name: 'shop',
    keyFields: new Map(),
    layout,
    slots: slots.map((slot, index) => ({ ...slot, index })),
    retentionMs: 31 * dayMs,
  }
  const log = decodeLog(null, layout)
  const slide = compileSlidingRead(entity)
  const found = new Float64Array(slots.length)
  const writes = createStepWrites()
  const stepMs = 2_592
  const row = factRow(0, 0, 0, 0)
  for (let number = 0; number < 1_050_000; number++) {
    row.cells.set([number * stepMs, number], 0)
    row.words.set([number, Math.imul(number, 0x9e3779b1)], idWord)
    row.cells[4] = number % 1_000
    dropBefore(log, number * stepMs - entity.retentionMs)
    if (!insertFact(log, row)) expect.fail(`the log is full at ${number}`)
    slide(log, { time: number * stepMs, order: number }, found)
    if (number % 10_000 === 0) {
      emptyWrites(writes)
      takeWrite(log, 'k', writes)
    }
  }
  const expected = new Float64Array(slots.length)
  compileRead(entity)(log, { time: row.cells[0]!, order: row.cells[1]! }, expected)
  expect([...found]).toEqual([...expected])
  expect(found[1]).toBe(1_000_000)
})
