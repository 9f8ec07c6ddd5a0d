/** The result of a running audit; where none is running, how to start one. Called by `examine`. */
import type { AuditFigures } from '../proof/audit-route.ts'
import { shown } from '../terminal.ts'
import { type Check, type Examination, fail, ok, warn } from './check.ts'
import type { Asked } from './outcome.ts'
import type { Subject } from './subject.ts'

const answerMaxMs = 3_000

export function skewExamination({ definition, config }: Subject, { fetch: ask }: Pick<Asked, 'fetch'>): Examination {
  const url = `http://${config.httpHost}:${config.auditPort}`
  return { name: 'skew', examine: async () => [await skewCheck(url, definition, ask)] }
}

/** A pipeline without an audit is not unhealthy. */
async function skewCheck(url: string, definition: string, ask: typeof fetch): Promise<Check> {
  const start = `millrace audit ${definition}`
  let figures: AuditFigures
  try {
    const response = await ask(new URL('/audit', url), { signal: AbortSignal.timeout(answerMaxMs) })
    if (!response.ok)
      return warn('skew', `${url} answered ${response.status}: it is not an audit.`, `Start one: ${start}`)
    figures = (await response.json()) as AuditFigures
  } catch {
    return ok('skew', `no audit is running at ${url}. To compare live vectors with their inputs: ${start}`)
  }
  return figuresCheck(figures)
}

/** Late events are information; what the audit cannot explain is a failure, and so is an output that does not follow from its inputs. */
export function figuresCheck({ checked, differing, skipped, pending, sample, replay }: AuditFigures): Check {
  const { late, overtaken, early, unexplained } = replay.differing
  const unjudged = Object.values(skipped).reduce((total, count) => total + count, 0)
  const summary =
    `${shown(differing)} of ${shown(checked)} outputs differ from their inputs in ${sample * 100} % of the entities; ` +
    `${shown(unjudged)} not checked, ${shown(pending)} pending. ` +
    `${shown(late + overtaken + early + unexplained)} of ${shown(replay.compared)} predictions differ from the replay: ` +
    `${shown(late)} late, ${shown(overtaken)} overtaken, ${shown(early)} early, ${shown(unexplained)} unexplained.`
  if (differing > 0 || unexplained > 0)
    return fail('skew', summary, "See the audit's log: it lists each with its event and both values.")
  if (overtaken + early === 0) return ok('skew', summary)
  const cause =
    overtaken >= early
      ? 'Facts were sent after the predictions that they belong in: send streams together, in event time (docs/producing.md).'
      : 'Events were released early: see the order lines, and the log of the processes for which.'
  return warn('skew', summary, cause)
}
