/**
 * A model version in, the text of a model file out, and back with every mistake named; called by export and by `replay
 * --model`.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { ModelVersion, VersionOrigin } from '../../schemas/wire/records.ts'
import { checksInto, isObject, show } from '../models/json-checks.ts'
import { weightsFrom } from './weights-json.ts'

const format = 'millrace-model/1'

/** JSON; numbers survive the round trip bit for bit. */
export function modelToJson(version: ModelVersion): string {
  return `${JSON.stringify({ format, ...version }, null, 2)}\n`
}

/** `source` names the file in messages. Throws `input_unreadable` with all mistakes of the text. */
export function modelFromJson(text: string, source: string): ModelVersion {
  const root = parse(text, source)
  const problems: string[] = []
  const check = checksInto(problems)
  if (root.format !== format) problems.push(`format: expected "${format}", received ${show(root.format)}`)
  if (root.kind !== 'version') problems.push(`kind: expected "version", received ${show(root.kind)}`)
  const version: ModelVersion = {
    kind: 'version',
    version: check.text(root.version, 'version'),
    createdAtMs: check.number(root.createdAtMs, 'createdAtMs'),
    fingerprint: check.text(root.fingerprint, 'fingerprint'),
    // Files from before are good for their own definition.
    ...(root.identities === undefined ? {} : { identities: textsIn(root.identities, check) }),
    seed: check.number(root.seed, 'seed'),
    model: weightsFrom(root.model, check),
    metrics: Object.fromEntries(
      Object.entries(check.object(root.metrics, 'metrics')).map(([name, value]) => [
        name,
        check.number(value, `metrics.${name}`),
      ]),
    ),
    trainedOn: check.list(root.trainedOn, 'trainedOn').map((entry, i) => {
      const position = check.object(entry, `trainedOn[${i}]`)
      return {
        topic: check.text(position.topic, `trainedOn[${i}].topic`),
        partition: check.number(position.partition, `trainedOn[${i}].partition`),
        offset: check.number(position.offset, `trainedOn[${i}].offset`),
      }
    }),
    // Files before lineage came from `train`.
    parent: root.parent === undefined || root.parent === null ? null : check.text(root.parent, 'parent'),
    origin: root.origin === undefined ? 'manual' : originFrom(root.origin, problems),
  }
  if (problems.length > 0) {
    throw new PipelineError('input_unreadable', `${source} is no model file: ${problems.join('; ')}.`, {
      details: { source, problems },
    })
  }
  return version
}

function textsIn(value: unknown, check: ReturnType<typeof checksInto>): Record<string, string> {
  const entries = Object.entries(check.object(value, 'identities'))
  return Object.fromEntries(entries.map(([name, text]) => [name, check.text(text, `identities.${name}`)]))
}

const origins: readonly VersionOrigin[] = ['retrain', 'continuous', 'import', 'manual']

function originFrom(value: unknown, problems: string[]): VersionOrigin {
  const origin = origins.find((one) => one === value)
  if (origin === undefined) problems.push(`origin: expected one of ${origins.join(', ')}, received ${show(value)}`)
  return origin ?? 'manual'
}

function parse(text: string, source: string): Record<string, unknown> {
  let root: unknown
  try {
    root = JSON.parse(text)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new PipelineError('input_unreadable', `${source} is no model file: it is not JSON (${reason}).`, { cause })
  }
  if (isObject(root)) return root
  throw new PipelineError(
    'input_unreadable',
    `${source} is no model file: expected a JSON object, received ${show(root)}.`,
  )
}
