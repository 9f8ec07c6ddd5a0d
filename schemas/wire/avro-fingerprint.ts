/**
 * How a record identifies its writer's schema: Avro's single-object encoding begins with two marker bytes and the CRC-64-AVRO fingerprint
 * of the writer's schema, the Confluent wire format with a zero byte and the schema's id in a registry.
 */
import type avro from 'avsc'

/** Marker and fingerprint. */
export const singleObjectHeaderBytes = 10
/** Zero and id. */
export const confluentHeaderBytes = 5

const fingerprintSeed = 0xc15d213aa4d7a795n

const fingerprintTable = Array.from({ length: 256 }, (_, byte) => {
  let value = BigInt(byte)
  for (let bit = 0; bit < 8; bit++) value = value & 1n ? (value >> 1n) ^ fingerprintSeed : value >> 1n
  return value
})

/** CRC-64-AVRO (Rabin) of a text, as the Avro specification defines it over a schema's canonical form. */
export function avroFingerprint(canonicalForm: string): bigint {
  let value = fingerprintSeed
  for (const byte of Buffer.from(canonicalForm, 'utf8')) {
    value = (value >> 8n) ^ fingerprintTable[Number((value ^ BigInt(byte)) & 0xffn)]!
  }
  return value
}

/** As in a record: lowest byte first. */
export function fingerprintBytes(type: avro.Type): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(avroFingerprint(JSON.stringify(type.schema())))
  return bytes
}

/** By the two marker bytes, which begin no text in UTF-8. */
export function isSingleObject(bytes: Buffer, start = 0): boolean {
  return bytes[start] === 0xc3 && bytes[start + 1] === 0x01
}

/** No JSON begins with a zero byte. */
export function isConfluent(bytes: Buffer, start = 0, end = bytes.length): boolean {
  return bytes[start] === 0 && end - start >= confluentHeaderBytes
}

export function confluentId(bytes: Buffer, start = 0): number {
  return bytes.readInt32BE(start + 1)
}
