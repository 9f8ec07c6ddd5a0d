/**
 * What the features of a definition mean, as a record of the pipeline's topic of schemas: so its vectors are understood once another
 * definition runs. Written with the schemas before the first prediction; read by whoever trains.
 */

export interface DefinitionRecord {
  readonly fingerprint: string
  /** Identity of each feature, by its name. */
  readonly identities: ReadonlyMap<string, string>
}

/** Beside Avro schemas, which have no member of this name, and JSON schemas, which have `$schema`. */
const mark = '$definition'

/** Key and value of the record. */
export function definitionEntry(
  fingerprint: string,
  features: ReadonlyArray<{ readonly name: string; readonly identity: string }>,
): readonly [string, object] {
  const identities = Object.fromEntries(features.map(({ name, identity }) => [name, identity]))
  return [definitionKey(fingerprint), { [mark]: fingerprint, identities }]
}

export function definitionKey(fingerprint: string): string {
  return `definition-${fingerprint}`
}

/** Null for a record of another kind. Throws where it is no definition although it says so. */
export function definitionIn(value: object): DefinitionRecord | null {
  if (!(mark in value)) return null
  const { [mark]: fingerprint, identities } = value as Record<string, unknown>
  const entries = typeof identities === 'object' && identities !== null ? Object.entries(identities) : null
  if (
    typeof fingerprint !== 'string' ||
    !entries?.every((entry): entry is [string, string] => typeof entry[1] === 'string')
  )
    throw new Error(`${mark} without a fingerprint and the identities of its features`)
  return { fingerprint, identities: new Map(entries) }
}
