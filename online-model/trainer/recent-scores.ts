/**
 * The newest mature rows with what was served and what the learner said of them before it learnt from them: the slice that its versions are
 * judged on. Neither had seen the labels. Bounded; kept by the continuous learning.
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
  /** That served. */
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

  /** From the oldest to the end of the ring, then from its start. */
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
