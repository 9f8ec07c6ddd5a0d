/** Every mistake of a definition at once, each with path, expected and received. Called by `compile` before anything is derived. */
import { partitionsMax, streamsMax } from '../kernel/canonical-order.ts'
import { durationExpected, parseDuration } from '../kernel/duration.ts'
import { either, isRecord, type Report } from '../kernel/report.ts'
import { checkKeys, namesOf } from '../kernel/stray-options.ts'
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
import {
  type Derived,
  deliveries,
  type FieldRef,
  type FieldSpec,
  type Label,
  labelLearnings,
  type Otherwise,
  type Pipeline,
  pipelineOptions,
} from './definition.ts'
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
/** Any other number would be an event without a label, which then counts as whatever `otherwise` says. */
const outcomeExpected =
  'a flag field, or integer({ min: 0, max: 1 }), so that a report of anything but 0 and 1 is rejected'
const labelOptions = namesOf<Label>({ from: true, value: true, otherwise: true, learn: true })
const otherwiseOptions = namesOf<Otherwise>({ value: true, after: true })
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

function checkHead({ kind: _, ...definition }: Pipeline, report: Report): void {
  const { name, version, scores, delivery, predictionFormat } = definition
  checkKeys('', 'definePipeline()', pipelineOptions, { ...definition }, report)
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
  checkKeys('label', 'label', labelOptions, label, report)
  if (!isStream(label.from)) report('label.from', 'a stream', label.from)
  else if (label.from === scores) report('label.from', 'another stream than the scored one', label.from.name)
  checkReported(label, report)
  checkOtherwise(label, report)
  checkLabelLearning(label, report)
}

function checkOtherwise({ value: reported, otherwise }: Label, report: Report): void {
  if (otherwise === 'unknown') {
    checkBothReported('label.value', reported, report)
    return
  }
  if (!isRecord(otherwise)) {
    report('label.otherwise', "{ value, after } or 'unknown'", otherwise)
    return
  }
  checkKeys('label.otherwise', 'otherwise', otherwiseOptions, otherwise, report)
  const { value, after } = otherwise as Partial<Otherwise>
  if (value === 'unknown') checkBothReported('label.value', reported, report)
  else if (value !== 0 && value !== 1) report('label.otherwise.value', "0, 1 or 'unknown'", value)
  else if (value === reported) report('label.otherwise.value', `another value than label.value (${value})`, value)
  if (parseDuration(String(after)) === null) report('label.otherwise.after', durationExpected, after)
}

function checkLabelLearning({ value, otherwise, learn }: Label, report: Report): void {
  if (learn === undefined) return
  if (!labelLearnings.includes(learn)) report('label.learn', either(labelLearnings), learn)
  else if (learn === 'on-arrival') checkBothReported('label.learn', value, report)
  else if (otherwise === 'unknown')
    report('label.learn', "on-arrival, or otherwise: { value: 'unknown', after } with the time to wait for", learn)
}

/** Where one outcome alone is reported, only waiting tells the other from it. */
function checkBothReported(path: string, reported: unknown, report: Report): void {
  if (reported !== 0 && reported !== 1) return
  const remedy =
    path === 'label.value' ? 'a field that reports both outcomes' : 'when-due, or a label.value from a field'
  report(
    path,
    `${remedy}, since nothing else could be ${1 - reported}`,
    path === 'label.value' ? reported : 'on-arrival',
  )
}

function checkReported({ from, value }: Pipeline['label'], report: Report): void {
  if (isField(value)) {
    if (!isStream(from)) return
    if (value.stream !== from || !isDeclared(value)) report('label.value', `a field of ${from.name}`, value)
    else if (!isOutcome(value.spec))
      report('label.value', outcomeExpected, `${value.name}, which is ${shape(value.spec)}`)
  } else if (value !== 0 && value !== 1) report('label.value', '0, 1 or a field of the stream', value)
}

/** A flag, or numbers of which only 0 and 1 are valid. */
function isOutcome({ kind, min, max, decimals }: FieldSpec): boolean {
  if (kind === 'flag') return true
  return min === 0 && max === 1 && (kind === 'integer' || (kind === 'number' && decimals === 0))
}

function shape({ kind, min, max, decimals }: FieldSpec): string {
  if (kind !== 'number' && kind !== 'integer') return kind
  const limits = Object.entries({ min, max, decimals }).filter(([, limit]) => limit !== undefined)
  return limits.length === 0 ? kind : `${kind} with ${limits.map((limit) => limit.join(' ')).join(', ')}`
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
