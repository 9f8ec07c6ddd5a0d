/**
 * The shapes of two states in, what differs out in words, such as `entity user: retention was 7d, is 30d`. Called where stored state
 * belongs to another definition: by the feature store, `doctor` and `plan`.
 */
import { formatDuration } from '../kernel/duration.ts'
import type { FactSource, StateShape } from './plan.ts'

type Stage = StateShape['stages'][number]
/** Named things of one kind, before and after. */
interface Pair<T> {
  readonly name: string
  readonly before: T
  readonly after: T
}

const changesMax = 6
const textLengthMax = 600

/** At most about 650 characters; empty where nothing differs. */
export function stateChange(before: StateShape, after: StateShape): string {
  const all = [...streamChanges(before, after), ...entityChanges(before, after)]
  if (before.rows !== after.rows) all.unshift(rowsChange(before, after))
  if (before.name !== after.name) all.unshift(was('name of the pipeline', before.name, after.name))
  const rest = all.length - changesMax
  const text = all.slice(0, changesMax).join('; ')
  const shown = text.length > textLengthMax ? `${text.slice(0, textLengthMax)}…` : text
  return rest > 0 ? `${shown}; and ${rest} more` : shown
}

const rowLayouts: ReadonlyMap<number, string> = new Map([
  [1, 'an id of 53 bits'],
  [2, 'an id of 64 bits by a keyed hash, and a hash of the content'],
])

function rowsChange({ rows: before = 1 }: StateShape, { rows: after = 1 }: StateShape): string {
  const [was, is] = [before, after].map(
    (rows) => `${rows} (${rowLayouts.get(rows) ?? 'of another version of Millrace'})`,
  )
  return `layout of the rows of facts was ${was}, is ${is}`
}

function streamChanges(before: StateShape, after: StateShape): string[] {
  return changes('stream', before.streams, after.streams, ({ name, before: one, after: other }) => [
    ...changed(`stream ${name}: id`, one.idField, other.idField),
    ...changed(`stream ${name}: key`, one.keyField, other.keyField),
    ...changed(`stream ${name}: time`, one.timeField, other.timeField),
    ...changed(`stream ${name}: rekey`, one.rekey ?? false, other.rekey ?? false),
  ])
}

function entityChanges(before: StateShape, after: StateShape): string[] {
  // Columns of values begin where the fixed ones end.
  const areComparable = before.rows === after.rows
  return changes('entity', before.stages, after.stages, ({ name, before: one, after: other }) => [
    ...changed(`entity ${name}: retention`, formatDuration(one.retentionMs), formatDuration(other.retentionMs)),
    ...changed(`entity ${name}: key`, keysOf(one, before), keysOf(other, after)),
    ...factChanges(name, sourcesOf(one, before), sourcesOf(other, after), areComparable),
    ...(areComparable
      ? changed(`entity ${name}: column of the time of arrival`, one.layout.knownColumn, other.layout.knownColumn)
      : []),
  ])
}

/** `userId of orders, buyer of returns`. */
function keysOf({ keys }: Stage, { streams }: StateShape): string {
  return keys.map(([stream, field]) => `${field} of ${streams[stream]?.name}`).join(', ')
}

type NamedSource = FactSource & { readonly name: string }

function sourcesOf({ layout }: Stage, { streams }: StateShape): NamedSource[] {
  return layout.sources.map((source) => ({ ...source, name: streams[source.stream]?.name ?? String(source.stream) }))
}

function factChanges(
  entity: string,
  before: readonly NamedSource[],
  after: readonly NamedSource[],
  areComparable: boolean,
): string[] {
  return changes(`entity ${entity}: input`, before, after, ({ name, before: one, after: other }) => [
    ...changed(`entity ${entity}: time of facts of ${name}`, one.atField, other.atField),
    ...changes(`entity ${entity}: column`, columnsOf(one), columnsOf(other), ({ name: column, ...pair }) => [
      ...(areComparable
        ? changed(`entity ${entity}: position of column ${column}`, pair.before.column, pair.after.column)
        : []),
      ...changed(`entity ${entity}: number of decimals of column ${column}`, pair.before.decimals, pair.after.decimals),
    ]),
  ])
}

/** A column by its field and stream: `total of orders`. */
function columnsOf({ name, values }: NamedSource) {
  return values.map((value) => ({ ...value, name: `${value.field} of ${name}` }))
}

/** What is new, gone, otherwise, and, where that is all the same, in another order. */
function changes<T extends { readonly name: string }>(
  what: string,
  before: readonly T[],
  after: readonly T[],
  within: (pair: Pair<T>) => string[],
): string[] {
  const [were, are] = [before, after].map((list) => new Map(list.map((one) => [one.name, one]))) as [
    Map<string, T>,
    Map<string, T>,
  ]
  const added = after.filter(({ name }) => !were.has(name)).map(({ name }) => `${what} ${name} is new`)
  const gone = before.filter(({ name }) => !are.has(name)).map(({ name }) => `${what} ${name} is gone`)
  const kept = before.flatMap((one) => {
    const other = are.get(one.name)
    return other === undefined ? [] : within({ name: one.name, before: one, after: other })
  })
  const found = [...gone, ...added, ...kept]
  if (found.length > 0) return found
  return changed(`order of ${what}`, names(before), names(after))
}

function names(list: readonly { readonly name: string }[]): string {
  return list.map(({ name }) => name).join(', ')
}

function changed(what: string, before: unknown, after: unknown): string[] {
  return before === after ? [] : [was(what, before, after)]
}

function was(what: string, before: unknown, after: unknown): string {
  return `${what} was ${before ?? 'none'}, is ${after ?? 'none'}`
}
