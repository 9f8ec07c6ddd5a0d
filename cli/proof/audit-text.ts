/** What `millrace audit` prints: a line for each difference while it works, and two sentences of totals at its end. */
import type { Difference } from '../../processors/audit/audited-output.ts'
import { type ReplayClass, type ReplayDifference, replayClasses } from '../../processors/audit/compare-replay.ts'
import { shown } from '../terminal.ts'
import type { AuditFigures, ReplayFigures } from './audit-route.ts'

/** What each cause means, after the number of predictions, and what to do about it. */
const causes = {
  late: { means: 'late: an event came out of order, which its stream allows', remedy: '' },
  overtaken: {
    means: 'overtaken: facts were sent after the prediction that they belong in',
    remedy: ' Send streams together and in event time: see docs/producing.md.',
  },
  early: {
    means: 'early: tasks had released events before all sources had passed them',
    remedy: ' A source had made no progress for MILLRACE_HOLD_MAX_MS: see the log of the processes for which.',
  },
  unexplained: { means: 'UNEXPLAINED', remedy: ' Keep the raw topics and report it as a bug.' },
} as const satisfies Record<ReplayClass, { readonly means: string; readonly remedy: string }>

export function differenceLine({ stage, id, time, origin, name, expected, logged }: Difference): string {
  const at = eventText({ id, time, origin })
  return `DIFFERS  ${stage}  ${name}: expected ${expected ?? 'missing'}, logged ${logged ?? 'missing'}, ${at}`
}

export function replayLine(difference: ReplayDifference): string {
  const { class: cause, feature, live, replay } = difference
  return `REPLAY   ${cause}  ${feature}: replay ${replay ?? 'missing'}, live ${live ?? 'missing'}, ${eventText(difference)}`
}

function eventText({ id, time, origin }: Pick<Difference, 'id' | 'time' | 'origin'>): string {
  return `event ${id} of ${new Date(time).toISOString()} (partition ${origin.partition}, offset ${origin.offset})`
}

/** While `--once` works. */
export function progressLine({ checked, pending, replay }: AuditFigures): string {
  const inputs = `${shown(checked)} outputs checked against their inputs, ${shown(pending)} of those read wait`
  return `${inputs}; ${shown(replay.compared)} predictions compared with the replay, ${shown(replay.pending)} wait`
}

/** `unprinted`: values that differ and have no line. */
export function inputsSummary(figures: AuditFigures, unprinted: number): string {
  const { checked, predictions, differing, skipped, sample } = figures
  const more = unprinted > 0 ? ` (${shown(unprinted)} more values differ)` : ''
  return (
    `Against the inputs of each stage: ${shown(checked)} outputs of ${sample * 100} % of the entities checked, ` +
    `${shown(predictions)} of them predictions: ${shown(differing)} differ${more}. Not checked: ${reasonsText(skipped)}.`
  )
}

export function replaySummary({ compared, provisional, differing, largest, skipped }: ReplayFigures): string[] {
  const total = replayClasses.reduce((sum, cause) => sum + differing[cause], 0)
  const first =
    `Against the replay of the raw topics in event time: ${shown(compared)} predictions compared: ${shown(total)} differ. ` +
    `Provisional, as late events may still come: ${shown(provisional)}. Not compared: ${reasonsText(skipped)}.`
  const lines = replayClasses.flatMap((cause) => {
    const worst = largest[cause]
    if (differing[cause] === 0 || !worst) return []
    const { feature, live, replay, relative, id } = worst
    const far = `${feature} of ${id} furthest: live ${live ?? 'missing'}, replay ${replay ?? 'missing'} (${shown(relative * 100)} %)`
    const { means, remedy } = causes[cause]
    return [`  ${shown(differing[cause])} ${means}; ${far}.${remedy}`]
  })
  return [first, ...lines]
}

function reasonsText(skipped: Readonly<Partial<Record<string, number>>>): string {
  const reasons = Object.entries(skipped).map(([reason, count = 0]) => `${shown(count)} ${reason}`)
  return reasons.length > 0 ? reasons.join(', ') : 'none'
}
