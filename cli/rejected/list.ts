/** `millrace rejected list`: the dead letters of a pipeline as a table or JSON lines, and how many there are of each reason. */
import type { DeadLetter } from '../../schemas/wire/records.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { loadPlan } from '../load-plan.ts'
import { shown, shownTime, tableLines } from '../terminal.ts'
import { type DeadLetterFilter, type LocatedDeadLetter, readDeadLetters, shownLocation } from './read.ts'

export interface RejectedListOptions extends DeadLetterFilter {
  readonly from: 'start' | 'end'
  readonly count: number
  readonly json?: boolean
}

/** A dead letter without its bytes, which may be large. */
type Row = Omit<LocatedDeadLetter, 'deadLetter'> & {
  readonly deadLetter: Pick<DeadLetter, 'stage' | 'attempt' | 'problems'>
  readonly origin: string
}

const problemShownMax = 100

export async function rejectedListCommand(
  definition: string,
  options: RejectedListOptions,
  context: CommandContext,
): Promise<number> {
  const { config, terminal } = context
  const plan = await loadPlan(definition, config)
  const broker = context.openBroker(config)
  const byCode = new Map<string, number>()
  let rows: Row[] = []
  try {
    for await (const located of readDeadLetters(broker.data, plan, options)) {
      const { code } = located.deadLetter.problems[0] ?? { code: 'none' }
      byCode.set(code, (byCode.get(code) ?? 0) + 1)
      rows.push(rowOf(located))
      if (rows.length >= 2 * options.count) rows = firstRows(rows, options)
    }
  } finally {
    await broker.close()
  }
  rows = firstRows(rows, options)
  if (options.json) for (const row of rows) terminal.out(JSON.stringify(jsonOf(row)))
  else printTable(rows, byCode, context)
  return exitCodes.done
}

function rowOf({ deadLetter, ...location }: LocatedDeadLetter): Row {
  const { stage, attempt, problems } = deadLetter
  return { ...location, origin: originOf(deadLetter), deadLetter: { stage, attempt, problems } }
}

/** Location of the event; none for one that came over HTTP. */
export function originOf({ topic, partition, offset }: DeadLetter): string {
  return partition < 0 ? topic : `${topic}-${partition}@${offset}`
}

function firstRows(rows: Row[], { from, count }: RejectedListOptions): Row[] {
  const direction = from === 'start' ? 1 : -1
  const inOrder = (a: Row, b: Row) =>
    a.appendedAtMs - b.appendedAtMs || a.partition - b.partition || a.offset - b.offset
  return rows.sort((a, b) => direction * inOrder(a, b)).slice(0, count)
}

function jsonOf({ deadLetter, origin, appendedAtMs, ...location }: Row) {
  return { location: shownLocation(location), appendedAt: shownTime(appendedAtMs), origin, ...deadLetter }
}

function printTable(rows: readonly Row[], byCode: ReadonlyMap<string, number>, { terminal }: CommandContext): void {
  const head = ['location', 'appended', 'origin', 'stage', 'tried', 'code', 'first problem']
  const cells = rows.map(({ deadLetter: { stage, attempt, problems }, origin, appendedAtMs, ...location }) => {
    const [first] = problems
    const text = first ? `${first.path} expected ${first.expected}, received ${first.received}`.trim() : ''
    const cut = text.length > problemShownMax ? `${text.slice(0, problemShownMax)}…` : text
    return [
      shownLocation(location),
      shownTime(appendedAtMs),
      origin,
      stage,
      String(attempt),
      first?.code ?? 'none',
      cut,
    ]
  })
  if (rows.length > 0) for (const line of tableLines([head, ...cells])) terminal.out(line)
  const total = [...byCode.values()].reduce((sum, count) => sum + count, 0)
  const codes = [...byCode].sort(([, a], [, b]) => b - a).map(([code, count]) => `${shown(count)} ${code}`)
  const few = rows.length < total ? `, ${shown(rows.length)} of them shown` : ''
  terminal.out(`${shown(total)} dead letters${few}${total > 0 ? `: ${codes.join(', ')}` : ''}.`)
}
