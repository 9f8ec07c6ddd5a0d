/**
 * The key of the hashes in facts as a record of the pipeline's topic of schemas, which is kept forever. Each candidate has a record key of
 * its own, so that compaction would remove none; which of them is the key is decided in `runtime/hash-key-log.ts`.
 */
import { type HashKey, hashKeyBytes } from '../kernel/keyed-hash.ts'

/** Beside Avro schemas, which have no member of this name, JSON schemas and definitions. */
const mark = '$hashKey'

/** Key and value of the record. */
export function hashKeyEntry(key: HashKey): readonly [string, object] {
  const text = Buffer.from(key).toString('hex')
  return [`hash-key-${text}`, { [mark]: text }]
}

/** Null for a record of another kind. Throws where it is no key although it says so. */
export function hashKeyIn(value: object): HashKey | null {
  if (!(mark in value)) return null
  const { [mark]: text } = value as Record<string, unknown>
  if (typeof text !== 'string' || !new RegExp(`^[0-9a-f]{${2 * hashKeyBytes}}$`).test(text))
    throw new Error(`${mark} without ${hashKeyBytes} bytes in hexadecimal`)
  return Uint8Array.from(Buffer.from(text, 'hex'))
}
