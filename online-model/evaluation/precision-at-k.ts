/**
 * Scored events of entities and days in, the precision of each day's k most suspicious entities out: what a team that can investigate k
 * entities a day would find. With cards it is the Fraud Detection Handbook's card precision. Called by the evaluation and the backtest.
 */
import assert from 'node:assert/strict'

export interface EntityRows {
  /** One of 0 and 1 for each row. */
  readonly labels: ArrayLike<number>
  readonly scores: ArrayLike<number>
  /** Code of each row's entity; of equal scores the lower code comes first. */
  readonly keys: ArrayLike<number>
  /** Day of each row, in days since 1970. */
  readonly days: ArrayLike<number>
}

export interface PrecisionAtK {
  /** Mean over the days that have rows; NaN without rows. */
  readonly mean: number
  readonly days: ReadonlyArray<DayPrecision>
}

export interface DayPrecision {
  readonly day: number
  readonly precision: number
  /** Entities with a positive on that day that were not found on an earlier one. */
  readonly positives: number
}

interface EntityOfDay {
  readonly key: number
  score: number
  /** Of the row that gave the score. */
  weight: number
  isPositive: boolean
}

/**
 * On each day an entity has its highest score and counts as positive where any of its events of that day is; the k highest are
 * investigated, and those found are left out on later days. The divisor is k, also on a day with fewer entities. With weights (negatives
 * that represent several) an entity takes as many of the k slots as its highest row weighs.
 */
export function precisionAtK(
  rows: EntityRows,
  k: number,
  options: { readonly rows?: Uint32Array; readonly weights?: ArrayLike<number> | null } = {},
): PrecisionAtK {
  assert(Number.isInteger(k) && k > 0, `k is ${k}, expected at least 1`)
  const found = new Set<number>()
  const days = byDay(rows, options).map(([day, entities]): DayPrecision => {
    const open = [...entities.values()].filter(({ key }) => !found.has(key))
    const positives = open.reduce((sum, { isPositive, weight }) => sum + (isPositive ? weight : 0), 0)
    open.sort((a, b) => b.score - a.score || a.key - b.key)
    let remaining = k
    let hits = 0
    for (const { key, weight, isPositive } of open) {
      if (remaining <= 0) break
      if (isPositive) {
        hits += Math.min(weight, remaining)
        found.add(key)
      }
      remaining -= weight
    }
    return { day, precision: hits / k, positives }
  })
  return { mean: days.reduce((sum, { precision }) => sum + precision, 0) / days.length, days }
}

/** Days in their order, each with its entities by key. */
function byDay(
  { labels, scores, keys, days }: EntityRows,
  { rows, weights = null }: { readonly rows?: Uint32Array; readonly weights?: ArrayLike<number> | null },
): Array<[number, Map<number, EntityOfDay>]> {
  const result = new Map<number, Map<number, EntityOfDay>>()
  const count = rows?.length ?? labels.length
  let day = Number.NaN
  let entities = new Map<number, EntityOfDay>()
  for (let at = 0; at < count; at++) {
    const row = rows ? rows[at]! : at
    if (days[row] !== day) {
      day = days[row]!
      entities = result.get(day) ?? new Map()
      result.set(day, entities)
    }
    const [key, score, isPositive] = [keys[row]!, scores[row]!, labels[row] === 1]
    const weight = weights ? weights[row]! : 1
    const entity = entities.get(key)
    if (entity === undefined) {
      entities.set(key, { key, score, weight, isPositive })
      continue
    }
    entity.isPositive ||= isPositive
    if (score > entity.score) {
      entity.score = score
      entity.weight = weight
    }
  }
  return [...result].sort(([a], [b]) => a - b)
}
