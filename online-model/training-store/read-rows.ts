/** Rows of the training store as typed arrays; called for what matured, for training and for evaluation. */

import type { ShadowScore } from '../../schemas/wire/records.ts'
import { readDoubles, readTiny, textsOf } from './columns.ts'
import type { Session, Values } from './database.ts'
import { isKnown, type Layout, labelOf, latestLabels } from './layout.ts'

/** Mature events, one entry a row in every column. */
export interface MatureRows {
  readonly rowCount: number
  readonly ids: readonly string[]
  /** Event times, ms. */
  readonly times: Float64Array
  /** Row-major in the plan's feature order, NaN where missing. */
  readonly rows: Float64Array
  /** 0 or 1. */
  readonly labels: Uint8Array
  /** How many events of its kind a row represents. */
  readonly weights: Float64Array
  /** As served, NaN where no model scored. */
  readonly scores: Float64Array
  readonly versions: ReadonlyArray<string | null>
  /** Key of the scored stream, null where the record had none. */
  readonly keys: ReadonlyArray<string | null>
  /** Event time of the label event that holds, ms; NaN where none names the event. */
  readonly labelTimes: Float64Array
  /** Shadow scores of challengers for the same vector; empty where there were none. */
  readonly shadows: ReadonlyArray<readonly ShadowScore[]>
  /** Number of each row in maturity order. */
  readonly seqs: Float64Array
}

/** Events by event time, ms. */
export interface TimeSpan {
  /** Included. */
  readonly fromMs: number
  /** Excluded. */
  readonly untilMs: number
}

/** Which label counts: the one that was due when the event matured, or the latest that is known by now. */
export type LabelChoice = 'due' | 'latest'

interface RowsWanted {
  readonly where: string
  readonly values: Values
  readonly label: LabelChoice
}

const fixed = 9

/** Rows in maturity order, after a `seq`. Trimmed rows leave gaps: at most `rowsMax` numbers from the first that is there. */
export async function readMatured(
  session: Session,
  layout: Layout,
  after: number,
  rowsMax: number,
): Promise<MatureRows> {
  const [first] = await session.all('SELECT min(seq)::DOUBLE FROM matured WHERE seq > $after', { after: BigInt(after) })
  const from = Number(first![0] ?? after + 1)
  const values = { from: BigInt(from), to: BigInt(from + rowsMax) }
  return readRows(session, layout, { where: 'r.seq >= $from AND r.seq < $to', values, label: 'due' }, true)
}

/** Answers rows in the order of (event time, id), or of maturity where `isBySeq`. Holds them once; twice if stored in another order. */
export async function readRows(
  session: Session,
  layout: Layout,
  { where, values, label }: RowsWanted,
  isBySeq: boolean,
): Promise<MatureRows> {
  const held = labelOf(label, layout.otherwise)
  const joined = label === 'due' ? '' : `LEFT JOIN ${latestLabels} l ON l.id = r.id`
  const from = `FROM matured r ${joined} WHERE ${where} AND ${isKnown(held.label, layout.otherwise)}`
  const [counted] = await session.all(`SELECT count(*)::DOUBLE ${from}`, values)
  const rowCount = Number(counted![0])
  const width = layout.features.length
  const into = emptyRows(rowCount, width)
  let at = 0
  const columns = [
    'r.id',
    'r.time_ms::DOUBLE',
    held.label,
    'r.weight',
    orNaN('r.score'),
    'r.model_version',
    'r.entity_key',
    orNaN(`${held.time}::DOUBLE`),
    'r.shadow',
    ...layout.featureColumns.map((name) => orNaN(`r.${name}`)),
    'r.seq::DOUBLE',
  ]
  const order = isBySeq ? ' ORDER BY r.seq' : ''
  const sql = `SELECT ${columns.join(', ')} ${from}${order}`
  await session.each(sql, values, (chunk) => {
    into.ids.push(...(textsOf(chunk, 0) as string[]))
    readDoubles(chunk, 1, into.times, at)
    readTiny(chunk, 2, into.labels, at)
    readDoubles(chunk, 3, into.weights, at)
    readDoubles(chunk, 4, into.scores, at)
    into.versions.push(...textsOf(chunk, 5))
    into.keys.push(...textsOf(chunk, 6))
    readDoubles(chunk, 7, into.labelTimes, at)
    into.shadows.push(...textsOf(chunk, 8).map(shadowFromText))
    for (let feature = 0; feature < width; feature++) {
      readDoubles(chunk, fixed + feature, into.rows, at * width + feature, width)
    }
    readDoubles(chunk, fixed + width, into.seqs, at)
    at += chunk.rowCount
  })
  return isBySeq ? into : inOrder(into, width)
}

const orNaN = (value: string) => `coalesce(${value}, 'NaN'::DOUBLE)`

function emptyRows(rowCount: number, width: number) {
  return {
    rowCount,
    ids: [] as string[],
    times: new Float64Array(rowCount),
    rows: new Float64Array(rowCount * width),
    labels: new Uint8Array(rowCount),
    weights: new Float64Array(rowCount),
    scores: new Float64Array(rowCount),
    versions: [] as Array<string | null>,
    keys: [] as Array<string | null>,
    labelTimes: new Float64Array(rowCount),
    shadows: [] as Array<readonly ShadowScore[]>,
    seqs: new Float64Array(rowCount),
  }
}

/** They are stored in maturity order, which is the order of time but for events that came late: sorting is seldom needed. */
function inOrder(read: MatureRows, width: number): MatureRows {
  const { rowCount, ids, times } = read
  const compare = (a: number, b: number) =>
    times[a]! - times[b]! || (ids[a]! < ids[b]! ? -1 : ids[a]! > ids[b]! ? 1 : 0)
  let isSorted = true
  for (let row = 1; row < rowCount && isSorted; row++) isSorted = compare(row - 1, row) <= 0
  if (isSorted) return read
  const order = Uint32Array.from({ length: rowCount }, (_, row) => row).sort(compare)
  const sorted = emptyRows(rowCount, width)
  order.forEach((from, to) => {
    sorted.ids.push(ids[from]!)
    sorted.times[to] = times[from]!
    sorted.rows.set(read.rows.subarray(from * width, (from + 1) * width), to * width)
    sorted.labels[to] = read.labels[from]!
    sorted.weights[to] = read.weights[from]!
    sorted.scores[to] = read.scores[from]!
    sorted.versions.push(read.versions[from]!)
    sorted.keys.push(read.keys[from]!)
    sorted.labelTimes[to] = read.labelTimes[from]!
    sorted.shadows.push(read.shadows[from]!)
    sorted.seqs[to] = read.seqs[from]!
  })
  return sorted
}

const noShadows: readonly ShadowScore[] = Object.freeze([])

export function shadowToText(shadow: readonly ShadowScore[]): string | null {
  if (shadow.length === 0) return null
  return JSON.stringify(shadow.map(({ version, score }) => [version, score]))
}

export function shadowFromText(text: string | null): readonly ShadowScore[] {
  if (text === null) return noShadows
  return (JSON.parse(text) as Array<[string, number]>).map(([version, score]) => ({ version, score }))
}
