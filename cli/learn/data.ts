/** `millrace data`: the profile of a pipeline's training set, as text and as a page; its rows to Parquet and back. */
import { type DataProfile, profileStore, quantileShares } from '../../online-model/training-store/profile.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { loadPlan } from '../load-plan.ts'
import { shown, shownTime, type Terminal, tableLines } from '../terminal.ts'
import { writeFigures, writeWholeFile } from '../whole-file.ts'
import { maturityText, missingShare, percent, short } from './data-format.ts'
import { dataPage } from './data-page.ts'
import { findTrainingStore, openStoreToImport } from './open-training-store.ts'

export interface DataCommandOptions {
  readonly store?: string
  readonly import?: string
  readonly export?: string
  readonly json?: string
  readonly html?: string
}

/** Days that the text shows; the page and the JSON have all. */
const daysShown = 14

export async function dataCommand(
  definition: string,
  options: DataCommandOptions,
  context: CommandContext,
): Promise<number> {
  const { config, terminal } = context
  const plan = await loadPlan(definition, config)
  const found = await (options.import === undefined
    ? findTrainingStore(plan, options.store, context)
    : openStoreToImport(plan, options.store, context))
  if (found === null) return exitCodes.interrupted
  try {
    if (options.import !== undefined) {
      const rows = await found.store.importParquet(options.import)
      terminal.out(`${shown(rows)} new rows from ${options.import}`)
    }
    const profile = await profileStore(found.store)
    printProfile(profile, plan, found.source, terminal)
    if (options.export !== undefined) {
      const rows = await found.store.exportParquet(options.export)
      terminal.out(`${shown(rows)} rows written to ${options.export}`)
    }
    await writeFigures(options.json, { pipeline: plan.name, source: found.source, quantileShares, ...profile })
    if (options.html !== undefined) {
      await writeWholeFile(options.html, dataPage(plan.name, found.source, profile))
      terminal.out(`page written to ${options.html}`)
    }
    return exitCodes.done
  } finally {
    await found.close()
  }
}

function printProfile(profile: DataProfile, plan: Plan, source: string, terminal: Terminal): void {
  const { rows, positives, rate, labels, status } = profile
  terminal.out(
    `Training set of ${plan.name}: ${shown(rows)} mature rows, ${shown(positives)} positive (${percent(rate)} of events)`,
  )
  terminal.out(`  from: ${source}`)
  terminal.out(`  events: ${shownTime(profile.fromMs)} to ${shownTime(profile.untilMs)}`)
  terminal.out(
    `  waiting for their label: ${shown(profile.waiting)} (${maturityText(plan.label)}; ` +
      `both streams have passed ${shownTime(status.watermarkMs)})`,
  )
  terminal.out(
    `  labels: ${shown(labels.named)} in time, ${shown(labels.late)} later, ${shown(labels.corrected)} of these changed the row; ` +
      `${shown(labels.withdrawn)} withdrawn; ${shown(profile.labelsWithoutRow)} without a row`,
  )
  const { earlier } = status.counts
  if (earlier > 0) terminal.out(`  of earlier definitions, without the features that have changed: ${shown(earlier)}`)
  const {
    duplicatePredictions,
    foreign,
    rejectedLabels,
    rejectedValues,
    labelsAhead,
    passedOver,
    expired,
    sampledOut,
  } = status.counts
  const left = [
    [duplicatePredictions, 'predicted again'],
    [foreign, 'of another definition'],
    [rejectedLabels, 'labels that are no valid events'],
    [rejectedValues, 'labels whose value is neither 0 nor 1'],
    [labelsAhead, 'labels dated ahead'],
    [passedOver, 'offsets removed before they were read'],
    [expired, 'too old by now'],
    [sampledOut, 'sampled out'],
  ] as const
  const skipped = left.filter(([count]) => count > 0).map(([count, what]) => `${shown(count)} ${what}`)
  if (skipped.length > 0) terminal.out(`  left out: ${skipped.join(', ')}`)
  if (rows === 0) return
  terminal.out('')
  const days = profile.days.slice(-daysShown)
  const dayRows = days.map(({ day, rows, positives, rate }) => [day, shown(rows), shown(positives), percent(rate)])
  for (const line of tableLines([['day', 'rows', 'positive', 'rate'], ...dayRows])) terminal.out(line)
  if (profile.days.length > days.length) terminal.out(`(${profile.days.length - days.length} days before)`)
  terminal.out('')
  const head = [
    'feature',
    'missing',
    'min',
    ...quantileShares.map((share) => `${share * 100} %`),
    'max',
    'mean',
    'mean of 1',
    'of 0',
  ]
  const lines = profile.features.map(({ name, all, positives, negatives }) => [
    name,
    percent(missingShare(all)),
    ...[
      all.min,
      ...(all.quantiles ?? quantileShares.map(() => null)),
      all.max,
      all.mean,
      positives.mean,
      negatives.mean,
    ].map(short),
  ])
  for (const line of tableLines([head, ...lines])) terminal.out(line)
}
