/** From a definition to its plan, once, at start: `compile(pipeline, { namespace })` checks everything and derives everything. */

import { checkDefinition, checkNamespace } from '../definition/check-definition.ts'
import { rekeyStage } from '../definition/check-names.ts'
import {
  type Aggregate,
  type AnyStream,
  type Entity,
  entity,
  type Feature,
  type Input,
  type Pipeline,
} from '../definition/definition.ts'
import { type DefinitionProblem, describe } from '../definition/definition-problem.ts'
import { inStageOrder, isRekeyed, type ReachedAggregates, reach, stageEntered } from '../definition/reach.ts'
import { slotName } from '../definition/slot-name.ts'
import { parseDuration } from '../kernel/duration.ts'
import { PipelineError } from '../kernel/errors.ts'
import { definitionEntry } from '../wire/definition-record.ts'
import { createPredictionCodec } from '../wire/prediction-codec.ts'
import { avroName, createRegistryCodec, createRejectionCodec, createRepartitionCodec } from '../wire/record-codecs.ts'
import { createWriterSchemas } from '../wire/writer-schemas.ts'
import { planLabel, planLearn } from './compile-model.ts'
import { type CodecParts, planStream } from './compile-stream.ts'
import { identityOf } from './feature-identity.ts'
import { compileFeature } from './feature-plan.ts'
import { fingerprintOf, probe } from './fingerprint.ts'
import type {
  AggregateSlot,
  EntityPlan,
  FactLayout,
  FactSource,
  FeaturePlan,
  Plan,
  RawSchemas,
  RepartitionPlan,
  SchemasPlan,
  StagePlan,
  StreamPlan,
  TopicPlan,
} from './plan.ts'
import { shapeOfDefinition, shapeOfState } from './state-shape.ts'

export interface CompileOptions {
  /** Prefix of every topic, group and key, so that several runs can share servers; none in production. */
  readonly namespace?: string
  /** Prefix of the raw topics; the namespace unless given, empty for none. */
  readonly rawNamespace?: string
}

const dayMs = 86_400_000
/** Predictions and dead letters are the log that models are trained from and mistakes repaired from: three months at least. */
const logRetentionMs = 90 * dayMs

/** Throws `definition_invalid` with all mistakes in `details.problems`. */
export function compile(pipeline: Pipeline, options: CompileOptions = {}): Plan {
  const { namespace = '', rawNamespace = namespace } = options
  const prefixes = [...new Set([namespace, rawNamespace])].filter((one) => one !== '')
  failOnProblems(pipeline, [...checkDefinition(pipeline), ...prefixes.flatMap(checkNamespace)])
  const [prefix, rawPrefix] = [namespace, rawNamespace].map((one) => (one === '' ? '' : `${one}.`)) as [string, string]
  const avroNamespace = `millrace.${avroName(pipeline.name)}`
  const reached = reach(pipeline)
  const writers = createWriterSchemas()
  const codecParts = { prefix, rawPrefix, avroNamespace, writers }
  const inOrder = inStageOrder(pipeline.scores, reached.entities)
  const rekeyed = reached.streams.filter((stream) => isRekeyed(stream, inOrder, reached.aggregates))
  // The repartitioning stage has the key of the first entity and aggregates nothing by it.
  const entities = rekeyed.length > 0 ? [entity(rekeyStage, inOrder[0]!.keys), ...inOrder] : inOrder
  const entersAt = (stream: AnyStream): number | null => {
    if (rekeyed.includes(stream)) return 0
    const stage = stageEntered(stream, inOrder)
    return stage === -1 ? null : stage + entities.length - inOrder.length
  }
  const streams = reached.streams.map((stream, index) => planStream(stream, index, entersAt(stream), codecParts))
  const streamOf = (stream: AnyStream) => streams[reached.streams.indexOf(stream)]!
  const scored = streams[0]!

  const layouts = entities.map((entity) => layoutOf(pipeline, entity, inOrder, reached.aggregates, streamOf))
  const slots = planSlots(reached.aggregates, entities, layouts, streamOf)
  const neededFields = fieldsNeeded(pipeline, entities, reached.aggregates)
  const stages = planStages({ pipeline, entities, layouts, slots, streams, ...codecParts, streamOf, neededFields })

  const features = planFeatures(pipeline, entities, slots.bySpelling, slots.all)
  const label = {
    stream: streamOf(pipeline.label.from).index,
    ...planLabel(pipeline.label),
  }
  const stateShape = shapeOfState(pipeline.name, streams, stages)
  const derived = `${prefix}${pipeline.name}`
  const predictions = planPredictions(pipeline, `${derived}.predictions`, features, codecParts)
  const rejected = { topic: `${derived}.rejected`, codec: createRejectionCodec(avroNamespace, writers) }
  const models = { topic: `${derived}.models`, codec: createRegistryCodec(avroNamespace, writers) }
  const fingerprint = definitionFingerprint(pipeline, shapeOfDefinition(stateShape, fixedColumns), slots.all)
  const schemas = {
    topic: `${derived}.schemas`,
    writers,
    definition: definitionEntry(fingerprint, features),
    raw: streams.map((one) => rawSchemas(one, avroNamespace)),
  }
  const topics = planTopics(streams, stages, predictions.topic, rejected.topic, models.topic, schemas)
  failOnSharedTopics(topics)
  return Object.freeze({
    name: pipeline.name,
    version: pipeline.version,
    fingerprint,
    stateFingerprint: fingerprintOf(stateShape),
    stateShape,
    streams,
    scored,
    stages,
    entityStages: stages.filter(({ kind }) => kind === 'entity'),
    slots: slots.all,
    features,
    label,
    model: pipeline.model,
    learn: planLearn(pipeline.learn),
    delivery: pipeline.delivery ?? 'exactly-once',
    topics,
    predictions,
    rejected,
    models,
    schemas,
  })
}

function definitionFingerprint(
  { version, features }: Pipeline,
  stateShape: unknown,
  slots: ReadonlyArray<{ readonly name: string }>,
): string {
  return fingerprintOf({
    stateShape,
    version,
    slots: slots.map(({ name }) => name),
    features: Object.entries(features).map(([name, feature]) => [name, shapeOf(feature as Input)]),
  })
}

function planPredictions(
  { predictionFormat = 'avro' }: Pipeline,
  topic: string,
  features: readonly FeaturePlan[],
  { avroNamespace, writers }: CodecParts,
): Plan['predictions'] {
  const names = features.map(({ name }) => name)
  const options = { namespace: avroNamespace, topic, features: names, format: predictionFormat, writers }
  return { topic, codec: createPredictionCodec(options) }
}

function rawSchemas({ name, topic }: StreamPlan, avroNamespace: string): RawSchemas {
  return { topic: `${topic}.schemas`, of: topic, record: `${avroNamespace}.${avroName(name)}` }
}

/** Two namespaces may make one name of two: "a" and "b.orders" of "a.b" and "orders". */
function failOnSharedTopics(topics: readonly TopicPlan[]): void {
  const names = topics.map(({ topic }) => topic)
  const twice = names.find((topic, i) => names.indexOf(topic) < i)
  if (twice === undefined) return
  throw new PipelineError(
    'config_invalid',
    `MILLRACE_NAMESPACE and MILLRACE_RAW_NAMESPACE give two topics of the pipeline one name, ${twice}: choose another of them.`,
  )
}

function failOnProblems(pipeline: Pipeline, problems: readonly DefinitionProblem[]): void {
  if (problems.length === 0) return
  const lines = problems.map(({ path, expected, received }) => `  ${path}: expected ${expected}, received ${received}`)
  const title = typeof pipeline?.name === 'string' ? `Pipeline ${describe(pipeline.name)}` : 'The pipeline'
  const count = problems.length === 1 ? '1 mistake' : `${problems.length} mistakes`
  throw new PipelineError('definition_invalid', `${title} has ${count}:\n${lines.join('\n')}`, {
    details: { problems },
  })
}

/** Durations are checked before anything is derived. */
function ms(duration: string): number {
  return parseDuration(duration)!
}

type StreamOf = (stream: AnyStream) => StreamPlan

/** Columns 0 to 3 are time, order, id and content; see `FactLayout`. */
const fixedColumns = 4

function layoutOf(
  pipeline: Pipeline,
  entity: Entity,
  inOrder: readonly Entity[],
  aggregates: ReachedAggregates,
  streamOf: StreamOf,
): FactLayout {
  const mine = aggregates.map(({ aggregate }) => aggregate).filter((aggregate) => aggregate.by === entity)
  // Duplicates are recognised by their fact, so the scored stream leaves one even where nothing aggregates it: with the first entity, and
  // with the last, so that an event that earlier stages let pass again is never predicted twice.
  const isOuter = entity === inOrder[0] || entity === inOrder.at(-1)
  const leaving = new Set<AnyStream>(isOuter ? [pipeline.scores] : [])
  for (const aggregate of mine) leaving.add(aggregate.stream)
  const factStreams = [...leaving].map((stream) => {
    const atField = mine.find((aggregate) => aggregate.stream === stream)?.at?.name ?? stream.time
    const fields = new Set(mine.filter((a) => a.stream === stream && a.field).map((a) => a.field!.name))
    return { stream, atField, fields: [...fields] }
  })
  const knownColumn = factStreams.some(({ stream, atField }) => atField !== stream.time) ? fixedColumns : null
  const firstValue = fixedColumns + (knownColumn === null ? 0 : 1)
  const sources = factStreams
    .map(({ stream, atField, fields }): FactSource => {
      const values = fields.map((field, i) => ({ field, column: firstValue + i, decimals: decimalsOf(stream, field) }))
      return { stream: streamOf(stream).index, atField, values }
    })
    .sort((a, b) => a.stream - b.stream)
  return { width: firstValue + Math.max(0, ...sources.map((source) => source.values.length)), knownColumn, sources }
}

/** Whole numbers and instants are exact integers of 10^0. */
function decimalsOf(stream: AnyStream, field: string): number | null {
  const spec = stream.specs[field]!
  return spec.kind === 'integer' || spec.kind === 'timestamp' ? 0 : (spec.decimals ?? null)
}

interface Slots {
  readonly all: readonly AggregateSlot[]
  readonly bySpelling: (aggregate: Aggregate) => number
}

function planSlots(
  aggregates: ReachedAggregates,
  entities: readonly Entity[],
  layouts: readonly FactLayout[],
  streamOf: StreamOf,
): Slots {
  const byName = new Map<string, Omit<AggregateSlot, 'index'>>()
  for (const { aggregate } of aggregates) {
    const name = slotName(aggregate)
    if (byName.has(name)) continue
    const stage = entities.indexOf(aggregate.by)
    const stream = streamOf(aggregate.stream).index
    const source = layouts[stage]!.sources.find((candidate) => candidate.stream === stream)!
    const value = source.values.find(({ field }) => field === aggregate.field?.name)
    byName.set(name, {
      name,
      stage,
      kind: aggregate.of,
      stream,
      column: value?.column ?? null,
      decimals: value?.decimals ?? null,
      overMs: ms(aggregate.over),
      lagMs: ms(aggregate.lag),
    })
  }
  const all = [...byName.values()].sort((a, b) => a.stage - b.stage).map((slot, index) => ({ ...slot, index }))
  const indexes = new Map(all.map((slot) => [slot.name, slot.index]))
  return { all, bySpelling: (aggregate) => indexes.get(slotName(aggregate))! }
}

type StageParts = CodecParts & {
  readonly pipeline: Pipeline
  readonly entities: readonly Entity[]
  readonly layouts: readonly FactLayout[]
  readonly slots: Slots
  readonly streams: readonly StreamPlan[]
  readonly streamOf: StreamOf
  readonly neededFields: NeededFields
}

function planStages(parts: StageParts): StagePlan[] {
  const { pipeline, entities, layouts, slots, streams, prefix, avroNamespace, streamOf } = parts
  const repartitions = entities.slice(1).map((entity, i): RepartitionPlan => {
    const [sender, receiver] = [i, i + 1]
    const later = layouts.slice(receiver).flatMap((layout) => layout.sources.map((source) => source.stream))
    const carried = streams.filter(
      ({ index, entersAt }) => entersAt !== null && entersAt <= sender && (index === 0 || later.includes(index)),
    )
    const carriedSlots = slots.all.filter((slot) => slot.stage <= sender)
    return {
      topic: `${prefix}${pipeline.name}.${entity.name}`,
      streams: carried.map((stream) => stream.index),
      slots: carriedSlots,
      codec: createRepartitionCodec({
        entity: entity.name,
        namespace: avroNamespace,
        streams: carried,
        scored: streams[0]!,
        slots: carriedSlots,
        isNeeded: ({ name }, field) => parts.neededFields.get(name)?.has(field) ?? false,
        writers: parts.writers,
      }),
    }
  })
  return entities.map((entity, index) => {
    const mine = slots.all.filter((slot) => slot.stage === index)
    const longest = Math.max(0, ...mine.map((slot) => slot.lagMs + slot.overMs))
    const plan: EntityPlan = {
      name: entity.name,
      keyFields: new Map(
        entity.keys.map((key) => [streamOf(key.stream)?.index ?? -1, key.name] as const).filter(([i]) => i >= 0),
      ),
      layout: layouts[index]!,
      slots: mine,
      retentionMs: longest + streams[0]!.latenessMs,
    }
    return {
      kind: entity.name === rekeyStage ? 'rekey' : 'entity',
      index,
      entity: plan,
      rawStreams: streams.filter((stream) => stream.entersAt === index).map((stream) => stream.index),
      repartitionIn: repartitions[index - 1] ?? null,
      repartitionOut: repartitions[index] ?? null,
    }
  })
}

function planFeatures(
  pipeline: Pipeline,
  entities: readonly Entity[],
  slotOf: (aggregate: Aggregate) => number,
  slots: readonly AggregateSlot[],
): FeaturePlan[] {
  return Object.entries(pipeline.features).map(([name, feature]: [string, Feature]) => {
    const leaves = leavesOf(feature as Input)
    const stages = new Set(leaves.map((leaf) => (leaf.kind === 'aggregate' ? slots[slotOf(leaf)]!.stage : -1)))
    const [only] = stages
    const entity = stages.size === 1 && only !== -1 ? entities[only!]!.name : null
    const identity = identityOf(feature as Input, pipeline.scores)
    return { name, identity, entity, compute: compileFeature(name, feature as Input, slotOf) }
  })
}

/** Names of fields by name of stream. */
type NeededFields = ReadonlyMap<string, ReadonlySet<string>>

/** Every field that identifies an event or that something is computed from. */
function fieldsNeeded(pipeline: Pipeline, entities: readonly Entity[], aggregates: ReachedAggregates): NeededFields {
  const needed = new Map<string, Set<string>>()
  const need = (stream: AnyStream, field: string) => {
    const fields = needed.get(stream.name) ?? new Set([stream.id, stream.key, stream.time])
    needed.set(stream.name, fields.add(field))
  }
  for (const { keys } of entities) for (const { stream, name } of keys) need(stream, name)
  for (const { aggregate } of aggregates) {
    for (const field of [aggregate.field, aggregate.at]) if (field) need(aggregate.stream, field.name)
  }
  for (const feature of Object.values(pipeline.features)) {
    for (const leaf of leavesOf(feature as Input)) if (leaf.kind === 'field') need(pipeline.scores, leaf.name)
  }
  return needed
}

function leavesOf(input: Input): Input[] {
  return input.kind === 'derived' ? input.inputs.flatMap(leavesOf) : [input]
}

/** What a feature means, without its name. */
function shapeOf(input: Input): unknown {
  if (input.kind === 'field') return ['field', input.name]
  if (input.kind === 'aggregate') return ['aggregate', slotName(input), input.at?.name ?? null]
  return ['derived', input.inputs.map(shapeOf), probe(input)]
}

function planTopics(
  streams: readonly StreamPlan[],
  stages: readonly StagePlan[],
  predictions: string,
  rejected: string,
  models: string,
  schemas: SchemasPlan,
): TopicPlan[] {
  const stateMs = Math.max(...stages.map((stage) => stage.entity.retentionMs))
  const own = (topic: string, role: TopicPlan['role'], retentionMs: number): TopicPlan => ({
    topic,
    role,
    partitions: null,
    retentionMs,
  })
  return [
    ...streams.map((stream) => own(stream.topic, 'raw', stateMs)),
    ...stages.flatMap((stage) =>
      stage.repartitionOut ? [own(stage.repartitionOut.topic, 'repartition', stateMs)] : [],
    ),
    own(predictions, 'predictions', Math.max(logRetentionMs, stateMs)),
    own(rejected, 'rejected', Math.max(logRetentionMs, stateMs)),
    { topic: models, role: 'models', partitions: 1, retentionMs: null },
    { topic: schemas.topic, role: 'schemas', partitions: 1, retentionMs: null },
    // A pipeline may have the name of a raw topic: both kinds of schemas then lie in one topic.
    ...schemas.raw
      .filter(({ topic }) => topic !== schemas.topic)
      .map(({ topic }): TopicPlan => ({ topic, role: 'raw schemas', partitions: 1, retentionMs: null })),
  ]
}
