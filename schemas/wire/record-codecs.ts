/** Codecs of internal topics, derived from the plan: repartition, dead letters, registry (predictions: `prediction-codec.ts`). */

import avro from 'avsc'
import type { CanonicalPosition } from '../kernel/canonical-order.ts'
import type { EventValues } from '../kernel/event.ts'
import { type AvroSchema, avroType } from './avro-types.ts'
import type { EventCodec, RecordCodec } from './codec.ts'
import { createWeightsCodec } from './model-weights-codec.ts'
import type {
  AliasChange,
  DeadLetter,
  ModelVersion,
  RegistryRecord,
  RepartitionRecord,
  StagePosition,
  VersionNote,
  WatermarkRecord,
} from './records.ts'
import { createRepartitionReader, type RepartitionReader } from './repartition-reader.ts'
import { createRepartitionWriter, type WriteRepartition } from './repartition-writer.ts'
import { createSingleObjectCodec, decodeOwn, type SingleObjectCodec } from './single-object.ts'
import type { WriterSchemas } from './writer-schemas.ts'

export const instant = { type: 'long', logicalType: 'timestamp-millis' } as const
export const origin = (namespace: string) => record('origin', namespace, { partition: 'int', offset: 'long' })
export const positions = (namespace: string) => ({
  type: 'array',
  items: record('stage_position', namespace, {
    stage: 'string',
    partition: 'int',
    next: { type: 'array', items: 'long' },
  }),
})

interface NamedField {
  readonly name: string
  readonly type: unknown
}

/** `defaults`: of fields that came later, so that a reader with this schema understands older records. */
export function record(
  name: string,
  namespace: string,
  fields: Record<string, unknown>,
  doc?: string,
  defaults: Readonly<Record<string, unknown>> = {},
): AvroSchema {
  const described = doc === undefined ? {} : { doc }
  return {
    type: 'record',
    name,
    namespace,
    ...described,
    fields: Object.entries(fields).map(([field, type]) =>
      Object.hasOwn(defaults, field) ? { name: field, type, default: defaults[field] } : { name: field, type },
    ),
  }
}

/** Avro's names take letters, digits and underscores only. */
export const avroName = (name: string) => name.replaceAll(/[^A-Za-z0-9_]/g, '_')

/** A stream whose events a repartition topic carries. */
export interface CarriedStream {
  readonly name: string
  readonly index: number
  readonly codec: EventCodec
}

export interface RepartitionCodecOptions {
  readonly entity: string
  readonly namespace: string
  /** Carried over. */
  readonly streams: readonly CarriedStream[]
  readonly scored: CarriedStream
  readonly slots: ReadonlyArray<{ readonly name: string }>
  /** Whether something that later stages compute is computed from the field. */
  readonly isNeeded: (stream: CarriedStream, field: string) => boolean
  readonly writers: WriterSchemas
}

/**
 * A record of an older definition is read as long as it carries the fields that this one computes with: they have no defaults, since
 * one that was never written would be folded as missing, which it was not. Nor have slots: those that the older definition did not
 * have are named in `unsent`, so that the event leaves its fact where it was predicted before, and is never scored without them.
 */
export interface RepartitionCodec extends RecordCodec<RepartitionRecord>, RepartitionReader {
  /** Slots that an event of the scored stream carries. */
  readonly slotCount: number
  /** By stream: the same bytes as `encode`, in place, for an event whose bytes are in the definition's own encoding. */
  readonly writers: ReadonlyArray<WriteRepartition | undefined>
}

export function createRepartitionCodec(options: RepartitionCodecOptions): RepartitionCodec {
  const { entity, namespace, streams, scored, slots, writers } = options
  const nameOf = (stream: CarriedStream) => carriedName(entity, stream)
  const watermarkName = avroName(`${entity}_mark`)
  const schemas = new Map<string, AvroSchema>()
  for (const stream of streams) schemas.set(nameOf(stream), carriedSchema(options, stream, slots))
  schemas.set(watermarkName, watermarkSchema(watermarkName, namespace))

  /** A record of the scored stream is read with the slots that its writer has. */
  function readerFor(writer: avro.Type) {
    const name = [...schemas.keys()].find((known) => `${namespace}.${known}` === writer.name)
    if (name === undefined) return null
    const sent = name === nameOf(scored) ? slotsOf(writer) : null
    const known = sent === null ? slots : slots.filter((slot) => sent.has(slot.name))
    const schema = known.length === slots.length ? schemas.get(name)! : carriedSchema(options, scored, known)
    return { name, type: avroType(schema) }
  }

  const codec = createSingleObjectCodec(schemas, { writers, readerFor })
  const names = new Map(streams.map((stream) => [stream.index, nameOf(stream)]))
  const streamsByName = new Map(streams.map((stream) => [nameOf(stream), stream]))
  const slotNames = slots.map((slot) => slot.name)

  function encode(repartition: RepartitionRecord): Buffer {
    if (repartition.kind === 'watermark') return codec.encode(watermarkName, toWatermarkFields(repartition))
    const slotValues: Record<string, number> = {}
    for (let i = 0; i < slotNames.length; i++) slotValues[slotNames[i]!] = repartition.slots[i] ?? Number.NaN
    return codec.encode(names.get(repartition.stream)!, { ...repartition, slots: slotValues })
  }

  function decode(bytes: Buffer): RepartitionRecord {
    const { name, record: found } = decodeOwn(codec, bytes, `${entity} repartition`)
    if (name === watermarkName) {
      return fromWatermarkFields(found as unknown as WatermarkFields)
    }
    const stream = streamsByName.get(name)!
    const carried = found as unknown as {
      source: number
      origin: { partition: number; offset: number }
      event: EventValues
      slots?: Record<string, number>
      positions?: StagePosition[]
    }
    const values = carried.slots
    const slots = values === undefined ? [] : slotNames.map((slot) => values[slot] ?? Number.NaN)
    const isLacking = values !== undefined && slotNames.some((slot) => values[slot] === undefined)
    return {
      kind: 'event',
      source: carried.source,
      stream: stream.index,
      origin: carried.origin,
      event: carried.event,
      slots,
      unsent: isLacking ? slotNames.filter((slot) => values[slot] === undefined) : noSlots,
      positions: carried.positions ?? [],
    }
  }

  return { schemas, encode, decode, ...inPlace(options, codec) }
}

/** What reads and writes the records of this definition without avsc. */
function inPlace({ entity, streams, scored, slots }: RepartitionCodecOptions, codec: SingleObjectCodec) {
  const headerOf = (stream: CarriedStream) => codec.header(carriedName(entity, stream))
  const writers: WriteRepartition[] = []
  for (const stream of streams)
    writers[stream.index] = createRepartitionWriter(headerOf(stream), stream === scored ? slots.length : 0)
  const reader = createRepartitionReader(
    streams.map((stream) => ({
      stream: stream.index,
      header: headerOf(stream),
      readRow: stream.codec.readRow,
      slotCount: stream === scored ? slots.length : null,
    })),
  )
  return { slotCount: slots.length, writers, ...reader }
}

/** One for all events: hardly any lacks a slot. */
const noSlots: readonly string[] = []

const carriedName = (entity: string, stream: CarriedStream) => avroName(`${entity}_${stream.name}`)

/** Of an event of the stream, with these slots where it is scored. */
function carriedSchema(
  { entity, namespace, scored, isNeeded }: RepartitionCodecOptions,
  stream: CarriedStream,
  slots: RepartitionCodecOptions['slots'],
): AvroSchema {
  const [raw] = [...stream.codec.schemas.values()] as Array<AvroSchema & { readonly fields: readonly NamedField[] }>
  const event = {
    ...raw!,
    fields: raw!.fields.map((field) => (isNeeded(stream, field.name) ? { name: field.name, type: field.type } : field)),
  }
  const carried =
    stream === scored
      ? {
          slots: record('slots', namespace, Object.fromEntries(slots.map((slot) => [slot.name, 'double']))),
          positions: positions(namespace),
        }
      : {}
  const fields = { source: 'int', origin: origin(namespace), event, ...carried }
  return record(carriedName(entity, stream), namespace, fields, 'An event on its way to the next stage.')
}

/** Names of the slots in a writer's records; null where it writes none. */
function slotsOf(writer: avro.Type): ReadonlySet<string> | null {
  const fieldsOf = (type: avro.Type) => (type instanceof avro.types.RecordType ? type.fields : [])
  const slots = fieldsOf(writer).find(({ name }) => name === 'slots')
  return slots ? new Set(fieldsOf(slots.type).map(({ name }) => name)) : null
}

const positionFields = ({ time, order }: CanonicalPosition): CanonicalPosition => ({ time, order })

/** A watermark record under the names that its fields have had on topics from the beginning. */
interface WatermarkFields {
  readonly sources: ReadonlyArray<{
    readonly source: number
    readonly watermark: number
    readonly order: number
    readonly idle: boolean
    readonly until: CanonicalPosition | null
    readonly horizon: number | null
    readonly caughtUp: boolean
    readonly advancing: boolean
  }>
  readonly heard: readonly CanonicalPosition[]
  readonly asks: boolean
}

function toWatermarkFields({ sources, observed, requestsProgress }: WatermarkRecord): WatermarkFields {
  return {
    sources: sources.map(({ idleUpTo, retentionWatermark, ...source }) => ({
      ...source,
      until: idleUpTo,
      horizon: retentionWatermark,
    })),
    heard: observed,
    asks: requestsProgress,
  }
}

function fromWatermarkFields({ sources, heard, asks }: WatermarkFields): WatermarkRecord {
  return {
    kind: 'watermark',
    sources: sources.map(({ until, horizon, ...source }) => ({
      ...source,
      idleUpTo: until === null ? null : positionFields(until),
      retentionWatermark: horizon,
    })),
    observed: heard.map(positionFields),
    requestsProgress: asks,
  }
}

function watermarkSchema(name: string, namespace: string): AvroSchema {
  const positionName = `${name}_place`
  const position = record(positionName, namespace, { time: instant, order: 'long' })
  const source = record(
    `${name}_source`,
    namespace,
    {
      source: 'int',
      watermark: instant,
      order: 'long',
      idle: 'boolean',
      until: ['null', position],
      horizon: ['null', instant],
      caughtUp: 'boolean',
      advancing: 'boolean',
    },
    undefined,
    { order: -1, until: null, horizon: null, caughtUp: false, advancing: false },
  )
  return record(
    name,
    namespace,
    {
      sources: { type: 'array', items: source },
      heard: { type: 'array', items: `${namespace}.${positionName}` },
      asks: 'boolean',
    },
    'How far tasks of the stage before have come.',
    { heard: [], asks: false },
  )
}

export function createRejectionCodec(namespace: string, writers: WriterSchemas): RecordCodec<DeadLetter> {
  const problems = {
    type: 'array',
    items: record('problem', namespace, { path: 'string', code: 'string', expected: 'string', received: 'string' }),
  }
  const schema = record(
    'rejection',
    namespace,
    {
      stage: 'string',
      topic: 'string',
      partition: 'int',
      offset: 'long',
      appendedAtMs: instant,
      key: ['null', 'bytes'],
      value: ['null', 'bytes'],
      problems,
      keyBytes: ['null', 'long'],
      valueBytes: ['null', 'long'],
      headers: { type: 'map', values: 'bytes' },
      attempt: 'int',
    },
    'A dead letter: the original bytes, where they lay and all that is wrong with them.',
    { keyBytes: null, valueBytes: null, headers: {}, attempt: 0 },
  )
  const schemas = new Map([['rejection', schema]])
  const codec = createSingleObjectCodec(schemas, { writers })
  return {
    schemas,
    encode: (rejection) => codec.encode('rejection', rejection),
    decode: (bytes) => ({ ...(decodeOwn(codec, bytes, 'rejection').record as unknown as DeadLetter) }),
  }
}

export function createRegistryCodec(namespace: string, writers: WriterSchemas): RecordCodec<RegistryRecord> {
  const weights = createWeightsCodec(namespace)
  const trained = record('trained_on', namespace, { topic: 'string', partition: 'int', offset: 'long' })
  const version = record(
    'model_version',
    namespace,
    {
      version: 'string',
      createdAtMs: instant,
      fingerprint: 'string',
      identities: { type: 'map', values: 'string' },
      seed: 'long',
      model: weights.schema,
      metrics: { type: 'map', values: 'double' },
      trainedOn: { type: 'array', items: trained },
      parent: ['null', 'string'],
      origin: 'string',
    },
    'An immutable model version with its weights and where they come from.',
    // What was written before lineage came from `train`.
    { identities: {}, parent: null, origin: 'manual' },
  )
  const alias = record(
    'alias_change',
    namespace,
    {
      alias: 'string',
      version: 'string',
      previous: ['null', 'string'],
      changedAtMs: instant,
      by: 'string',
      reason: 'string',
      action: 'string',
    },
    'An alias now points to a version (to none where it is empty), if it still pointed to the previous one.',
    { action: 'set' },
  )
  const note = record(
    'version_note',
    namespace,
    {
      note: 'string',
      version: 'string',
      against: ['null', 'string'],
      notedAtMs: instant,
      by: 'string',
      reason: 'string',
      figures: { type: 'map', values: 'double' },
    },
    'Something to be known about a version, such as why it was refused; moves no alias.',
  )
  const schemas = new Map([
    ['model_version', version],
    ['alias_change', alias],
    ['version_note', note],
  ])
  const codec = createSingleObjectCodec(schemas, { writers })
  return {
    schemas,
    encode(entry) {
      if (entry.kind === 'version') {
        const { identities = {} } = entry
        return codec.encode('model_version', { ...entry, identities, model: weights.wrap(entry.model) })
      }
      if (entry.kind === 'note') return codec.encode('version_note', entry)
      // The field was a text before an alias could be taken away, and no version has an empty name: readers of then pass it over.
      return codec.encode('alias_change', { ...entry, version: entry.version ?? '' })
    },
    decode(bytes) {
      const { name, record: found } = decodeOwn(codec, bytes, 'registry')
      if (name === 'model_version') {
        return { ...(found as unknown as ModelVersion), model: weights.unwrap(found.model), kind: 'version' }
      }
      if (name === 'version_note') return { ...(found as unknown as VersionNote), kind: 'note' }
      const change = found as unknown as AliasChange
      return { ...change, kind: 'alias', version: change.version || null }
    },
  }
}
