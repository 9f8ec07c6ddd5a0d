/** Every mistake of a definition at once, each with path, expected and received. Called by `compile` before anything is derived. */
import { partitionsMax, streamsMax } from '../kernel/canonical-order.ts'
import { durationExpected, parseDuration } from '../kernel/duration.ts'
import type { FieldKind } from '../kernel/event.ts'
import { isRecord, type Report } from '../kernel/report.ts'
import { predictionFormats } from '../wire/prediction-format.ts'
import {
  checkAggregate,
  checkEntity,
  checkFactTimes,
  checkRoutes,
  checkSlotNames,
  isDeclared,
} from './check-aggregates.ts'
import { checkLearn, checkModel } from './check-model.ts'
import { checkNames } from './check-names.ts'
import { checkStream } from './check-stream.ts'
import { type Derived, deliveries, type FieldRef, type Pipeline } from './definition.ts'
import {
  createReport,
  type DefinitionProblem,
  fieldName,
  identifierExpected,
  isAggregate,
  isDerived,
  isEntity,
  isField,
  isIdentifier,
  isStream,
} from './definition-problem.ts'
import { inStageOrder, keyOf, type Reached, reach } from './reach.ts'

export const featuresMax = 1_000
/** Repartition records carry a position for every entity and a number for every aggregate beside the event. */
const entitiesMax = 32
const aggregatesMax = 10_000
const pipelineName = /^[a-z][a-z0-9-]{0,63}$/
/** Of fields that can hold an outcome. */
const outcomeKinds: readonly FieldKind[] = ['number', 'integer', 'flag']
const inputExpected = 'a field, an aggregate or a derived value'

export function checkDefinition(pipeline: Pipeline): DefinitionProblem[] {
  const { problems, report } = createReport()
  if (!isRecord(pipeline)) {
    report('pipeline', 'what definePipeline returns', pipeline)
    return problems
  }
  const reached = reach(pipeline)
  checkHead(pipeline, report)
  if (reached.streams.length > streamsMax)
    report('features', `at most ${streamsMax} streams`, `${reached.streams.length} streams`)
  if (reached.entities.length > entitiesMax)
    report('features', `at most ${entitiesMax} entities`, `${reached.entities.length} entities`)
  if (reached.aggregates.length > aggregatesMax)
    report('features', `at most ${aggregatesMax} aggregates`, `${reached.aggregates.length} aggregates`)
  checkNames(pipeline, reached, report)
  for (const stream of reached.streams) checkStream(stream, report)
  for (const entity of reached.entities) checkEntity(entity, pipeline.scores, report)
  for (const { path, aggregate } of reached.aggregates) checkAggregate(path, aggregate, report)
  checkFactTimes(reached.aggregates, report)
  if (isStream(pipeline.scores)) checkRoutes(pipeline.scores, reached.entities, reached.aggregates, report)
  checkFeatures(pipeline, reached, report)
  checkLabel(pipeline, report)
  checkModel(pipeline, report)
  checkLearn(pipeline, report)
  // What an aggregate comes to is known only where its parts are sound.
  if (problems.length === 0) checkSlotNames(reached.aggregates, report)
  return problems
}

function checkHead({ name, version, scores, delivery, predictionFormat }: Pipeline, report: Report): void {
  if (typeof name !== 'string' || !pipelineName.test(name))
    report('name', 'lower-case letters, digits and dashes that begin with a letter, at most 64', name)
  if (!Number.isSafeInteger(version) || version < 1) report('version', 'a whole number from 1', version)
  if (!isStream(scores)) report('scores', 'a stream', scores)
  if (delivery !== undefined && !deliveries.includes(delivery))
    report('delivery', `one of ${deliveries.join(', ')}`, delivery)
  if (predictionFormat !== undefined && !predictionFormats.includes(predictionFormat))
    report('predictionFormat', `one of ${predictionFormats.join(', ')}`, predictionFormat)
}

function checkFeatures(pipeline: Pipeline, reached: Reached, report: Report): void {
  if (!isRecord(pipeline.features)) {
    report('features', 'the features of the vector by name', pipeline.features)
    return
  }
  const features = Object.entries(pipeline.features)
  if (features.length === 0) report('features', 'at least one feature', 'none')
  if (features.length > featuresMax) report('features', `at most ${featuresMax} features`, `${features.length}`)
  for (const [name, feature] of features) {
    const path = `features.${name}`
    if (!isIdentifier(name)) report(path, identifierExpected, name)
    if (isField(feature) && (feature as FieldRef).spec?.kind === 'text')
      report(path, 'a number, an aggregate or a derived value', `the text field ${feature.name}`)
    checkInput(path, feature, pipeline, report)
  }
  if (features.length > 0 && isStream(pipeline.scores)) checkFirstEntity(pipeline, reached, report)
}

/** Events arrive by the key of their topic, so the first stage must be that of the entity which this key names. */
function checkFirstEntity({ scores }: Pipeline, { entities, aggregates }: Reached, report: Report): void {
  // An invalid entity may be the one that is searched for here.
  if (aggregates.some(({ aggregate }) => !isEntity(aggregate.by))) return
  if (inStageOrder(scores, entities).length > 0) return
  const expected = `an aggregate by an entity keyed in ${scores.name} by ${scores.key}, the Kafka key of its topic`
  const keys = entities.map((entity) => `${entity.name} with ${keyOf(entity, scores) ?? 'no key'}`)
  report('features', expected, keys.length > 0 ? keys.join(', ') : 'none')
}

function checkInput(path: string, input: unknown, pipeline: Pipeline, report: Report): void {
  if (isField(input)) checkScoredField(path, input, pipeline, report)
  else if (isDerived(input)) checkDerived(path, input, pipeline, report)
  else if (!isAggregate(input)) report(path, inputExpected, input)
}

function checkScoredField(path: string, field: FieldRef, { scores }: Pipeline, report: Report): void {
  if (!isStream(scores)) return
  if (field.stream !== scores) report(path, `a field of the scored stream ${scores.name}`, fieldName(field))
  else if (!isDeclared(field)) report(path, `a field of ${scores.name}`, field)
}

function checkDerived(path: string, derived: Derived, pipeline: Pipeline, report: Report): void {
  if (typeof derived.compute !== 'function') report(`${path}.compute`, 'a function of the inputs', derived.compute)
  if (derived.inputs.length === 0) report(path, 'at least one input', 'none')
  derived.inputs.forEach((input, i) => {
    checkInput(`${path}.inputs[${i}]`, input, pipeline, report)
  })
}

function checkLabel({ label, scores }: Pipeline, report: Report): void {
  if (!isRecord(label)) {
    report('label', 'from, value and otherwise', label)
    return
  }
  if (!isStream(label.from)) report('label.from', 'a stream', label.from)
  else if (label.from === scores) report('label.from', 'another stream than the scored one', label.from.name)
  checkReported(label, report)
  if (!isRecord(label.otherwise)) {
    report('label.otherwise', 'value and after', label.otherwise)
    return
  }
  const { value, after } = label.otherwise
  checkOutcome('label.otherwise.value', value, report)
  if (value === label.value && !isField(value))
    report('label.otherwise.value', `another value than label.value (${value})`, value)
  if (parseDuration(after) === null) report('label.otherwise.after', durationExpected, after)
}

function checkReported({ from, value }: Pipeline['label'], report: Report): void {
  if (isField(value)) {
    if (!isStream(from)) return
    if (value.stream !== from || !isDeclared(value)) report('label.value', `a field of ${from.name}`, value)
    else if (!outcomeKinds.includes(value.spec.kind))
      report('label.value', 'a number, integer or flag field', `${value.name}, which is ${value.spec.kind}`)
  } else if (value !== 0 && value !== 1) report('label.value', '0, 1 or a field of the stream', value)
}

function checkOutcome(path: string, value: unknown, report: Report): void {
  if (value !== 0 && value !== 1) report(path, '0 or 1', value)
}

const namespaceName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/

/** A namespace is the prefix of every topic, group and key. */
export function checkNamespace(namespace: string): DefinitionProblem[] {
  if (namespaceName.test(namespace)) return []
  const expected = 'letters, digits, dots, dashes and underscores that begin with a letter or digit, at most 64'
  return [{ path: 'namespace', expected, received: namespace }]
}

/** Partition counts that canonical order has room for. */
export function checkPartitions(partitions: number): DefinitionProblem[] {
  const good = Number.isInteger(partitions) && partitions >= 1 && partitions <= partitionsMax
  return good
    ? []
    : [{ path: 'partitions', expected: `a whole number from 1 to ${partitionsMax}`, received: String(partitions) }]
}
