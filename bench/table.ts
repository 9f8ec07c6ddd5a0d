/**
 * A report in, tables out: Markdown for `docs/performance.md`, and lines for the terminal. Pure; called by `main.ts`
 * and `run-bench.ts`.
 */
import type { BenchReport, JobReport } from './report.ts'
import type { Spread } from './statistics.ts'

const columns = [
  'job',
  'runs',
  'events/s',
  'events/CPU-s',
  'p50 ms',
  'p99 ms',
  'p99.9 ms',
  'resident MB',
  'against its baseline',
  'load before',
]

export function reportTable({ jobs }: Pick<BenchReport, 'jobs'>): string[][] {
  return [columns, ...jobs.map(row)]
}

/** Heading line, table, what each job measures and the other measures. */
export function reportMarkdown(report: BenchReport): string {
  const lines = reportTable(report).map((cells) => `| ${cells.join(' | ')} |`)
  const rule = `| ${columns.map((_, i) => (i === 0 ? '---' : '---:')).join(' | ')} |`
  const jobLines = report.jobs.map((job) => `- \`${job.job}\`: ${[job.measures, ...remarks(job)].join(' ')}`)
  return `${[circumstances(report), '', lines[0], rule, ...lines.slice(1), '', ...jobLines].join('\n')}\n`
}

/** On what, when and with which settings the figures were measured. */
export function circumstances({ machine, revision, startedAt, seed, settings }: BenchReport): string {
  const { cpu, cores, memoryGb, platform, node, kafka, redis } = machine
  return (
    `${startedAt}, revision ${revision ?? 'unknown'}: ${cores} cores of ${cpu}, ${memoryGb} GB, ${platform}, Node ${node}, ` +
    `Kafka ${kafka}, ${redis}, all on this machine with the load generator; seed ${seed}, ${settings.rounds} rounds, ` +
    `${shown(settings.events)} events, ${settings.partitions} partitions, ${settings.seconds} s a paced run. ` +
    'Figures are min / **median** / max.'
  )
}

/** Medians of a report over those of an earlier one, job by job: above 1 is more, of events or of milliseconds. */
export function comparisonTable(report: BenchReport, earlier: BenchReport): string[][] {
  const before = new Map(earlier.jobs.map((job) => [job.job, job]))
  const head = ['job', 'events/s', 'events/CPU-s', 'p50', 'p99', 'resident', 'baseline ratios']
  const over = (now: Spread | null | undefined, then: Spread | null | undefined) =>
    now && then ? `× ${shown(now.median / then.median)}` : ''
  const rows = report.jobs.flatMap((now) => {
    const then = before.get(now.job)
    if (!then) return []
    const ratios = Object.entries(now.ratios).map(([name, ratio]) => `${name} ${over(ratio, then.ratios[name])}`)
    const figures = [now, then].map(({ eventsPerSecond, eventsPerCpuSecond, latencyMs, residentMb }) => {
      return [eventsPerSecond, eventsPerCpuSecond, latencyMs?.p50, latencyMs?.p99, residentMb]
    })
    return [[now.job, ...figures[0]!.map((figure, i) => over(figure, figures[1]![i])), ratios.join(', ')]]
  })
  return [head, ...rows]
}

function row(report: JobReport): string[] {
  const { job, runs, invalid, eventsPerSecond, eventsPerCpuSecond, latencyMs, residentMb, ratios, loadBefore } = report
  return [
    job,
    invalid.length === 0 ? String(runs) : `${runs}, ${invalid.length} invalid`,
    spreadText(eventsPerSecond),
    spreadText(eventsPerCpuSecond),
    spreadText(latencyMs?.p50),
    spreadText(latencyMs?.p99),
    spreadText(latencyMs?.p999),
    spreadText(residentMb),
    Object.entries(ratios)
      .map(([name, ratio]) => `${name} × ${spreadText(ratio)}`)
      .join(', '),
    spreadText(loadBefore),
  ]
}

function remarks({ further, invalid }: JobReport): string[] {
  const figures = Object.entries(further).map(([name, figure]) => `${name} ${spreadText(figure)}`)
  const jobLines = figures.length === 0 ? [] : [`Also: ${figures.join(', ')}.`]
  return invalid.length === 0 ? jobLines : [...jobLines, `Not counted: ${invalid.join('; ')}.`]
}

/** One figure where all runs gave the same. */
export function spreadText(figure: Spread | null | undefined): string {
  if (!figure) return ''
  const [min, median, max] = [shown(figure.min), shown(figure.median), shown(figure.max)]
  return min === max ? median : `${min} / **${median}** / ${max}`
}

function shown(value: number): string {
  const size = Math.abs(value)
  const digits = size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}
