/** `millrace models list` and `models show`: the versions of a registry, and everything about one of them. */

import { summaryOf } from '../../online-model/models/weights-summary.ts'
import { modelToJson } from '../../online-model/registry/model-file.ts'
import { aliasesOf, isRolledBack, type RegistryState } from '../../online-model/registry/registry.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { shownTime, tableLines } from '../terminal.ts'
import { writeFigures, writeWholeFile } from '../whole-file.ts'
import { askTrainer, servedLines } from './ask-trainer.ts'
import { type OpenRegistry, shownFigure, standingOf, versionNamed, withRegistry } from './open-registry.ts'

export interface ModelsListOptions {
  readonly count: number
  /** URL of the trainer; this machine's as configured by default. */
  readonly trainer?: string
  readonly json?: string
}

export interface ModelsShowOptions {
  readonly out?: string
  readonly json?: string
}

/** Shown where any listed version has them, in this order. */
const columns = ['rows', 'positives', 'averagePrecision', 'auc', 'logLoss', 'brier'] as const
const featuresShownMax = 20
const changesShownMax = 20

export async function modelsListCommand(
  definition: string,
  { count, trainer, json }: ModelsListOptions,
  context: CommandContext,
): Promise<number> {
  const { terminal, config } = context
  return await withRegistry(definition, context, async (open) => {
    const { state, plan } = open
    const newest = [...state.versions.values()].slice(-count).reverse()
    for (const line of listLines(open, newest)) terminal.out(line)
    const left = state.versions.size - newest.length
    if (left > 0) terminal.out(`${left} older ones are not listed (--count).`)
    const answer = await askTrainer(trainer ?? `http://${config.httpHost}:${config.trainerPort}`, plan.models.topic)
    if (newest.length > 0) for (const line of ['', ...servedLines(answer)]) terminal.out(line)
    const versions = newest.map((version) => ({
      ...withoutWeights(version),
      aliases: aliasesOf(state, version.version),
      standing: standingOf(state, plan, version),
    }))
    const evaluation =
      'response' in answer ? { served: answer.response.served, shadows: answer.response.shadows } : null
    await writeFigures(json, { pipeline: plan.name, versions, history: state.history, evaluation })
    return exitCodes.done
  })
}

function listLines({ state, plan }: OpenRegistry, versions: readonly ModelVersion[]): string[] {
  if (versions.length === 0) return [`${plan.models.topic} has no version yet. Type: millrace train <definition>`]
  const shown = columns.filter((name) => versions.some(({ metrics }) => metrics[name] !== undefined))
  const rows = versions.map((version) => {
    const { version: name, createdAtMs, origin, metrics, model } = version
    const standing = [...aliasesOf(state, name), ...standingOf(state, plan, version)].join(', ')
    const figures = shown.map((column) => (metrics[column] === undefined ? '' : shownFigure(metrics[column])))
    return [name, standing, shownTime(createdAtMs), origin, summaryOf(model).shape, ...figures]
  })
  return tableLines([['version', 'standing', 'made', 'origin', 'model', ...shown], ...rows])
}

export async function modelsShowCommand(
  definition: string,
  name: string,
  { out, json }: ModelsShowOptions,
  context: CommandContext,
): Promise<number> {
  const { terminal } = context
  return await withRegistry(definition, context, async (open) => {
    const version = versionNamed(open, name)
    for (const line of showLines(open, version)) terminal.out(line)
    if (out !== undefined) {
      await writeWholeFile(out, modelToJson(version))
      terminal.out(`model written to ${out}`)
    }
    const { state, plan } = open
    await writeFigures(json, {
      ...version,
      aliases: aliasesOf(state, name),
      standing: standingOf(state, plan, version),
      changes: changesOf(state, name),
      notes: state.notes.get(name) ?? [],
    })
    return exitCodes.done
  })
}

function showLines({ state, plan }: OpenRegistry, version: ModelVersion): string[] {
  const { version: name, createdAtMs, origin, parent, fingerprint, seed, model, metrics, trainedOn } = version
  const summary = summaryOf(model)
  const standing = [...aliasesOf(state, name), ...standingOf(state, plan, version)].join(', ') || 'no alias'
  const figures = Object.entries(metrics).map(([metric, value]) => `${metric} ${shownFigure(value)}`)
  const values = [...summary.values].sort((a, b) => Math.abs(b.value) - Math.abs(a.value))
  const weights = values.slice(0, featuresShownMax).map(({ feature, value }) => [`  ${feature}`, shownFigure(value)])
  const left = values.length - weights.length
  return [
    `${name}: ${standing}`,
    `  made ${shownTime(createdAtMs)} (${origin}), parent ${parent ?? 'none'}, seed ${seed}, definition ${fingerprint}`,
    `  figures: ${figures.join(', ') || 'none'}`,
    ...trainedOn.map(({ topic, partition, offset }) => `  trained on ${topic}-${partition} before offset ${offset}`),
    `  model: ${summary.shape}, ${summary.parameters} parameters`,
    ...(summary.meaning === null ? [] : [`  ${summary.meaning}, greatest first:`]),
    ...tableLines(weights).map((line) => `  ${line}`),
    ...(left > 0 ? [`    and ${left} more features`] : []),
    ...historyLines(state, name),
  ]
}

/** Changes of the aliases that this version had or lost. */
function changesOf(state: RegistryState, name: string) {
  return state.history.filter(({ version, previous }) => version === name || previous === name)
}

function historyLines(state: RegistryState, name: string): string[] {
  const changes = changesOf(state, name).map(({ alias, version, previous, changedAtMs, by, reason, action }) => {
    const way = `${alias}: ${previous ?? 'none'} -> ${version ?? 'none'}${action === 'set' ? '' : ` (${action})`}`
    return { atMs: changedAtMs, line: `${way}, by ${by}: ${reason}` }
  })
  const notes = (state.notes.get(name) ?? []).map(({ note, notedAtMs, by, reason, against }) => {
    return { atMs: notedAtMs, line: `${note}${against === null ? '' : ` against ${against}`}, by ${by}: ${reason}` }
  })
  const all = [...changes, ...notes].sort((a, b) => a.atMs - b.atMs).slice(-changesShownMax)
  const rollback = isRolledBack(state, name)
    ? ['  It was rolled back: only models promote makes it the champion again.']
    : []
  if (all.length === 0) return ['  nothing has become of it yet', ...rollback]
  return ['  what became of it:', ...all.map(({ atMs, line }) => `    ${shownTime(atMs)}  ${line}`), ...rollback]
}

function withoutWeights({ model, ...version }: ModelVersion) {
  const { shape, parameters } = summaryOf(model)
  return { ...version, model: { kind: model.kind, shape, parameters } }
}
