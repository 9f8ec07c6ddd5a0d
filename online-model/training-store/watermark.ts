/** How far the two inputs of the training store have come in event time; called with every batch. Pure. */

export type InputName = 'predictions' | 'label'

/** What a batch brings of one partition. A batch names every partition of both inputs, also those that brought nothing. */
export interface PartitionRead {
  readonly input: InputName
  readonly partition: number
  /** First offset that was read, and the offset to continue from. */
  readonly from: number
  readonly next: number
  /** Latest event time among the records between, whether they were of use or not; −∞ where there was none. */
  readonly passedMs: number
  /** It had nothing more when it was fetched, and it was fetched after the batch before this one. */
  readonly isAtEnd: boolean
}

/** How far one partition has been read. */
export interface PartitionProgress {
  readonly input: InputName
  readonly partition: number
  readonly next: number
  /** Event time that the partition has passed; −∞ before it is known. */
  readonly passedMs: number
}

/**
 * A partition's event time is that of its own records. One that was at its end is as far as its input was before the fetch, since
 * everything written to it until then has been read.
 */
export function advance(
  before: readonly PartitionProgress[],
  read: readonly PartitionRead[],
): readonly PartitionProgress[] {
  const furthest = { predictions: furthestOf(before, 'predictions'), label: furthestOf(before, 'label') }
  const after = new Map(before.map((position) => [partitionKey(position), position]))
  for (const { input, partition, next, passedMs, isAtEnd } of read) {
    const former = after.get(partitionKey({ input, partition }))
    const passed = [former?.passedMs ?? Number.NEGATIVE_INFINITY, passedMs, ...(isAtEnd ? [furthest[input]] : [])]
    const position = { input, partition, next: Math.max(next, former?.next ?? 0), passedMs: Math.max(...passed) }
    after.set(partitionKey(position), position)
  }
  return [...after.values()]
}

export const partitionKey = ({ input, partition }: { readonly input: InputName; readonly partition: number }) =>
  `${input} ${partition}`

export function furthestOf(positions: readonly PartitionProgress[], input: InputName): number {
  return passedBy(positions, input, Math.max, Number.NEGATIVE_INFINITY)
}

/** Event time that all partitions of an input have passed; −∞ while one of them is not known to have passed anything. */
export function watermarkOf(positions: readonly PartitionProgress[], input: InputName): number {
  const least = passedBy(positions, input, Math.min, Number.POSITIVE_INFINITY)
  return least === Number.POSITIVE_INFINITY ? Number.NEGATIVE_INFINITY : least
}

function passedBy(
  positions: readonly PartitionProgress[],
  input: InputName,
  choose: (a: number, b: number) => number,
  none: number,
): number {
  return positions.reduce((ms, position) => (position.input === input ? choose(ms, position.passedMs) : ms), none)
}
