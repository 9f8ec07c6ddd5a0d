/** `npm run chaos`: faults at random on real processes, Kafka and Redis; exit code 1 when anything was lost, doubled or changed. */
import { Command, Option } from 'commander'
import { exitCodeOf, exitCodes, failureText } from '../../cli/failure-text.ts'
import { outputFileOption, positiveOption, wholeOption } from '../../cli/option-values.ts'
import { shown } from '../../cli/terminal.ts'
import { writeFigures } from '../../cli/whole-file.ts'
import { type ChaosOptions, type ChaosReport, runChaos, type Timed } from './run-chaos.ts'

interface Given extends ChaosOptions {
  readonly logs?: string
  readonly json?: string
}

const out = (line: string) => void process.stdout.write(`${line}\n`)
const examples = ['  npm run chaos -- --kills 20', '  npm run chaos -- --kills 100 --seed 7 --json chaos.json'].join(
  '\n',
)

const program = new Command('chaos')
  .description('Kill, pause and rob real processes under load, and compare what they leave with an undisturbed run.')
  .option('--kills <count>', 'kill -9 of a process; other faults come in proportion', wholeOption(1, 10_000), 20)
  .option('--seed <seed>', 'draws the same faults again', wholeOption(0, 4_294_967_295), 1)
  .addOption(
    new Option('--mode <mode>', 'replay: no vector may differ; live: default hold, only lost and doubled count')
      .choices(['replay', 'live'])
      .default('replay'),
  )
  .option('--workers <count>', 'processes', wholeOption(1, 16), 3)
  .option('--partitions <count>', 'of every topic', wholeOption(1, 64), 4)
  .option('--rate <events>', 'events a second', positiveOption, 500)
  .option('--compiled', 'run what `npm run build` made instead of the sources', false)
  .option('--logs <folder>', 'write what the processes say to files there; MILLRACE_LOG_LEVEL chooses how much')
  .option('--json <file>', 'write the report to a file as well', outputFileOption)
  .addHelpText('after', `\nExamples:\n${examples}`)
  .showHelpAfterError(`For example:\n${examples}`)
  .exitOverride()

try {
  program.parse()
  const { json, logs, ...options } = program.opts<Given>()
  const report = await runChaos(options, {
    printLine: out,
    environment: process.env,
    ...(logs === undefined ? {} : { logsFolder: logs }),
  })
  print(report)
  await writeFigures(json, report)
  process.exitCode = report.violations === 0 ? exitCodes.done : exitCodes.failed
} catch (error) {
  // Commander has printed its own failures already.
  if ((error as { code?: string }).code?.startsWith('commander.') !== true)
    process.stderr.write(`${failureText(error)}\n`)
  process.exitCode = exitCodeOf(error)
}

function print(report: ChaosReport): void {
  const { kills, pauses, terms, redisEmptied, redisRestarts, kafkaRestarts, seconds, restartSeconds, termSeconds } =
    report
  out(
    `${kills} kills, ${pauses} pauses, ${terms} stops, Redis emptied ${redisEmptied} and killed ${redisRestarts} times, ` +
      `Kafka killed ${kafkaRestarts} times in ${seconds} s.`,
  )
  out(
    `${shown(report.predictions)} predictions: ${report.lost} lost, ${report.doubled} doubled, ${report.differing} differing; ` +
      `${shown(report.entities)} entities, ${report.differingFeatures} with differing features.`,
  )
  out(
    `  at least ${report.late} late, ${report.releasedEarly} released early, ${shown(report.restored)} folded again; ` +
      `${report.rejected} refused`,
  )
  out(
    `Restart to the first new prediction: ${timedText(restartSeconds)}; load of the machine ${report.load.join(' to ')}.`,
  )
  out(`SIGTERM to the end: ${timedText(termSeconds)}.`)
  if (report.violations > 0) out(`${report.violations} VIOLATIONS; --seed ${report.seed} draws the same faults again.`)
}

function timedText({ count, median, max }: Timed): string {
  return median === null ? 'not timed' : `${median.toFixed(2)} s median, ${max!.toFixed(2)} s at most, of ${count}`
}
