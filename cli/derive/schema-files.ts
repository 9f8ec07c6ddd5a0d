/**
 * The schemas of a plan as files (Avro, and a JSON schema where predictions are JSON), so that producers and consumers in other
 * languages have them and a change shows in review: what should be there and what is there come in, the difference and whether old
 * records stay readable go out. Pure; `schemas` does the files.
 */
import type avro from 'avsc'
import type { Plan } from '../../schemas/plan/plan.ts'
import { avroType, resolverOf } from '../../schemas/wire/avro-types.ts'

export interface SchemaFile {
  /** Such as `raw.transactions.avsc`. */
  readonly name: string
  readonly text: string
}

export type SchemaState = 'fresh' | 'stale' | 'missing' | 'left over'

export interface SchemaComparison {
  readonly name: string
  readonly state: SchemaState
  /**
   * Why records written with the old schema could not be read any more although the definition's version is the same; null where they
   * can be, or where the version was raised.
   */
  readonly breaks: string | null
}

/** The definition's version at the time of writing, kept in the file as an attribute that Avro passes over. */
const versionAttribute = 'definitionVersion'

/** Of a JSON schema; the others are Avro's. */
const jsonEnding = '.schema.json'

export function isSchemaFile(name: string): boolean {
  return name.endsWith('.avsc') || name.endsWith(jsonEnding)
}

/** One file for each record type of each topic. */
export function schemaFiles(plan: Plan): SchemaFile[] {
  const codecs = [
    ...plan.streams.map(({ codec }) => ['raw', codec] as const),
    ...plan.stages.flatMap(({ repartitionOut }) => (repartitionOut ? [['hop', repartitionOut.codec] as const] : [])),
    ...(['predictions', 'rejected', 'models'] as const).map((role) => [role, plan[role].codec] as const),
  ]
  return codecs.flatMap(([role, { schemas, ...others }]) => [
    ...[...schemas].map(([record, schema]) => ({
      name: `${role}.${record}.avsc`,
      text: `${JSON.stringify({ ...schema, [versionAttribute]: plan.version }, null, 2)}\n`,
    })),
    ...[...('jsonSchemas' in others ? (others.jsonSchemas ?? []) : [])].map(([record, schema]) => ({
      name: `${role}.${record}${jsonEnding}`,
      text: `${JSON.stringify(schema, null, 2)}\n`,
    })),
  ])
}

/** `present`: the texts of the files that are there, by name. */
export function compareSchemas(
  wanted: readonly SchemaFile[],
  present: ReadonlyMap<string, string>,
  version: number,
): SchemaComparison[] {
  const names = new Set(wanted.map(({ name }) => name))
  const leftOver = [...present].filter(([name]) => !names.has(name))
  return [
    ...wanted.map(({ name, text }): SchemaComparison => {
      const old = present.get(name)
      if (old === undefined) return { name, state: 'missing', breaks: null }
      if (old === text) return { name, state: 'fresh', breaks: null }
      return { name, state: 'stale', breaks: name.endsWith(jsonEnding) ? null : whyUnreadable(old, text, version) }
    }),
    ...leftOver.map(([name, old]): SchemaComparison => {
      // Predictions are read in every format, whichever the definition writes now.
      const isRaised = name.endsWith(jsonEnding) || version > (parsedSchema(old)?.version ?? 0)
      return { name, state: 'left over', breaks: isRaised ? null : 'its records could not be read any more' }
    }),
  ]
}

function whyUnreadable(old: string, text: string, version: number): string | null {
  const writer = parsedSchema(old)
  if (writer === null) return 'the file is no Avro schema'
  if (version > writer.version) return null
  try {
    // As the codecs resolve them. An old event without a field that is required now would be decoded, and rejected as an event.
    resolverOf(avroType(JSON.parse(text)), avroType(writer.schema))
    return null
  } catch (error) {
    return (error as Error).message
  }
}

function parsedSchema(text: string): { readonly schema: avro.Schema; readonly version: number } | null {
  try {
    const schema = JSON.parse(text) as avro.Schema & { readonly [versionAttribute]?: unknown }
    const version = schema[versionAttribute]
    avroType(schema)
    return { schema, version: typeof version === 'number' ? version : 0 }
  } catch {
    // Not a schema at all: the caller reports it with the file's name.
    return null
  }
}
