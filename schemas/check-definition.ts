/** Every mistake of a definition at once, each with path, expected and received. Called by `compile` before anything is derived. */
import { partitionsMax, streamsMax } from './canonical-order.ts'
import type { Aggregate, AnyStream, Derived, Entity, FieldRef, Input, Pipeline } from './definition.ts'
import { durationExpected, parseDuration } from './duration.ts'

export interface DefinitionProblem {
  readonly path: string
  readonly expected: string
  readonly received: string
}

export const featuresMax = 1_000
const topicName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/
const pipelineName = /^[a-z][a-z0-9-]{0,63}$/
const identifier = /^[A-Za-z_][A-Za-z0-9_]{0,63}$/

/** Aggregates, entities and streams that a definition reaches, each once, in order of first appearance. */
export interface Reached {
  readonly streams: readonly AnyStream[]
  readonly entities: readonly Entity[]
  readonly aggregates: ReadonlyArray<{ readonly path: string; readonly aggregate: Aggregate }>
}

export function reach(pipeline: Pipeline): Reached {
  const streams = new Set<AnyStream>([pipeline.scores])
  const entities = new Set<Entity>()
  const aggregates: Array<{ path: string; aggregate: Aggregate }> = []
  const visit = (path: string, input: Input) => {
    if (input.kind === 'derived') {
      input.inputs.forEach((inner, i) => {
        visit(`${path}.inputs[${i}]`, inner)
      })
    }
    if (input.kind === 'aggregate') {
      entities.add(input.by)
      streams.add(input.stream)
      aggregates.push({ path, aggregate: input })
    }
  }
  for (const [name, feature] of Object.entries(pipeline.features)) visit(`features.${name}`, feature as Input)
  streams.add(pipeline.label.from)
  return { streams: [...streams], entities: [...entities], aggregates }
}

export function checkDefinition(pipeline: Pipeline): DefinitionProblem[] {
  const problems: DefinitionProblem[] = []
  const report = (path: string, expected: string, received: unknown) => {
    problems.push({
      path,
      expected,
      received: typeof received === 'string' ? received : (JSON.stringify(received) ?? 'nothing'),
    })
  }
  const { streams, entities, aggregates } = reach(pipeline)

  if (!pipelineName.test(pipeline.name))
    report('name', 'lower-case letters, digits and dashes, at most 64', pipeline.name)
  if (!Number.isInteger(pipeline.version) || pipeline.version < 1)
    report('version', 'a whole number from 1', pipeline.version)
  if (streams.length > streamsMax) report('features', `at most ${streamsMax} streams`, `${streams.length} streams`)
  checkUnique(streams, 'streams', report)
  checkUnique(entities, 'entities', report)
  for (const stream of streams) checkStream(stream, report)
  for (const entity of entities) checkEntity(entity, pipeline, report)
  for (const { path, aggregate } of aggregates) checkAggregate(path, aggregate, report)
  checkPlacing(aggregates, report)
  checkFeatures(pipeline, report)
  checkLabel(pipeline, report)
  if (!(pipeline.model.l2 >= 0 && Number.isFinite(pipeline.model.l2)))
    report('model.l2', 'a number >= 0', pipeline.model.l2)
  return problems
}

type Report = (path: string, expected: string, received: unknown) => void

function checkUnique(named: ReadonlyArray<{ readonly name: string }>, what: string, report: Report): void {
  const seen = new Set<string>()
  for (const { name } of named) {
    if (seen.has(name)) report(`${what}.${name}`, 'one value of this name, used everywhere', 'two different values')
    seen.add(name)
  }
}

function checkStream(stream: AnyStream, report: Report): void {
  const path = `streams.${stream.name}`
  if (!topicName.test(stream.name)) report(path, 'a name of letters, digits, dots, dashes and underscores', stream.name)
  if (!topicName.test(stream.topic)) report(`${path}.topic`, 'a Kafka topic name', stream.topic)
  for (const [name, spec] of Object.entries(stream.specs)) {
    const field = `${path}.fields.${name}`
    if (!identifier.test(name)) report(field, 'a name of letters, digits and underscores', name)
    if (spec.min !== undefined && spec.max !== undefined && spec.min > spec.max)
      report(`${field}.min`, `<= max (${spec.max})`, spec.min)
    if (spec.decimals !== undefined && !(Number.isInteger(spec.decimals) && spec.decimals >= 0 && spec.decimals <= 9))
      report(`${field}.decimals`, 'a whole number from 0 to 9', spec.decimals)
    if (
      spec.lengthMax !== undefined &&
      !(Number.isInteger(spec.lengthMax) && spec.lengthMax >= 1 && spec.lengthMax <= 65_536)
    )
      report(`${field}.lengthMax`, 'a whole number from 1 to 65536', spec.lengthMax)
  }
  for (const [role, kind] of [
    ['id', 'text'],
    ['key', 'text'],
    ['time', 'timestamp'],
  ] as const) {
    const spec = stream.specs[stream[role]]
    if (!spec) report(`${path}.${role}`, `the name of a ${kind} field`, stream[role])
    else if (spec.kind !== kind) report(`${path}.${role}`, `a ${kind} field`, `${stream[role]}, which is ${spec.kind}`)
    else if (spec.optional)
      report(`${path}.${role}`, 'a field that is never missing', `${stream[role]}, which is optional`)
  }
  for (const role of ['disorder', 'lateness', 'ahead'] as const) {
    if (parseDuration(stream[role]) === null) report(`${path}.${role}`, durationExpected, stream[role])
  }
  const [disorder, lateness] = [parseDuration(stream.disorder), parseDuration(stream.lateness)]
  if (disorder !== null && lateness !== null && disorder > lateness)
    report(`${path}.disorder`, `at most lateness (${stream.lateness})`, stream.disorder)
}

function checkEntity(entity: Entity, pipeline: Pipeline, report: Report): void {
  const path = `entities.${entity.name}`
  if (!identifier.test(entity.name)) report(path, 'a name of letters, digits and underscores', entity.name)
  const seen = new Set<AnyStream>()
  for (const key of entity.keys) {
    if (seen.has(key.stream)) report(path, 'one key field a stream', `two of ${key.stream.name}`)
    seen.add(key.stream)
    if (key.spec.kind !== 'text' || key.spec.optional)
      report(path, 'text fields that are never missing', `${key.stream.name}.${key.name}`)
  }
  if (!seen.has(pipeline.scores))
    report(path, `a key field of the scored stream ${pipeline.scores.name}`, [...seen].map((s) => s.name).join(', '))
}

function checkAggregate(path: string, aggregate: Aggregate, report: Report): void {
  const { stream, field, by, over, lag, at } = aggregate
  const overMs = parseDuration(over)
  if (overMs === null || overMs === 0) report(`${path}.over`, `${durationExpected}, more than 0`, over)
  if (parseDuration(lag) === null) report(`${path}.lag`, durationExpected, lag)
  if (!by.keys.some((key) => key.stream === stream))
    report(`${path}.by`, `an entity with a key field of ${stream.name}`, by.name)
  if (field && field.spec.kind !== 'number' && field.spec.kind !== 'integer')
    report(path, 'a number or integer field', `${field.name}, which is ${field.spec.kind}`)
  if (at && (at.stream !== stream || at.spec.kind !== 'timestamp' || at.spec.optional))
    report(`${path}.at`, `a timestamp field of ${stream.name} that is never missing`, `${at.stream.name}.${at.name}`)
}

/** One place in time for a stream's facts in one entity's log. */
function checkPlacing(aggregates: Reached['aggregates'], report: Report): void {
  const placed = new Map<string, string>()
  for (const { path, aggregate } of aggregates) {
    const at = aggregate.at?.name ?? aggregate.stream.time
    const where = `${aggregate.by.name}/${aggregate.stream.name}`
    const other = placed.get(where)
    if (other !== undefined && other !== at)
      report(
        `${path}.at`,
        `${other}, as in the other aggregates of ${aggregate.stream.name} by ${aggregate.by.name}`,
        at,
      )
    placed.set(where, other ?? at)
  }
}

function checkFeatures(pipeline: Pipeline, report: Report): void {
  const features = Object.entries(pipeline.features)
  if (features.length === 0) report('features', 'at least one feature', 'none')
  if (features.length > featuresMax) report('features', `at most ${featuresMax} features`, `${features.length}`)
  for (const [name, feature] of features) {
    const path = `features.${name}`
    if (!identifier.test(name)) report(path, 'a name of letters, digits and underscores', name)
    if (feature.kind === 'field' && feature.spec.kind === 'text')
      report(path, 'a number, an aggregate or a derived value', `the text field ${feature.name}`)
    checkFields(path, feature as Input, pipeline, report)
  }
  if (
    !reach(pipeline).entities.some((entity) =>
      entity.keys.some((key) => key.stream === pipeline.scores && key.name === pipeline.scores.key),
    )
  )
    report(
      'features',
      `an aggregate by an entity whose key in ${pipeline.scores.name} is ${pipeline.scores.key}, the Kafka key of its topic`,
      'none',
    )
}

function checkFields(path: string, input: Input, pipeline: Pipeline, report: Report): void {
  if (input.kind === 'field') checkScoredField(path, input, pipeline, report)
  if (input.kind === 'derived') checkDerived(path, input, pipeline, report)
}

function checkScoredField(path: string, field: FieldRef, pipeline: Pipeline, report: Report): void {
  if (field.stream !== pipeline.scores)
    report(path, `a field of the scored stream ${pipeline.scores.name}`, `${field.stream.name}.${field.name}`)
}

function checkDerived(path: string, derived: Derived, pipeline: Pipeline, report: Report): void {
  if (derived.inputs.length === 0) report(path, 'at least one input', 'none')
  derived.inputs.forEach((input, i) => {
    checkFields(`${path}.inputs[${i}]`, input, pipeline, report)
  })
}

function checkLabel(pipeline: Pipeline, report: Report): void {
  const { from, value, otherwise } = pipeline.label
  if (from === pipeline.scores) report('label.from', 'another stream than the scored one', from.name)
  for (const [path, number] of [
    ['label.value', value],
    ['label.otherwise.value', otherwise.value],
  ] as const) {
    if (number !== 0 && number !== 1) report(path, '0 or 1', number)
  }
  if (value === otherwise.value)
    report('label.otherwise.value', `another value than label.value (${value})`, otherwise.value)
  if (parseDuration(otherwise.after) === null) report('label.otherwise.after', durationExpected, otherwise.after)
}

/** Partition counts that canonical order has room for. */
export function checkPartitions(partitions: number): DefinitionProblem[] {
  const good = Number.isInteger(partitions) && partitions >= 1 && partitions <= partitionsMax
  return good
    ? []
    : [{ path: 'partitions', expected: `a whole number from 1 to ${partitionsMax}`, received: String(partitions) }]
}
