/** Ripe rows of the training store in, the columns that evaluation works on out: those that a model had scored. Called by the trainer. */
import type { ServedRows } from '../evaluation/evaluate.ts'
import type { RipeRows } from '../training-store/store.ts'

/** `rowAt`: where each of them lay among the ripe rows. */
export interface Served extends ServedRows {
  readonly rowAt: Uint32Array
}

export function servedRows(ripe: RipeRows): Served {
  return columns(
    ripe,
    scored(ripe, (row) => ripe.scores[row]!),
    (row) => ripe.scores[row]!,
    (row) => ripe.versions[row]!,
  )
}

/** What one version said of these rows in shadow: those that it did not see are left out. */
export function shadowRows(ripe: RipeRows, version: string): Served {
  const scoreOf = (row: number) => ripe.shadows[row]!.find((shadow) => shadow.version === version)?.score ?? Number.NaN
  return columns(ripe, scored(ripe, scoreOf), scoreOf, () => version)
}

function scored({ rowCount }: RipeRows, scoreOf: (row: number) => number): Uint32Array {
  return Uint32Array.from({ length: rowCount }, (_, row) => row).filter((row) => Number.isFinite(scoreOf(row)))
}

function columns(
  ripe: RipeRows,
  rowAt: Uint32Array,
  scoreOf: (row: number) => number,
  versionOf: (row: number) => string | null,
): Served {
  const versions = createCodes()
  const keys = createCodes()
  const pick = (of: (row: number) => number) => Float64Array.from(rowAt, of)
  return {
    rowAt,
    labels: Uint8Array.from(rowAt, (row) => ripe.labels[row]!),
    scores: pick(scoreOf),
    times: pick((row) => ripe.times[row]!),
    versions: Int32Array.from(rowAt, (row) => versions.codeOf(versionOf(row) ?? '')),
    versionNames: versions.names,
    // An event without a key is an entity of its own.
    keys: Int32Array.from(rowAt, (row) => keys.codeOf(ripe.keys[row] ?? `event ${ripe.ids[row]}`)),
    labelDelays: pick((row) => ripe.labelTimes[row]! - ripe.times[row]!),
    weights: pick((row) => ripe.weights[row]!),
  }
}

function createCodes() {
  const codes = new Map<string, number>()
  const names: string[] = []
  return {
    names,
    codeOf(name: string): number {
      const known = codes.get(name)
      if (known !== undefined) return known
      codes.set(name, names.length)
      names.push(name)
      return names.length - 1
    },
  }
}
