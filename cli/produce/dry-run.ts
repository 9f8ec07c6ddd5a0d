/** `millrace produce --dry-run`: the first rows of a source as the events that would be sent, and all that would be refused. */
import { createRowCheck, type SourceEvent } from '../../producers/prepare.ts'
import type { Problem } from '../../schemas/kernel/event.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { exitCodes } from '../failure-text.ts'
import { problemText } from '../sources/rejection-line.ts'
import type { Source } from '../sources/source.ts'
import { shown, shownTime, type Terminal } from '../terminal.ts'
import { writeFigures } from '../whole-file.ts'

export interface DryRunOptions {
  readonly allowRejects?: number
  readonly json?: string
}

/** By stream, field and code: how many rows, and the first of them. */
interface Reason {
  readonly stream: string
  readonly problem: Problem
  readonly locations: string[]
  count: number
}

/** Of each stream. */
const eventsShownMax = 5
const examplesMax = 3
/** Reasons that are kept apart. */
const reasonsMax = 100

/** Needs no server. Returns the exit code that the run itself would end with. */
export async function dryRun(
  source: Source,
  plan: Plan,
  options: DryRunOptions,
  { terminal, signal }: { readonly terminal: Terminal; readonly signal: AbortSignal },
): Promise<number> {
  const check = createRowCheck(plan.streams)
  const byStream: Record<string, number> = Object.fromEntries(source.streams.map(({ name }) => [name, 0]))
  const reasons = new Map<string, Reason>()
  const counts = { events: 0, rejected: 0, leftOut: 0 }
  let [firstMs, lastMs] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
  for await (const chunk of source.chunks) {
    if (signal.aborted) return exitCodes.interrupted
    for (const event of chunk) {
      const row = check(event)
      if (row.kind === 'left out') counts.leftOut++
      if (row.kind === 'rejected') {
        counts.rejected++
        addReasons(reasons, row.problems, event)
      }
      if (row.kind !== 'event') continue
      counts.events++
      if (byStream[row.stream.name]!++ < eventsShownMax)
        terminal.out(JSON.stringify({ stream: row.stream.name, ...row.values }))
      firstMs = Math.min(firstMs, row.timeMs)
      lastMs = Math.max(lastMs, row.timeMs)
    }
  }
  const span = counts.events === 0 ? '' : `, event time ${shownTime(firstMs)} to ${shownTime(lastMs)}`
  terminal.out(`Nothing was sent. ${shown(counts.events)} events would be${span}.`)
  for (const [stream, count] of Object.entries(byStream)) terminal.out(`  ${stream}: ${shown(count)}`)
  if (counts.leftOut > 0) terminal.out(`  left out by the mapping: ${shown(counts.leftOut)}`)
  if (counts.rejected > 0) terminal.out(`  refused: ${shown(counts.rejected)} rows`)
  for (const reason of [...reasons.values()].sort((a, b) => b.count - a.count)) printReason(reason, terminal)
  await writeFigures(options.json, { ...counts, byStream, reasons: [...reasons.values()] })
  if (source.isOutOfOrder) return exitCodes.usage
  return counts.rejected > (options.allowRejects ?? 0) ? exitCodes.rejected : exitCodes.done
}

function addReasons(reasons: Map<string, Reason>, problems: readonly Problem[], event: SourceEvent): void {
  const stream = 'stream' in event ? event.stream : 'cells' in event ? (event.cells?.stream ?? '') : ''
  for (const problem of problems) {
    const key = `${stream} ${problem.path} ${problem.code} ${problem.expected}`
    const known = reasons.get(key)
    const reason = known ?? { stream, problem, locations: [], count: 0 }
    if (known === undefined && reasons.size < reasonsMax) reasons.set(key, reason)
    reason.count++
    if (reason.locations.length < examplesMax) reason.locations.push(event.location ?? 'a row')
  }
}

function printReason({ stream, problem, locations, count }: Reason, terminal: Terminal): void {
  terminal.out(`  ${shown(count)} × ${stream} ${problem.code}: ${problemText(problem)}`.replace('  :', ':'))
  terminal.out(`      ${locations.join('; ')}${count > locations.length ? '; …' : ''}${hintFor(problem)}`)
}

/** What often helps. */
function hintFor({ code, expected, received }: Problem): string {
  const text = received.replace(/^"(.*)"$/, '$1')
  const hints: ReadonlyArray<readonly [RegExp, string]> = [
    [/^(?:NA|N\/A|null|NULL|None|nan|NaN|-+|\?|\\N)$/, '--missing common reads it as no value'],
    [/^[+-]?\d+,\d+$/, '--decimal , reads it as a number'],
    [/\ufffd/, 'the file is not in UTF-8: --encoding, such as --encoding latin1'],
    [/^(?:\s|\\[tn])|(?:\s|\\[tn])$/, '--trim drops the spaces'],
  ]
  // Of a date that is none and a flag in other words, the kind of the field tells what helps.
  const kinds: ReadonlyArray<readonly [RegExp, string]> = [
    [/^true or false/, 'a mapping file (--mapping) computes it from the cell'],
    [/^an RFC 3339 instant/, '--dates names the format of the field, a mapping file (--mapping) may compute it'],
  ]
  if (code === 'missing') return ''
  const found = hints.find(([pattern]) => pattern.test(text)) ?? kinds.find(([pattern]) => pattern.test(expected))
  return found ? `\n      hint: ${found[1]}` : ''
}
