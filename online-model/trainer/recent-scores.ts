/**
 * The newest mature rows, each with the score that was served and the learner's own score before it learnt from the row: what its versions
 * are evaluated on, since neither model had seen the labels. Bounded; filled by the continuous learning.
 */
export interface ScoredRows {
  readonly rowCount: number
  readonly labels: Uint8Array
  readonly times: Float64Array
  readonly weights: Float64Array
  /** As served, NaN where no model scored. */
  readonly served: Float64Array
  readonly candidate: Float64Array
  readonly keys: ReadonlyArray<string | null>
  readonly versions: ReadonlyArray<string | null>
}

export interface ScoredRow {
  readonly label: number
  readonly time: number
  readonly weight: number
  readonly served: number
  readonly candidate: number
  readonly key: string | null
  /** Model version that served the score. */
  readonly version: string | null
}

export interface RecentScores {
  add(row: ScoredRow): void
  /** Oldest first. */
  rows(): ScoredRows
}

export function createRecentScores(rowsMax: number): RecentScores {
  const labels = new Uint8Array(rowsMax)
  const times = new Float64Array(rowsMax)
  const weights = new Float64Array(rowsMax)
  const served = new Float64Array(rowsMax)
  const candidate = new Float64Array(rowsMax)
  const keys: Array<string | null> = []
  const versions: Array<string | null> = []
  let added = 0

  /** Oldest first: from the oldest entry to the end of the ring, then from its start. */
  function inOrder<T extends Uint8Array | Float64Array>(column: T): T {
    if (added <= rowsMax) return column.slice(0, added) as T
    const at = added % rowsMax
    const ordered = column.slice() as T
    ordered.set(column.subarray(at))
    ordered.set(column.subarray(0, at), rowsMax - at)
    return ordered
  }

  function listInOrder<T>(list: readonly T[]): T[] {
    const at = added <= rowsMax ? 0 : added % rowsMax
    return [...list.slice(at), ...list.slice(0, at)]
  }

  return {
    add(row) {
      const at = added++ % rowsMax
      labels[at] = row.label
      times[at] = row.time
      weights[at] = row.weight
      served[at] = row.served
      candidate[at] = row.candidate
      keys[at] = row.key
      versions[at] = row.version
    },
    rows: () => ({
      rowCount: Math.min(added, rowsMax),
      labels: inOrder(labels),
      times: inOrder(times),
      weights: inOrder(weights),
      served: inOrder(served),
      candidate: inOrder(candidate),
      keys: listInOrder(keys),
      versions: listInOrder(versions),
    }),
  }
}
