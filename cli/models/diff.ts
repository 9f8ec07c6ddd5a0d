/** `millrace models diff`: two versions beside each other. */
import { differenceOf } from '../../online-model/models/weights-summary.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { shownTime, tableLines } from '../terminal.ts'
import { writeFigures } from '../whole-file.ts'
import { shownFigure, versionNamed, withRegistry } from './open-registry.ts'

export interface ModelsDiffOptions {
  readonly json?: string
}

const featuresShownMax = 20

export async function modelsDiffCommand(
  definition: string,
  name: string,
  otherName: string,
  { json }: ModelsDiffOptions,
  context: CommandContext,
): Promise<number> {
  const { terminal } = context
  return await withRegistry(definition, context, async (open) => {
    const [first, second] = [versionNamed(open, name), versionNamed(open, otherName)]
    const rows = [...lineageRows(first, second), ...metricRows(first, second), ...positionRows(first, second)]
    for (const line of tableLines([['', name, otherName, 'difference'], ...rows])) terminal.out(line)
    const weights = differenceOf(first.model, second.model)
    terminal.out(weights.difference)
    for (const feature of weights.onlyInFirst) terminal.out(`Only ${name} has the feature ${feature}.`)
    for (const feature of weights.onlyInSecond) terminal.out(`Only ${otherName} has the feature ${feature}.`)
    for (const line of weightLines(weights.byFeature, name, otherName)) terminal.out(line)
    await writeFigures(json, { first, second, weights })
    return exitCodes.done
  })
}

/** What is the same of both is left out. */
function lineageRows(first: ModelVersion, second: ModelVersion): string[][] {
  const facts = (version: ModelVersion) => {
    const { createdAtMs, origin, parent, fingerprint, seed } = version
    return { made: shownTime(createdAtMs), origin, parent: parent ?? 'none', definition: fingerprint, seed: `${seed}` }
  }
  const [one, two] = [facts(first), facts(second)]
  const names = Object.keys(one) as Array<keyof typeof one>
  return names.filter((fact) => one[fact] !== two[fact]).map((fact) => [fact, one[fact], two[fact]])
}

function metricRows(first: ModelVersion, second: ModelVersion): string[][] {
  const names = [...new Set([...Object.keys(first.metrics), ...Object.keys(second.metrics)])]
  return names.map((name) => difference(name, first.metrics[name], second.metrics[name]))
}

function positionRows(first: ModelVersion, second: ModelVersion): string[][] {
  const offsets = ({ trainedOn }: ModelVersion) =>
    new Map(trainedOn.map(({ topic, partition, offset }) => [`${topic}-${partition}`, offset]))
  const [one, two] = [offsets(first), offsets(second)]
  return [...new Set([...one.keys(), ...two.keys()])].map((topicPartition) =>
    difference(topicPartition, one.get(topicPartition), two.get(topicPartition)),
  )
}

function difference(name: string, first: number | undefined, second: number | undefined): string[] {
  const shown = (value: number | undefined) => (value === undefined ? '' : shownFigure(value))
  const by = first === undefined || second === undefined ? undefined : second - first
  return [name, shown(first), shown(second), by !== undefined && by > 0 ? `+${shown(by)}` : shown(by)]
}

function weightLines(
  byFeature: ReadonlyArray<{ readonly feature: string; readonly first: number; readonly second: number }>,
  name: string,
  otherName: string,
): string[] {
  if (byFeature.length === 0) return []
  const rows = byFeature
    .slice(0, featuresShownMax)
    .map(({ feature, first, second }) => difference(feature, first, second))
  const left = byFeature.length - rows.length
  return [
    ...tableLines([['weights', name, otherName, 'difference'], ...rows]),
    ...(left > 0 ? [`and ${left} more features`] : []),
  ]
}
