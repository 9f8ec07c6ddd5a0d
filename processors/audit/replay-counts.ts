/** What the comparison with the replay has found so far: plain totals, counted by `replay-rounds.ts`, shown by `millrace audit`. */
import { type ReplayClass, type ReplayDifference, replayClasses, worstOf } from './compare-replay.ts'

/**
 * Why a prediction was not compared. `before_read`: a window reaches before what the raw topics still hold. `event_unread`: its raw event
 * is not there any more, or is none. `too_many_facts`: its windows need more facts than are held.
 * `requeued`: a stage had rejected its raw event, so that it was predicted as it was repaired. `other_definition`: it has other features.
 */
export type ReplaySkipReason = 'before_read' | 'event_unread' | 'too_many_facts' | 'requeued' | 'other_definition'

export interface ReplayCounts {
  compared: number
  /** Compared while their streams still accept events that would change the replay. */
  provisional: number
  /** Predictions with a value that differs, each under the gravest cause of its differences. */
  readonly differing: Record<ReplayClass, number>
  /** The feature that is furthest off. */
  readonly largest: Partial<Record<ReplayClass, ReplayDifference>>
  readonly skipped: Partial<Record<ReplaySkipReason, number>>
}

export function createReplayCounts(): ReplayCounts {
  const differing = Object.fromEntries(replayClasses.map((name) => [name, 0])) as ReplayCounts['differing']
  return { compared: 0, provisional: 0, differing, largest: {}, skipped: {} }
}

/** `differences`: of one prediction. */
export function countCompared(
  counts: ReplayCounts,
  differences: readonly ReplayDifference[],
  { isProvisional }: { readonly isProvisional: boolean },
): void {
  counts.compared++
  if (isProvisional) counts.provisional++
  if (differences.length === 0) return
  counts.differing[worstOf(differences)]++
  for (const difference of differences) {
    const known = counts.largest[difference.class]
    if (!known || difference.relative > known.relative) counts.largest[difference.class] = difference
  }
}

export function skipReplay({ skipped }: ReplayCounts, reason: ReplaySkipReason): void {
  skipped[reason] = (skipped[reason] ?? 0) + 1
}
