/**
 * A model version in, the text of a model file out, and back with every mistake named; called by export and by `replay
 * --model`.
 */
import { PipelineError } from '../schemas/errors.ts'
import type { LogisticWeights, ModelVersion } from '../schemas/plan.ts'

const format = 'millrace-model/1'

/** JSON; numbers survive the round trip bit for bit. */
export function modelToJson(version: ModelVersion): string {
  return `${JSON.stringify({ format, ...version }, null, 2)}\n`
}

/** `place` names the source in messages. Throws `input_unreadable` with all mistakes of the text. */
export function modelFromJson(text: string, place: string): ModelVersion {
  const root = parse(text, place)
  const problems: string[] = []
  const check = checksInto(problems)
  if (root.format !== format) problems.push(`format: expected "${format}", received ${show(root.format)}`)
  if (root.kind !== 'version') problems.push(`kind: expected "version", received ${show(root.kind)}`)
  const version: ModelVersion = {
    kind: 'version',
    version: check.text(root.version, 'version'),
    createdAtMs: check.number(root.createdAtMs, 'createdAtMs'),
    fingerprint: check.text(root.fingerprint, 'fingerprint'),
    seed: check.number(root.seed, 'seed'),
    model: weightsFrom(root.model, check, problems),
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
  }
  if (problems.length > 0) {
    throw new PipelineError('input_unreadable', `${place} is no model file: ${problems.join('; ')}.`, {
      details: { place, problems },
    })
  }
  return version
}

type Checks = ReturnType<typeof checksInto>

function weightsFrom(value: unknown, check: Checks, problems: string[]): LogisticWeights {
  const model = check.object(value, 'model')
  if (model.kind !== 'logistic') problems.push(`model.kind: expected "logistic", received ${show(model.kind)}`)
  const numbers = (name: string): number[] =>
    check.list(model[name], `model.${name}`).map((entry, i) => check.number(entry, `model.${name}[${i}]`))
  const features = check
    .list(model.features, 'model.features')
    .map((entry, i) => check.text(entry, `model.features[${i}]`))
  const [means, scales, weights] = [numbers('means'), numbers('scales'), numbers('weights')]
  for (const [name, list] of Object.entries({ means, scales, weights })) {
    if (list.length !== features.length) {
      problems.push(`model.${name}: expected ${features.length} values, one a feature, received ${list.length}`)
    }
  }
  scales.forEach((scale, i) => {
    if (scale <= 0) problems.push(`model.scales[${i}]: expected a positive number, received ${scale}`)
  })
  return {
    kind: 'logistic',
    features,
    means,
    scales,
    weights,
    intercept: check.number(model.intercept, 'model.intercept'),
  }
}

function parse(text: string, place: string): Record<string, unknown> {
  let root: unknown
  try {
    root = JSON.parse(text)
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new PipelineError('input_unreadable', `${place} is no model file: it is not JSON (${reason}).`, { cause })
  }
  if (isObject(root)) return root
  throw new PipelineError(
    'input_unreadable',
    `${place} is no model file: expected a JSON object, received ${show(root)}.`,
  )
}

/** Each check notes what is wrong and goes on with an empty value, so that all mistakes are found in one go. */
function checksInto(problems: string[]) {
  const expect = (path: string, expected: string, value: unknown): void => {
    problems.push(`${path}: expected ${expected}, received ${show(value)}`)
  }
  return {
    text: (value: unknown, path: string): string => {
      if (typeof value === 'string' && value !== '') return value
      expect(path, 'text', value)
      return ''
    },
    number: (value: unknown, path: string): number => {
      if (typeof value === 'number' && Number.isFinite(value)) return value
      expect(path, 'a finite number', value)
      return 1
    },
    list: (value: unknown, path: string): unknown[] => {
      if (Array.isArray(value)) return value
      expect(path, 'a list', value)
      return []
    },
    object: (value: unknown, path: string): Record<string, unknown> => {
      if (isObject(value)) return value
      expect(path, 'an object', value)
      return {}
    },
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function show(value: unknown): string {
  return value === undefined ? 'nothing' : (JSON.stringify(value).slice(0, 60) ?? 'nothing')
}
