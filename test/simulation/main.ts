/** `npm run simulate`: the pipeline under seeded faults, in memory and in virtual time; see `docs/testing.md`. */
import { Command } from 'commander'
import { failureText } from '../../cli/failure-text.ts'
import { outputFileOption, wholeOption } from '../../cli/option-values.ts'
import { tableLines } from '../../cli/terminal.ts'
import { writeFigures } from '../../cli/whole-file.ts'
import type { ChildReport } from './child.ts'
import { type MutationOutcome, simulateMutation } from './mutate.ts'
import { mutations } from './mutations.ts'
import { runScenario } from './run-scenario.ts'
import { here, simulate } from './simulate.ts'

interface Given {
  readonly schedules: number
  readonly seed: number
  readonly processes: number
  readonly json?: string
  readonly keepGoing?: true
  readonly mutations?: true
  readonly trace?: true
}

const out = (line: string) => void process.stdout.write(`${line}\n`)
const examples = [
  '  npm run simulate',
  '  npm run simulate -- --schedules 10000 --seed 1 --processes 2 --json figures.json',
  '  npm run simulate -- --schedules 1 --seed 4711',
  '  npm run simulate -- --mutations',
].join('\n')
const progressEvery = 500

const program = new Command('simulate')
  .description(
    'Run pipelines in memory through seeded crashes, pauses, lost calls and lost stores, and check what comes of it.',
  )
  .option('--schedules <count>', 'runs, each with a seed of its own', wholeOption(1, 10_000_000), 1_000)
  .option('--seed <seed>', 'of the first run; the others follow it', wholeOption(0, 2 ** 31), 1)
  .option('--processes <count>', 'that share the runs', wholeOption(1, 64), 1)
  .option('--keep-going', 'do not stop at the first violation')
  .option('--trace', 'of a single run: print all that happened, also where nothing was violated')
  .option(
    '--mutations',
    'simulate the loop with one thing wrong in it, for each of several, and check that it is found',
  )
  .option('--json <file>', 'write the figures to a file as well', outputFileOption)
  .addHelpText('after', `\nExamples:\n${examples}`)
  .showHelpAfterError(`For example:\n${examples}`)
  .exitOverride()

try {
  program.parse()
  const given = program.opts<Given>()
  const isGood = given.mutations ? await runMutations(given) : await runSchedules(given)
  process.exitCode = isGood ? 0 : 1
} catch (error) {
  // Commander has printed its own failures already.
  const code = (error as { code?: string }).code ?? ''
  if (!code.startsWith('commander.')) process.stderr.write(`${failureText(error)}\n`)
  process.exitCode = code === 'commander.helpDisplayed' ? 0 : 1
}

async function runSchedules({ schedules, seed, processes, json, keepGoing, trace }: Given): Promise<boolean> {
  const began = performance.now()
  const bad: ChildReport[] = []
  let run = 0
  let events = 0
  const seconds = () => (performance.now() - began) / 1_000
  await simulate({
    schedules,
    seed,
    processes,
    root: here,
    onReport: (report) => {
      run++
      events += report.events
      if (report.violations.length > 0) bad.push(report)
      if (run % progressEvery === 0)
        out(`${run} of ${schedules} schedules, ${(run / seconds()).toFixed(1)} a second, ${bad.length} with violations`)
      return bad.length === 0 || keepGoing === true
    },
  })
  const figures = {
    schedules: run,
    violations: bad.length,
    seed,
    seconds: round(seconds()),
    schedulesPerSecond: round(run / seconds()),
    events,
    violatedSeeds: bad.map((report) => report.seed).sort((a, b) => a - b),
  }
  out(`${run} schedules with ${events} events in ${figures.seconds} s: ${bad.length} with violations.`)
  await writeFigures(json, figures)
  const first = figures.violatedSeeds[0] ?? (trace && schedules === 1 ? seed : null)
  if (first !== null) await printTrace(first)
  return bad.length === 0
}

/** The run once more, with all that happened in it. */
async function printTrace(seed: number): Promise<void> {
  const { trace, violations, hash } = await runScenario(seed, { isTraced: true })
  // Most of a trace are fetches, which are of little use.
  for (const line of trace) if (!line.endsWith(': fetch')) out(line)
  out(`trace ${hash}`)
  for (const violation of violations) out(`VIOLATION of seed ${seed}: ${violation}`)
  if (violations.length > 0) out(`Repeat it with: npm run simulate -- --schedules 1 --seed ${seed}`)
}

async function runMutations({ schedules, seed, json }: Given): Promise<boolean> {
  const outcomes: MutationOutcome[] = []
  for (const mutation of mutations) {
    const outcome = await simulateMutation(mutation, schedules, seed)
    out(`${mutation.name}: ${outcome.violation?.split('\n')[0] ?? 'no violation'}`)
    outcomes.push(outcome)
  }
  const isRight = ({ foundAfter, isHarmless }: MutationOutcome) => (foundAfter === null) === isHarmless
  const rows = outcomes.map((outcome) => [
    outcome.name,
    `${outcome.foundAfter ?? 'never'}`,
    isRight(outcome) ? 'as it must be' : 'WRONG',
  ])
  for (const line of tableLines([['mutation', 'found after', ''], ...rows])) out(line)
  const wrong = outcomes.filter((outcome) => !isRight(outcome)).length
  await writeFigures(json, { schedules, seed, violations: wrong, mutations: outcomes })
  return wrong === 0
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
