/**
 * Names that must not meet: two streams or entities of one name, topics of one name, Avro records of one name. Called by
 * `checkDefinition`.
 */

import type { Report } from '../kernel/report.ts'
import { avroName } from '../wire/record-codecs.ts'
import type { AnyStream, Entity, Pipeline } from './definition.ts'
import type { Reached } from './reach.ts'

const ownTopics = ['predictions', 'rejected', 'models', 'schemas'] as const

/** Stage of the streams whose events may be in any partition. */
export const rekeyStage = 'rekey'

/** Record types that the internal topics nest beside an event's own. */
const ownRecords = ['origin', 'stage_position', 'slots']

export function checkNames(pipeline: Pipeline, { streams, entities }: Reached, report: Report): void {
  checkUnique('streams', streams, report)
  checkUnique('entities', entities, report)
  for (const { name } of entities) {
    if (ownTopics.some((topic) => topic === name))
      report(`entities.${name}`, `another name, since ${pipeline.name}.${name} is a topic of its own`, name)
  }
  if (entities.some(({ name }) => name === rekeyStage))
    report(`entities.${rekeyStage}`, 'another name, since the stage of rekeyed streams has this one', rekeyStage)
  checkTopics(pipeline, streams, entities, report)
  checkRecords(streams, entities, report)
}

function checkUnique(what: string, named: ReadonlyArray<{ readonly name: string }>, report: Report): void {
  const seen = new Set<string>()
  for (const { name } of named) {
    if (seen.has(name)) report(`${what}.${name}`, 'one value of this name, used everywhere', 'two different values')
    seen.add(name)
  }
}

/** Kafka refuses topics whose names differ only in dots and underscores, since its metrics mix them up. */
const topicKey = (topic: string) => topic.replaceAll('.', '_')

function checkTopics(
  pipeline: Pipeline,
  streams: readonly AnyStream[],
  entities: readonly Entity[],
  report: Report,
): void {
  const derived = [...ownTopics, ...entities.map((entity) => entity.name)].map((name) => `${pipeline.name}.${name}`)
  const taken = new Map(derived.map((topic) => [topicKey(topic), `${topic} of the pipeline`]))
  for (const { name, topic } of streams) {
    if (typeof topic !== 'string') continue
    const other = taken.get(topicKey(topic))
    // Two streams of one name are reported as such.
    if (other !== undefined && other !== ownerOf(name, topic))
      report(`streams.${name}.topic`, `a topic of its own, not ${other}`, topic)
    else {
      taken.set(topicKey(topic), ownerOf(name, topic))
      checkSchemasTopic(pipeline, { name, topic }, taken, report)
    }
  }
}

/** Schemas of raw events lie beside their topic; a pipeline of the topic's name keeps them with its own. */
function checkSchemasTopic(
  pipeline: Pipeline,
  { name, topic }: { readonly name: string; readonly topic: string },
  taken: Map<string, string>,
  report: Report,
): void {
  const beside = `${topic}.schemas`
  if (beside === `${pipeline.name}.schemas`) return
  const owner = `${beside}, the topic of schemas of the stream ${name}`
  const other = taken.get(topicKey(beside))
  if (other !== undefined && other !== owner)
    report(`streams.${name}.topic`, `a topic whose schemas have a topic of their own, not ${other}`, topic)
  else taken.set(topicKey(beside), owner)
}

const ownerOf = (stream: string, topic: string) => `${topic} of the stream ${stream}`

/** Avro's names know neither dots nor dashes, and all records of a pipeline share one namespace. */
function checkRecords(streams: readonly AnyStream[], entities: readonly Entity[], report: Report): void {
  const names = new Set(streams.map((stream) => stream.name))
  const repartitions = entities.flatMap((entity) =>
    [...names, 'mark'].map((name) => avroName(`${entity.name}_${name}`)),
  )
  const taken = new Map([...ownRecords, ...repartitions].map((record) => [record, 'a record of an internal topic']))
  for (const name of names) {
    const record = avroName(String(name))
    const other = taken.get(record)
    if (name === 'mark')
      report(`streams.${name}`, 'another name, since repartition topics carry watermark records named mark', name)
    else if (other !== undefined) report(`streams.${name}`, `a name whose Avro record is not ${other}`, record)
    else taken.set(record, `that of the stream ${name}`)
  }
}
