/**
 * A seed in, a table of simulated card transactions and its stream of events out: the example pipeline's producers
 * and benchmarks call it. Seed 0 gives the 1,754,155 rows that the Fraud Detection Handbook (Le Borgne et al., ULB
 * 2022) publishes, exactly and without a download. Every transaction has a time, a customer, a terminal and an
 * amount; 14,681 are frauds of one of three scenarios.
 */
import assert from 'node:assert/strict'
import { PipelineError } from '../schemas/kernel/errors.ts'
import { createNumpyRandom, createPythonRandom } from './mersenne-twister.ts'

/** 2018-04-01T00:00:00Z, the instant of second 0, in ms since 1970. */
export const handbookStartMs = Date.UTC(2018, 3, 1)

const customersTotal = 5_000
const terminalsTotal = 10_000
const daysTotal = 183
const daySeconds = 86_400
const dayMs = 86_400_000
/** Customers use terminals nearer than this, on a square of 100 by 100. */
const reachRadius = 5
/**
 * Twice the rows of an ordinary instance. Row numbers below it and seconds (24 bits) fit together in one exact
 * double.
 */
const rowsMax = 2 ** 22
/** More than the seeds that one instance uses, so that no two instances have a generator in common. */
const seedStride = 8_192
const seedMax = 2 ** 32 / seedStride - 1
/** The first seed that the published instance does not use. */
const chargebackSeed = customersTotal

/**
 * One entry per transaction and column, by second, then customer, then order of generation. It is not written to once
 * it is returned.
 */
export interface HandbookTable {
  readonly seed: number
  readonly rows: number
  /** Seconds since `handbookStartMs`, 1 … 15,811,199. */
  readonly second: Int32Array
  /** 0 … 4,999. */
  readonly customer: Uint16Array
  /** 0 … 9,999. */
  readonly terminal: Uint16Array
  readonly amountCents: Int32Array
  /** 1 for a fraud, else 0. */
  readonly fraud: Uint8Array
  /** 0 for no fraud; 1 a conspicuous amount, 2 a compromised terminal, 3 a customer whose card was copied. */
  readonly scenario: Uint8Array
}

/** A type rather than an interface, so that `values` passes wherever a plain record of field values is expected. */
export type HandbookEvent =
  | {
      readonly stream: 'transactions'
      readonly values: {
        readonly txId: string
        readonly customerId: string
        readonly terminalId: string
        /** Two decimals. */
        readonly amount: number
        /** Ms since 1970. */
        readonly at: number
      }
    }
  | {
      readonly stream: 'chargebacks'
      readonly values: {
        readonly txId: string
        readonly customerId: string
        readonly terminalId: string
        /** Ms since 1970. */
        readonly txAt: number
        /** Ms since 1970, the event's own time: at least 1 day and less than 7 days after `txAt`. */
        readonly reportedAt: number
      }
    }

/** Bounds on event time; fractions of a second count to the ms. */
export interface HandbookSpan {
  /** Seconds since `handbookStartMs`, inclusive; from the beginning unless given. */
  readonly fromSecond?: number
  /**
   * Seconds since `handbookStartMs`, exclusive; to the last event unless given. Chargebacks continue for 7 days after
   * the last transaction.
   */
  readonly untilSecond?: number
}

/**
 * Generates the whole table, in two to three seconds. Seed 0 is the published instance; any other draws an
 * independent instance of the same process, in which every generator of the recipe is seeded with its own seed +
 * 8,192 · `seed`. Throws `usage` for a seed that is no integer in 0 … 524,287. `onProgress` is called a hundred times
 * on the way.
 */
export function generateHandbook(
  options: {
    readonly seed?: number
    readonly onProgress?: (customersDone: number, customersTotal: number) => void
  } = {},
): HandbookTable {
  const seed = options.seed ?? 0
  if (!Number.isInteger(seed) || seed < 0 || seed > seedMax) {
    throw new PipelineError('usage', `handbook: the seed must be an integer from 0 to ${seedMax}, but is ${seed}`)
  }
  const seedOffset = seed * seedStride
  const table = inOrder(seed, drawTransactions(seedOffset, options.onProgress))
  markLargeAmounts(table)
  markTerminals(table, seedOffset)
  markCustomers(table, seedOffset)
  return table
}

/**
 * The events of the example in event time: transactions before chargebacks of the same ms, then in the order of the
 * table's rows.
 */
export function* handbookEvents(table: HandbookTable, span: HandbookSpan = {}): Generator<HandbookEvent, void, void> {
  for (const chunk of handbookEventChunks(table, { ...span, chunkEventsMax: 1_024 })) {
    for (const event of chunk) yield event
  }
}

/**
 * The same events as `handbookEvents`, in arrays of `chunkEventsMax` (the last is shorter, none is empty). A chunk is
 * the caller's to keep.
 */
export function* handbookEventChunks(
  table: HandbookTable,
  options: HandbookSpan & { readonly chunkEventsMax: number },
): Generator<HandbookEvent[], void, void> {
  const { fromSecond = 0, untilSecond = Number.POSITIVE_INFINITY, chunkEventsMax } = options
  assert(
    Number.isInteger(chunkEventsMax) && chunkEventsMax > 0,
    `chunkEventsMax must be positive, not ${chunkEventsMax}`,
  )
  const chargebacks = chargebacksInOrder(table)
  const customerIds = Array.from({ length: customersTotal }, (_, customer) => String(customer))
  const terminalIds = Array.from({ length: terminalsTotal }, (_, terminal) => String(terminal))
  const timeOf = (row: number) => handbookStartMs + table.second[row]! * 1_000

  function transaction(row: number): HandbookEvent {
    const values = {
      txId: String(row),
      customerId: customerIds[table.customer[row]!]!,
      terminalId: terminalIds[table.terminal[row]!]!,
      amount: table.amountCents[row]! / 100,
      at: timeOf(row),
    }
    return { stream: 'transactions', values }
  }

  function chargeback(next: number): HandbookEvent {
    const row = chargebacks.row[next]!
    const values = {
      txId: String(row),
      customerId: customerIds[table.customer[row]!]!,
      terminalId: terminalIds[table.terminal[row]!]!,
      txAt: timeOf(row),
      reportedAt: chargebacks.reportedAtMs[next]!,
    }
    return { stream: 'chargebacks', values }
  }

  let row = lowerBound(table.second, fromSecond)
  const rowEnd = lowerBound(table.second, untilSecond)
  let next = lowerBound(chargebacks.reportedAtMs, handbookStartMs + Math.round(fromSecond * 1_000))
  const end = lowerBound(chargebacks.reportedAtMs, handbookStartMs + Math.round(untilSecond * 1_000))
  let chunk: HandbookEvent[] = []
  while (row < rowEnd || next < end) {
    const isTransaction = next >= end || (row < rowEnd && timeOf(row) <= chargebacks.reportedAtMs[next]!)
    chunk.push(isTransaction ? transaction(row++) : chargeback(next++))
    if (chunk.length === chunkEventsMax) {
      yield chunk
      chunk = []
    }
  }
  if (chunk.length > 0) yield chunk
}

interface Draws {
  readonly rows: number
  readonly second: Int32Array
  readonly customer: Uint16Array
  readonly terminal: Uint16Array
  readonly amountCents: Int32Array
}

/** All transactions in order of generation: customer by customer, day by day. */
function drawTransactions(
  seedOffset: number,
  onProgress: ((customersDone: number, customersTotal: number) => void) | undefined,
): Draws {
  const second = new Int32Array(rowsMax)
  const customer = new Uint16Array(rowsMax)
  const terminal = new Uint16Array(rowsMax)
  const amountCents = new Int32Array(rowsMax)
  let rows = 0

  const profiles = createNumpyRandom(seedOffset)
  const terminals = drawTerminals(seedOffset + 1)
  const reach = new Int32Array(terminalsTotal)
  for (let one = 0; one < customersTotal; one++) {
    const x = profiles.uniform(0, 100)
    const y = profiles.uniform(0, 100)
    const mean = profiles.uniform(5, 100)
    const perDay = profiles.uniform(0, 4)
    const reached = terminalsNear(x, y, terminals, reach)
    const amounts = createNumpyRandom(seedOffset + one)
    const choices = createPythonRandom(seedOffset + one)
    for (let day = 0; day < daysTotal && reached > 0; day++) {
      for (let left = amounts.poisson(perDay); left > 0; left--) {
        const secondOfDay = Math.trunc(amounts.normal(43_200, 20_000))
        if (secondOfDay <= 0 || secondOfDay >= daySeconds) continue
        let amount = amounts.normal(mean, mean / 2)
        if (amount < 0) amount = amounts.uniform(0, 2 * mean)
        assert(rows < rowsMax, 'no instance has that many rows')
        second[rows] = day * daySeconds + secondOfDay
        customer[rows] = one
        terminal[rows] = reach[choices.below(reached)]!
        amountCents[rows] = roundHalfToEven(amount * 100)
        rows++
      }
    }
    if ((one + 1) % (customersTotal / 100) === 0) onProgress?.(one + 1, customersTotal)
  }
  return { rows, second, customer, terminal, amountCents }
}

interface Coordinates {
  readonly x: Float64Array
  readonly y: Float64Array
}

function drawTerminals(seed: number): Coordinates {
  const random = createNumpyRandom(seed)
  const x = new Float64Array(terminalsTotal)
  const y = new Float64Array(terminalsTotal)
  for (let terminal = 0; terminal < terminalsTotal; terminal++) {
    x[terminal] = random.uniform(0, 100)
    y[terminal] = random.uniform(0, 100)
  }
  return { x, y }
}

/** Writes the terminals within the radius to the front of `reach`, by number; returns how many there are. */
function terminalsNear(x: number, y: number, terminals: Coordinates, reach: Int32Array): number {
  let reached = 0
  for (let terminal = 0; terminal < terminalsTotal; terminal++) {
    const dx = x - terminals.x[terminal]!
    if (dx >= reachRadius || dx <= -reachRadius) continue
    const dy = y - terminals.y[terminal]!
    if (Math.sqrt(dx * dx + dy * dy) < reachRadius) reach[reached++] = terminal
  }
  return reached
}

/** As NumPy rounds; for numbers that are not negative. */
function roundHalfToEven(value: number): number {
  const floor = Math.floor(value)
  const rest = value - floor
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor
}

/**
 * Order of generation already has customers in order, so that sorting by (second, index within it) gives the order of the
 * table.
 */
function inOrder(seed: number, draws: Draws): HandbookTable {
  const { rows } = draws
  const sorted = new Float64Array(rows)
  for (let drawn = 0; drawn < rows; drawn++) sorted[drawn] = draws.second[drawn]! * rowsMax + drawn
  sorted.sort()
  const table: HandbookTable = {
    seed,
    rows,
    second: new Int32Array(rows),
    customer: new Uint16Array(rows),
    terminal: new Uint16Array(rows),
    amountCents: new Int32Array(rows),
    fraud: new Uint8Array(rows),
    scenario: new Uint8Array(rows),
  }
  for (let row = 0; row < rows; row++) {
    const drawn = sorted[row]! % rowsMax
    table.second[row] = draws.second[drawn]!
    table.customer[row] = draws.customer[drawn]!
    table.terminal[row] = draws.terminal[drawn]!
    table.amountCents[row] = draws.amountCents[drawn]!
  }
  return table
}

function mark(table: HandbookTable, row: number, scenario: number): void {
  table.fraud[row] = 1
  table.scenario[row] = scenario
}

/** Scenario 1: more than 220. */
function markLargeAmounts(table: HandbookTable): void {
  for (let row = 0; row < table.rows; row++) {
    if (table.amountCents[row]! > 22_000) mark(table, row, 1)
  }
}

/** Scenario 2: each day two terminals are compromised, and everything on them is fraud for 28 days. */
function markTerminals(table: HandbookTable, seedOffset: number): void {
  const compromised = new Uint8Array(terminalsTotal * daysTotal)
  for (let day = 0; day < daysTotal - 1; day++) {
    for (const terminal of createNumpyRandom(seedOffset + day)
      .permutation(terminalsTotal)
      .subarray(0, 2)) {
      const first = terminal * daysTotal
      compromised.fill(1, first + day, first + Math.min(day + 28, daysTotal))
    }
  }
  for (let row = 0; row < table.rows; row++) {
    const day = Math.floor(table.second[row]! / daySeconds)
    if (compromised[table.terminal[row]! * daysTotal + day] === 1) mark(table, row, 2)
  }
}

/**
 * Scenario 3: each day three customers' cards are copied, and a third of what they do in 14 days is fraud at five
 * times the amount.
 */
function markCustomers(table: HandbookTable, seedOffset: number): void {
  const rowsOf: number[][] = Array.from({ length: customersTotal }, () => [])
  for (let row = 0; row < table.rows; row++) rowsOf[table.customer[row]!]!.push(row)
  for (let day = 0; day < daysTotal - 1; day++) {
    const customers = createNumpyRandom(seedOffset + day)
      .permutation(customersTotal)
      .subarray(0, 3)
    const rowBegin = lowerBound(table.second, day * daySeconds)
    const rowEnd = lowerBound(table.second, (day + 14) * daySeconds)
    const exposed = Array.from(customers, (customer) =>
      rowsOf[customer]!.filter((row) => row >= rowBegin && row < rowEnd),
    )
      .flat()
      .sort((a, b) => a - b)
    // One row can be drawn on several days, and its amount multiplies each time.
    for (const next of createPythonRandom(seedOffset + day).sample(exposed.length, Math.floor(exposed.length / 3))) {
      const row = exposed[next]!
      table.amountCents[row]! *= 5
      mark(table, row, 3)
    }
  }
}

/**
 * One chargeback for each fraud, by time of report, then row. The delay is ours, not the Handbook's: in row order,
 * each fraud takes one `double()` of the NumPy generator with seed 5,000 + 8,192 · the table's seed, and is reported
 * 1 day + ⌊double · 6 days⌋ ms later.
 */
function chargebacksInOrder(table: HandbookTable): { readonly row: Int32Array; readonly reportedAtMs: Float64Array } {
  const random = createNumpyRandom(chargebackSeed + table.seed * seedStride)
  const rows: number[] = []
  const reportedAtMs: number[] = []
  for (let row = 0; row < table.rows; row++) {
    if (table.fraud[row] === 0) continue
    rows.push(row)
    reportedAtMs.push(handbookStartMs + table.second[row]! * 1_000 + dayMs + Math.floor(random.double() * 6 * dayMs))
  }
  const order = Int32Array.from(rows.keys()).sort((a, b) => reportedAtMs[a]! - reportedAtMs[b]! || a - b)
  return {
    row: order.map((fraud) => rows[fraud]!),
    reportedAtMs: Float64Array.from(order, (fraud) => reportedAtMs[fraud]!),
  }
}

/** The first index in an ascending column whose value is at least `bound`. */
function lowerBound(column: ArrayLike<number>, bound: number): number {
  let low = 0
  let high = column.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (column[middle]! < bound) low = middle + 1
    else high = middle
  }
  return low
}
