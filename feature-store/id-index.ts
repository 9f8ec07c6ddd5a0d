/**
 * Which ids a large log may hold, and about when: the hash of an id goes in, the rough times of the facts that may be of it come out, in
 * constant time. Called by `entity-log.ts`, which looks at the rows of that time; small logs are scanned instead.
 *
 * Open addressing over one typed array, two words a slot: 32 bits of the id's hash (never 0) and the time in steps of about four seconds. A slot is
 * found by these bits alone, so that a removed entry can be closed up; the entries of facts that share them are alike.
 */

export interface IdIndex {
  /** A power of two of slots, at most half of them in use. */
  entries: Int32Array
  used: number
}

/** A step of time, and after how many of them the same numbers come again. */
export const stepMs = 4_096
export const stepsPeriodMs = 2 ** 32 * stepMs
const slotsMin = 256

export function createIdIndex(facts: number): IdIndex {
  let slots = slotsMin
  while (slots < 2 * facts) slots *= 2
  return { entries: new Int32Array(2 * slots), used: 0 }
}

/** `high`: upper half of the id's hash. */
export function addId(index: IdIndex, high: number, time: number): void {
  if (4 * (index.used + 1) > index.entries.length) grow(index)
  index.used++
  put(index.entries, high || 1, stepOf(time))
}

function put(entries: Int32Array, mark: number, step: number): void {
  const mask = entries.length - 1
  let at = (2 * mark) & mask
  while (entries[at] !== 0) at = (at + 2) & mask
  entries[at] = mark
  entries[at + 1] = step
}

export function removeId(index: IdIndex, high: number, time: number): void {
  const { entries } = index
  const mask = entries.length - 1
  const mark = high || 1
  const step = stepOf(time)
  let hole = (2 * mark) & mask
  while (entries[hole] !== mark || entries[hole + 1] !== step) {
    if (entries[hole] === 0) throw new Error('an id was not in the index')
    hole = (hole + 2) & mask
  }
  index.used--
  // What follows moves up, unless it lies at or behind where it would be looked for first.
  for (let at = (hole + 2) & mask; entries[at] !== 0; at = (at + 2) & mask) {
    const home = (2 * entries[at]!) & mask
    if (((at - home) & mask) < ((at - hole) & mask)) continue
    entries[hole] = entries[at]!
    entries[hole + 1] = entries[at + 1]!
    hole = at
  }
  entries[hole] = 0
}

/** The next entry that may be of this id, from `at` on, to be read with `stepAt`; −1 where there is no more. Begin with `firstEntry`. */
export function findEntry({ entries }: IdIndex, high: number, at: number): number {
  const mask = entries.length - 1
  const mark = high || 1
  for (let entry = at & mask; entries[entry] !== 0; entry = (entry + 2) & mask)
    if (entries[entry] === mark) return entry
  return -1
}

export function firstEntry({ entries }: IdIndex, high: number): number {
  return (2 * (high || 1)) & (entries.length - 1)
}

/**
 * When the step of an entry begins, ms: the last time that is not later than `newest`, since steps are known modulo 2^32 (557 years).
 * Earlier ones are `stepsPeriodMs` apart.
 */
export function stepTime({ entries }: IdIndex, entry: number, newest: number): number {
  const last = Math.floor(newest / stepMs)
  return (last - (((last | 0) - entries[entry + 1]!) >>> 0)) * stepMs
}

function stepOf(time: number): number {
  return Math.floor(time / stepMs) | 0
}

function grow(index: IdIndex): void {
  const { entries } = index
  const grown = new Int32Array(2 * entries.length)
  for (let at = 0; at < entries.length; at += 2) if (entries[at] !== 0) put(grown, entries[at]!, entries[at + 1]!)
  index.entries = grown
}
