/** What a training store knows about itself beside its rows, saved as one value in every transaction. Pure. */
import type { PartitionProgress } from './watermark.ts'

/** Since the store was made. */
export interface StoreCounts {
  /** Kept when they came. */
  readonly predictions: number
  /** Of an event that the store had already: the first is kept. */
  readonly duplicatePredictions: number
  /** Of another definition, of whose features this one has none: they teach nothing about this one. */
  readonly foreign: number
  /** Of an earlier definition: features that it had not, or that meant something else there, are missing in their rows. */
  readonly earlier: number
  readonly labels: number
  /** No valid event. */
  readonly rejectedLabels: number
  /** Reports of anything but 0, 1, true, false or nothing. */
  readonly rejectedValues: number
  /** Dated further ahead of their append time than the stream allows. */
  readonly labelsAhead: number
  /** Offsets that retention or compaction of the topics had removed before they were read. */
  readonly passedOver: number
  readonly matured: number
  /** Read from exported files. */
  readonly imported: number
  /** Matured later than the order of event time would have it: they came late. */
  readonly maturedLate: number
  /** Removed because they are older than the store's retention, mature or not. */
  readonly expired: number
  /** Labels removed because they are older than the store's retention, or too many of events that were never scored. */
  readonly expiredLabels: number
  /** Removed to keep the bound of rows; those that are left weigh more. */
  readonly sampledOut: number
}

export const countNames = [
  'predictions',
  'duplicatePredictions',
  'foreign',
  'earlier',
  'labels',
  'rejectedLabels',
  'rejectedValues',
  'labelsAhead',
  'passedOver',
  'matured',
  'imported',
  'maturedLate',
  'expired',
  'expiredLabels',
  'sampledOut',
] as const satisfies ReadonlyArray<keyof StoreCounts>

export interface Progress {
  readonly partitions: readonly PartitionProgress[]
  /** Events up to this time have been handed out as mature; −∞ before the first. */
  readonly maturedUntilMs: number
  /** Of the row that matures next. */
  readonly nextSeq: number
  /** Rows in the tables now. */
  readonly rows: { readonly waiting: number; readonly matured: number; readonly labels: number }
  /** Event time of the predictions when the store was last trimmed. */
  readonly trimmedAtMs: number
  readonly counts: StoreCounts
}

export function emptyProgress(): Progress {
  return {
    partitions: [],
    maturedUntilMs: Number.NEGATIVE_INFINITY,
    nextSeq: 1,
    rows: { waiting: 0, matured: 0, labels: 0 },
    trimmedAtMs: Number.NEGATIVE_INFINITY,
    counts: addCounts(null, {}),
  }
}

export function addCounts(counts: StoreCounts | null, more: Partial<StoreCounts>): StoreCounts {
  const sums = countNames.map((name) => [name, (counts?.[name] ?? 0) + (more[name] ?? 0)])
  return Object.fromEntries(sums) as Record<keyof StoreCounts, number>
}

/** After a change of the definition: whatever has become a row until then did so under an earlier one. */
export function allEarlier(progress: Progress): Progress {
  const { predictions, imported } = progress.counts
  return { ...progress, counts: { ...progress.counts, earlier: predictions + imported } }
}

/** JSON has no infinity: null means −∞, the only one that there is here. */
export function progressToJson(progress: Progress): string {
  return JSON.stringify(progress, (_, value: unknown) => (value === Number.NEGATIVE_INFINITY ? null : value))
}

export function progressFromJson(json: string): Progress {
  const read = JSON.parse(json) as Progress
  const orNone = (ms: number | null) => ms ?? Number.NEGATIVE_INFINITY
  return {
    ...read,
    partitions: read.partitions.map((position) => ({ ...position, passedMs: orNone(position.passedMs) })),
    maturedUntilMs: orNone(read.maturedUntilMs),
    trimmedAtMs: orNone(read.trimmedAtMs),
    counts: addCounts(null, read.counts),
  }
}
