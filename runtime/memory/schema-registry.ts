/** The contract of the schema registry in the memory of one process, for embedded runs and tests: subjects come in, ids go out. */
import { avroType } from '../../schemas/wire/avro-types.ts'
import type { SubjectSchema, WriterSchemas } from '../../schemas/wire/writer-schemas.ts'
import type { SchemaRegistry } from '../schema-registry.ts'

/** Whether a pipeline needs one: what it publishes carries ids. */
export function needsRegistry({ subjects }: WriterSchemas): boolean {
  return [...subjects.values()].some(({ isRequired }) => isRequired)
}

export function createMemorySchemaRegistry(): SchemaRegistry {
  const texts: string[] = []
  const schemas: SubjectSchema[] = []
  return {
    async schemaOf(id) {
      const found = schemas[id - 1]
      if (found === undefined) return null
      return found.type === 'AVRO' ? avroType(found.schema) : { notAvro: `schema id ${id}, which is no Avro schema` }
    },
    async register(subject) {
      const text = JSON.stringify([subject.type, subject.schema])
      if (!texts.includes(text)) {
        texts.push(text)
        schemas.push(subject)
      }
      return texts.indexOf(text) + 1
    },
    check: async () => undefined,
  }
}
