/** `npm run bench`: measures Millrace on a real Kafka and Redis, or writes the table of what was measured. */
import { readFile } from 'node:fs/promises'
import { Command, InvalidArgumentError, Option } from 'commander'
import { exitCodeOf, exitCodes, failureText } from '../cli/failure-text.ts'
import { wholeOption } from '../cli/option-values.ts'
import { tableLines } from '../cli/terminal.ts'
import { openWholeFile } from '../cli/whole-file.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import { runCosts } from './costs/costs.ts'
import { runGuard } from './guard/guard.ts'
import { costsJob, type JobGroup, jobGroups } from './job.ts'
import { peerWorks } from './peers/peer.ts'
import { type BenchReport, parseReport } from './report.ts'
import { type BenchOptions, runBench } from './run-bench.ts'
import { comparisonTable, reportMarkdown } from './table.ts'

interface Given extends Omit<BenchOptions, 'rates' | 'jobs'> {
  readonly jobs: ReadonlySet<JobGroup> | typeof costsJob
  readonly rate: readonly number[]
  readonly table?: string
  readonly json?: string
  readonly compare?: string
  readonly picture?: string
  readonly guard?: boolean
  readonly update?: boolean
}

type Reported = Omit<Given, 'jobs' | 'picture'> & Pick<BenchOptions, 'jobs'>

const out = (line: string) => void process.stdout.write(`${line}\n`)
const examples = [
  '  npm run bench',
  '  npm run bench -- --jobs card-fraud-backlog,w1 --runs 3 --json figures.json',
  '  npm run bench -- --jobs w1,w2 --against ../peers',
  '  npm run bench -- --jobs costs --picture costs.svg',
  '  npm run bench -- --guard',
  '  npm run bench -- --table figures.json',
  '  npm run bench -- --table figures.json --compare earlier.json',
].join('\n')

const program = new Command('bench')
  .description('Measure Millrace on a real Kafka and Redis: those of KAFKA_BROKERS and REDIS_URL, else its own.')
  .addOption(
    new Option('--jobs <list>', `which of ${jobGroups.join(', ')}, with commas; or ${costsJob}, which needs no servers`)
      .argParser(jobsOption)
      .default(new Set(jobGroups), `all but ${costsJob}`),
  )
  .option('--runs <count>', 'rounds of all jobs, or of each point of the costs', wholeOption(1, 100), 5)
  .option('--events <count>', 'transactions of a backlog', wholeOption(1_000, 1_500_000), 300_000)
  .option('--rate <list>', 'events a second of the paced jobs, with commas', ratesOption, [500, 2_000])
  .option('--seconds <count>', 'counted seconds of a paced run', wholeOption(1, 3_600), 20)
  .option('--seed <seed>', 'of the generated events; 0 is the published data set', wholeOption(0, 524_287), 0)
  .option('--json <file>', 'write the report to a file as well')
  .option('--picture <file>', `with --jobs ${costsJob}: write the costs as a picture (SVG) to a file as well`)
  .option('--profile <folder>', 'write CPU profiles of the measured processes there; the figures suffer')
  .option('--against <folder>', 'run other engines beside w1 and w2 as well: the folder of their sources')
  .option('--compare <file>', 'print the medians over those of an earlier report as well')
  .addOption(
    new Option('--table <file>', 'measure nothing: print the Markdown table of a report').conflicts([
      'json',
      'profile',
      'against',
    ]),
  )
  .addOption(
    new Option('--guard', 'without servers: fail where events per CPU-second have become worse').conflicts([
      'table',
      'against',
      'compare',
      'json',
      'profile',
    ]),
  )
  .option('--update', 'with --guard: what is measured becomes the reference')
  .addHelpText('after', `\nExamples:\n${examples}`)
  .showHelpAfterError(`For example:\n${examples}`)
  .exitOverride()

try {
  program.parse()
  const { guard = false, update = false, ...given } = program.opts<Given>()
  if (update && !guard) throw new PipelineError('usage', '--update needs --guard, whose reference it writes.')
  if (!guard) await measuredJobs(given)
  else if (!(await runGuard(update, out))) process.exitCode = exitCodes.failed
} catch (error) {
  // Commander has printed its own failures already.
  if ((error as { code?: string }).code?.startsWith('commander.') !== true)
    process.stderr.write(`${failureText(error)}\n`)
  process.exitCode = exitCodeOf(error)
}

async function measuredJobs({ jobs, picture, ...given }: Given): Promise<void> {
  if (jobs !== costsJob) {
    if (picture !== undefined) throw new PipelineError('usage', `--picture needs --jobs ${costsJob}, which it shows.`)
    return report({ ...given, jobs })
  }
  const others = (['json', 'profile', 'against', 'compare', 'table'] as const).filter(
    (name) => given[name] !== undefined,
  )
  if (others.length > 0)
    throw new PipelineError('usage', `--jobs ${costsJob} prints tables of its own: leave out --${others.join(', --')}.`)
  const { runs: rounds, seed } = given
  await runCosts({ rounds, seed, ...(picture === undefined ? {} : { picture }) }, process.env, out)
}

/** Measures, or reads what was measured. */
async function report({ table, json, compare, rate, ...options }: Reported): Promise<void> {
  if (options.against !== undefined && !peerWorks.some((work) => options.jobs.has(work)))
    throw new PipelineError('usage', `--against needs one of the jobs ${peerWorks.join(', ')}, which peers do as well.`)
  const earlier = compare === undefined ? null : await readReport(compare)
  const now = table === undefined ? await measured({ ...options, rates: rate }, json) : await readReport(table)
  if (table !== undefined) out(reportMarkdown(now).trimEnd())
  if (earlier) for (const line of tableLines(comparisonTable(now, earlier))) out(line)
}

/** A file that cannot be written is found out before the measuring, not after it. */
async function measured(options: BenchOptions, json: string | undefined): Promise<BenchReport> {
  const file = json === undefined ? null : await openWholeFile(json)
  try {
    const report = await runBench(options, process.env, out)
    await file?.write(`${JSON.stringify(report, null, 2)}\n`)
    await file?.finish()
    return report
  } finally {
    await file?.discard()
  }
}

async function readReport(path: string): Promise<BenchReport> {
  const text = await readFile(path, 'utf8').catch((cause: Error) => {
    throw new PipelineError('input_unreadable', `Report ${path} cannot be read: ${cause.message}.`, { cause })
  })
  return parseReport(text, path)
}

function jobsOption(text: string): Given['jobs'] {
  if (text === costsJob) return costsJob
  const names = text.split(',')
  if (names.includes(costsJob)) throw new InvalidArgumentError(`${costsJob} runs by itself; received ${text}.`)
  const unknown = names.filter((name) => !jobGroups.some((group) => group === name))
  if (unknown.length > 0)
    throw new InvalidArgumentError(`Expected ${jobGroups.join(', ')}, or ${costsJob}; received ${unknown.join(', ')}.`)
  return new Set(jobGroups.filter((group) => names.includes(group)))
}

function ratesOption(text: string): readonly number[] {
  const whole = wholeOption(1, 100_000)
  return [...new Set(text.split(',').map(whole))]
}
