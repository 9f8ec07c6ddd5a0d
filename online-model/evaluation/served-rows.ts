/** Ripe rows of the training store in, the columns of an evaluation out: as served, or as challengers scored in the shadow. Pure. */
import type { RipeRows } from '../training-store/read-rows.ts'
import type { ServedRows } from './evaluate.ts'

type Read = Pick<RipeRows, 'rowCount' | 'times' | 'labels' | 'weights' | 'scores' | 'versions' | 'keys' | 'labelTimes'>

export interface Served {
  readonly rows: ServedRows
  /** Row of the store's rows that each of them is of: for columns of slices. */
  readonly of: Int32Array
}

/** Events that no model scored are left out. */
export function servedRows(read: Read): Served {
  const of = Int32Array.from({ length: read.rowCount }, (_, row) => row).filter(
    (row) => read.versions[row] !== null && !Number.isNaN(read.scores[row]),
  )
  return columns(
    read,
    of,
    (at) => read.scores[of[at]!]!,
    (at) => read.versions[of[at]!]!,
  )
}

/** One row for each event and challenger that scored it. */
export function shadowRows(read: Read & Pick<RipeRows, 'shadows'>): Served {
  const pairs = read.shadows.flatMap((shadows, row) => shadows.map((shadow) => ({ row, ...shadow })))
  const of = Int32Array.from(pairs, ({ row }) => row)
  return columns(
    read,
    of,
    (at) => pairs[at]!.score,
    (at) => pairs[at]!.version,
  )
}

function columns(
  { times, labels, weights, keys, labelTimes }: Read,
  of: Int32Array,
  scoreOf: (at: number) => number,
  versionOf: (at: number) => string,
): Served {
  const versions = codes()
  const entities = codes()
  const rows: ServedRows = {
    labels: Uint8Array.from(of, (row) => labels[row]!),
    scores: Float64Array.from(of, (_, at) => scoreOf(at)),
    times: Float64Array.from(of, (row) => times[row]!),
    versions: Int32Array.from(of, (_, at) => versions.of(versionOf(at))),
    versionNames: versions.names,
    // An event without a key is an entity of its own.
    keys: Int32Array.from(of, (row, at) => (keys[row] == null ? -1 - at : entities.of(keys[row]))),
    labelDelays: Float64Array.from(of, (row) => labelTimes[row]! - times[row]!),
    weights: Float64Array.from(of, (row) => weights[row]!),
  }
  return { rows, of }
}

/** A number for each name, in the order in which they come. */
function codes(): { readonly names: string[]; of(name: string): number } {
  const numbers = new Map<string, number>()
  const names: string[] = []
  function of(name: string): number {
    let number = numbers.get(name)
    if (number === undefined) {
      number = names.push(name) - 1
      numbers.set(name, number)
    }
    return number
  }
  return { names, of }
}
