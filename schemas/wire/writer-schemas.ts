/**
 * The schemas that records may have been written with: those of this definition, those learnt from the pipeline's topic of schemas, and
 * those of a schema registry. Codecs take a writer's schema from it; readers of records query which ids are missing and register
 * (`runtime/schema-aware-broker.ts`). It only grows: what is known once is known for as long as the process runs.
 */
import type avro from 'avsc'
import { fingerprintBytes, isSingleObject, singleObjectHeaderBytes } from './avro-fingerprint.ts'
import { type AvroSchema, avroType } from './avro-types.ts'

/** An id of the registry whose schema is not Avro: the events written with it cannot be read. */
export interface NotAvro {
  readonly notAvro: string
}

/** What a topic's records are written with, as it is published for those who read them. */
export interface SubjectSchema {
  /** In a schema registry, such as `orders.predictions-value`. */
  readonly subject: string
  readonly type: 'AVRO' | 'JSON'
  readonly schema: object
  /** Records carry the id that the registry gives it. */
  readonly isRequired: boolean
}

/** Where records lie: what anybody sends, or what Millrace writes for itself. */
export type TopicKind = 'raw' | 'internal'

export interface WriterSchemas {
  /** Of the definition's own codecs, under their fingerprints in hexadecimal: what must be in the topic before it is written with. */
  readonly own: ReadonlyMap<string, AvroSchema>
  declare(schema: AvroSchema, type: avro.Type, topics: TopicKind): void
  /** A record type of this name is declared for internal topics. */
  isInternal(name: string): boolean
  /** Throws avsc's error where it is no schema. */
  learn(schema: AvroSchema): void
  /** Known schemas of the record type with this full name, under their fingerprints in hexadecimal. */
  named(record: string): ReadonlyArray<readonly [string, AvroSchema]>
  /** `fingerprint`: as it lies in a record. */
  find(low: number, high: number): avro.Type | undefined
  /** The record in [start, end) begins with an unknown fingerprint. */
  lacks(bytes: Buffer, start: number, end: number): boolean
  /** Whether a registry is configured, so that ids mean something. */
  hasRegistry: boolean
  learnId(id: number, schema: avro.Type | NotAvro): void
  findId(id: number): avro.Type | NotAvro | undefined
  readonly subjects: ReadonlyMap<string, SubjectSchema>
  declareSubject(subject: SubjectSchema): void
  /** In the registry; undefined until it is registered. */
  idOf(subject: string): number | undefined
  assignId(subject: string, id: number): void
  /** Schemas that are known, without those of ids. */
  readonly schemaCount: number
  /** Ids that were learnt. */
  readonly idCount: number
}

interface Known {
  readonly high: number
  readonly type: avro.Type
  readonly schema: AvroSchema
}

export function createWriterSchemas(): WriterSchemas {
  const own = new Map<string, AvroSchema>()
  const internalNames = new Set<string>()
  /** By the low half of the fingerprint; what follows in a list is of the rest. */
  const known = new Map<number, Known[]>()
  const ids = new Map<number, avro.Type | NotAvro>()
  const subjects = new Map<string, SubjectSchema>()
  const subjectIds = new Map<string, number>()
  /** Fingerprint that was found last. */
  let last: { low: number; high: number } = { low: -1, high: -1 }

  function find(low: number, high: number): avro.Type | undefined {
    return known.get(low)?.find((entry) => entry.high === high)?.type
  }

  function add(schema: AvroSchema, type: avro.Type): Buffer {
    const fingerprint = fingerprintBytes(type)
    const [low, high] = [fingerprint.readUInt32LE(0), fingerprint.readUInt32LE(4)]
    if (find(low, high) === undefined) known.set(low, [...(known.get(low) ?? []), { high, type, schema }])
    return fingerprint
  }

  return {
    own,
    declare(schema, type, topics) {
      own.set(add(schema, type).toString('hex'), schema)
      if (topics === 'internal' && type.name !== undefined) internalNames.add(type.name)
    },
    isInternal: (name) => internalNames.has(name),
    learn(schema) {
      add(schema, avroType(schema))
    },
    named: (record) =>
      [...known.values()]
        .flat()
        .filter(({ type }) => type.name === record)
        .map(({ type, schema }) => [fingerprintBytes(type).toString('hex'), schema] as const),
    find,
    lacks(bytes, start, end) {
      if (!isSingleObject(bytes, start) || end - start < singleObjectHeaderBytes) return false
      const low = bytes.readUInt32LE(start + 2)
      const high = bytes.readUInt32LE(start + 6)
      // Neighbours mostly share their schema.
      if (low === last.low && high === last.high) return false
      if (find(low, high) === undefined) return true
      last = { low, high }
      return false
    },
    hasRegistry: false,
    learnId(id, schema) {
      ids.set(id, schema)
    },
    findId: (id) => ids.get(id),
    subjects,
    declareSubject: (subject) => void subjects.set(subject.subject, subject),
    idOf: (subject) => subjectIds.get(subject),
    assignId: (subject, id) => void subjectIds.set(subject, id),
    get schemaCount() {
      return [...known.values()].reduce((sum, { length }) => sum + length, 0)
    },
    get idCount() {
      return ids.size
    },
  }
}
