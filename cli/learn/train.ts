/** `millrace train`: the logged predictions and their labels into a new champion in the registry. */
import { modelToJson } from '../../online-model/registry/model-file.ts'
import { type TrainSummary, trainFromLog } from '../../online-model/trainer/train.ts'
import type { Broker } from '../../runtime/broker.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { type CommandContext, openPipelineBroker } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { loadPlan } from '../load-plan.ts'
import { shown, shownTime, type Terminal } from '../terminal.ts'
import { requireTopics } from '../topics/requirements.ts'
import { writeFigures, writeWholeFile } from '../whole-file.ts'
import { maturityText } from './data-format.ts'
import { recomputedVectors } from './recomputed-vectors.ts'

export interface TrainCommandOptions {
  /** File for the model. */
  readonly out?: string
  readonly rowsMax?: number
  /** File of `recompute` to take the vectors from. */
  readonly vectors?: string
  readonly json?: string
}

/** Recorded with the version: all that the fit draws comes from it. */
const seed = 0

export async function trainCommand(
  definition: string,
  options: TrainCommandOptions,
  context: CommandContext,
): Promise<number> {
  const { config } = context
  const plan = await loadPlan(definition, config)
  const { broker } = openPipelineBroker(plan, config, context)
  try {
    await train(plan, options, { ...context, broker })
    return exitCodes.done
  } finally {
    await broker.close()
  }
}

/** The training itself, with its progress on the terminal; an embedded `start` calls it on its own broker. */
export async function train(
  plan: Plan,
  options: TrainCommandOptions,
  { broker, clock, terminal }: Pick<CommandContext, 'clock' | 'terminal'> & { readonly broker: Broker },
): Promise<void> {
  const topics = {
    predictions: plan.predictions.topic,
    label: plan.streams[plan.label.stream]!.topic,
    models: plan.models.topic,
  }
  await requireTopics(broker.data, Object.values(topics))
  await broker.admin.requireRights([{ topic: topics.models, rights: ['Write'] }])
  const summary = await trainFromLog({
    broker: broker.data,
    plan,
    topics,
    seed,
    clock: clock.nowMs,
    printLine: (line) => terminal.err(line),
    by: 'millrace train',
    ...(options.vectors === undefined ? {} : { vectors: recomputedVectors(options.vectors, plan) }),
    ...(options.rowsMax === undefined ? {} : { rowsMax: options.rowsMax }),
  })
  printSummary(summary, plan.label, terminal)
  if (options.out !== undefined) {
    await writeWholeFile(options.out, modelToJson(summary.version))
    terminal.out(`  model written to ${options.out}`)
  }
  await writeFigures(options.json, { ...summary, version: summary.version.version })
}

function printSummary(summary: TrainSummary, label: Plan['label'], terminal: Terminal): void {
  const { version, previous, promoted, rows, positives, waiting, watermarkMs, skipped, metrics, note } = summary
  const standing = promoted
    ? `is the champion now, ${previous === null ? 'the first one' : `instead of ${previous}`}`
    : 'is not the champion: another change came first'
  terminal.out(`Model ${version.version} ${standing}.`)
  terminal.out(
    `  rows: ${shown(rows)}, ${shown(positives)} of them positive; ${note} in ${summary.seconds.toFixed(1)} s`,
  )
  terminal.out(
    `  waiting for their label: ${shown(waiting)} (${maturityText(label, 'due')}; both streams have ` +
      `passed ${shownTime(watermarkMs)})`,
  )
  if (summary.earlier > 0) {
    terminal.out(`  read of earlier definitions, without the features that have changed: ${shown(summary.earlier)}`)
  }
  const { foreign, rejectedLabels, rejectedValues, labelsAhead } = skipped
  if (foreign > 0) terminal.out(`  left out, scored under another definition: ${shown(foreign)}`)
  if (rejectedLabels + rejectedValues + labelsAhead > 0) {
    terminal.out(
      `  labels left out: ${shown(rejectedLabels)} no valid events, ${shown(rejectedValues)} with a value that is neither 0 nor 1, ` +
        `${shown(labelsAhead)} dated ahead`,
    )
  }
  terminal.out(
    `  on these rows: average precision ${metrics.averagePrecision.toFixed(4)}, AUC ${metrics.auc.toFixed(4)}, ` +
      `log-loss ${metrics.logLoss.toFixed(4)}`,
  )
}
