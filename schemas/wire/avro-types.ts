/**
 * An Avro schema in, the avsc type that reads, writes and resolves it exactly out; called wherever a schema becomes a type. What avsc
 * gets wrong or lets pass is repaired here: whole numbers beyond 2^52 (`exact-long.ts`), and instants in another unit than milliseconds.
 */
import avro from 'avsc'
import { exactLong, readLong } from './exact-long.ts'

export type AvroSchema = Readonly<Record<string, unknown>>

/** Called by avsc on a reading type during resolution: leaves `_read` unset where the writer's type cannot be read. */
interface Resolver {
  _read?: unknown
}

type Resolve = (this: avro.Type, resolver: Resolver, writer: avro.Type) => void

function based(type: avro.Type, update: Resolve): avro.Type {
  return Object.create(type, { _update: { value: update } })
}

const resolveDouble = (avro.types.DoubleType.prototype as unknown as { _update: Resolve })._update
const resolveLong = (avro.types.LongType.prototype as unknown as { _update: Resolve })._update

/** Reads a writer's long exactly, where avsc would round it unseen. */
const exactDouble = based(new avro.types.DoubleType(), function (resolver, writer) {
  if (writer.typeName === 'long') resolver._read = readLong
  else resolveDouble.call(this, resolver, writer)
})

/** Microseconds and nanoseconds are longs as well: read as milliseconds they would be instants of another age. */
const finerInstant: avro.Type = Object.create(exactLong)
const instantMs = based(exactLong, function (resolver, writer) {
  if (writer !== finerInstant) resolveLong.call(this, resolver, writer)
})

const longs: Readonly<Record<string, avro.Type>> = {
  'timestamp-millis': instantMs,
  'timestamp-micros': finerInstant,
  'timestamp-nanos': finerInstant,
  'local-timestamp-micros': finerInstant,
  'local-timestamp-nanos': finerInstant,
}

/** For `typeHook` of avsc: the types above wherever a schema means them. */
export function exactTypeFor(schema: unknown): avro.Type | undefined {
  const { type = schema, logicalType } = (schema ?? {}) as { type?: unknown; logicalType?: unknown }
  if (type === 'long') return longs[String(logicalType)] ?? exactLong
  return type === 'double' ? exactDouble : undefined
}

/** Throws avsc's error where it is no schema. */
export function avroType(schema: unknown): avro.Type {
  return avro.Type.forSchema(schema as avro.Schema, { typeHook: exactTypeFor })
}

/** As Avro's schema resolution has it. Throws with the reason where records of `writer` cannot be read as `reader`. */
export function resolverOf(reader: avro.Type, writer: avro.Type): unknown {
  return reader.createResolver(writer)
}
