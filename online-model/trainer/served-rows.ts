/** Mature rows of the training store in, the columns that an evaluation takes out: of the rows that a model scored. Called by step 5. */
import type { ServedRows } from '../evaluation/evaluate.ts'
import type { MatureRows } from '../training-store/store.ts'

/** `rowAt`: index of each of them among the mature rows. */
export interface Served extends ServedRows {
  readonly rowAt: Uint32Array
}

export function servedRows(mature: MatureRows): Served {
  return columns(
    mature,
    scored(mature, (row) => mature.scores[row]!),
    (row) => mature.scores[row]!,
    (row) => mature.versions[row]!,
  )
}

/** One version's shadow scores; rows that it did not score are left out. */
export function shadowRows(mature: MatureRows, version: string): Served {
  const scoreOf = (row: number) =>
    mature.shadows[row]!.find((shadow) => shadow.version === version)?.score ?? Number.NaN
  return columns(mature, scored(mature, scoreOf), scoreOf, () => version)
}

function scored({ rowCount }: MatureRows, scoreOf: (row: number) => number): Uint32Array {
  return Uint32Array.from({ length: rowCount }, (_, row) => row).filter((row) => Number.isFinite(scoreOf(row)))
}

function columns(
  mature: MatureRows,
  rowAt: Uint32Array,
  scoreOf: (row: number) => number,
  versionOf: (row: number) => string | null,
): Served {
  const versions = createCodes()
  const keys = createCodes()
  const pick = (of: (row: number) => number) => Float64Array.from(rowAt, of)
  return {
    rowAt,
    labels: Uint8Array.from(rowAt, (row) => mature.labels[row]!),
    scores: pick(scoreOf),
    times: pick((row) => mature.times[row]!),
    versions: Int32Array.from(rowAt, (row) => versions.codeOf(versionOf(row) ?? '')),
    versionNames: versions.names,
    // An event without a key is an entity of its own.
    keys: Int32Array.from(rowAt, (row) => keys.codeOf(mature.keys[row] ?? `event ${mature.ids[row]}`)),
    labelDelays: pick((row) => mature.labelTimes[row]! - mature.times[row]!),
    weights: pick((row) => mature.weights[row]!),
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
