/**
 * A stream's fields in, the JSON schema of its events out, with an example; for descriptions of what a process takes. The codec decides;
 * this states the same as far as JSON schema can.
 */

import type { FieldPlan, FieldValue } from '../kernel/event.ts'
import { describeField } from './event-codec.ts'
import { instantsOf, lengthMaxDefault } from './field-limits.ts'

export function eventJsonSchema({ name, fields }: { readonly name: string; readonly fields: readonly FieldPlan[] }) {
  return {
    type: 'object',
    description: `An event of the stream ${name}. Fields that are not listed are passed over.`,
    required: fields.filter(({ optional }) => !optional).map((field) => field.name),
    properties: Object.fromEntries(fields.map((field) => [field.name, fieldSchema(field)])),
    examples: [Object.fromEntries(fields.map((field) => [field.name, exampleOf(field)]))],
  }
}

function fieldSchema(field: FieldPlan): object {
  const schema = { description: describeField(field), ...valueSchema(field), examples: [exampleOf(field)] }
  if (!field.optional) return schema
  if ('anyOf' in schema) return { ...schema, anyOf: [...(schema.anyOf as object[]), { type: 'null' }] }
  return { ...schema, type: [(schema as { type?: string }).type, 'null'] }
}

function valueSchema(field: FieldPlan): object {
  const { kind, min, max, decimals, lengthMax = lengthMaxDefault } = field
  const range = { ...(min === undefined ? {} : { minimum: min }), ...(max === undefined ? {} : { maximum: max }) }
  switch (kind) {
    case 'text':
      return { type: 'string', minLength: 1, maxLength: lengthMax }
    case 'flag':
      return { type: 'boolean' }
    case 'timestamp':
      return {
        anyOf: [
          { type: 'string', format: 'date-time' },
          { type: 'integer', minimum: instantsOf(field).from, maximum: instantsOf(field).until },
        ],
      }
    case 'integer':
      return { type: 'integer', minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER, ...range }
    case 'number': {
      if (decimals === undefined) return { type: 'number', ...range }
      // Not `multipleOf`: 12.34 / 0.01 is no whole number in doubles, and validators would reject it. The description states it.
      const bound = Number.MAX_SAFE_INTEGER / 10 ** decimals
      return { type: 'number', minimum: -bound, maximum: bound, ...range }
    }
  }
}

/** A value that the field takes. */
function exampleOf({ name, kind, decimals = 2, lengthMax = lengthMaxDefault, ...range }: FieldPlan): FieldValue {
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY } = range
  const within = (value: number) => Math.min(max, Math.max(min, value))
  switch (kind) {
    case 'text':
      return `${name}-1`.slice(-lengthMax)
    case 'flag':
      return true
    case 'timestamp':
      return instant(within(Date.UTC(2018, 4, 1, 12)))
    case 'integer':
      return Math.ceil(within(1))
    case 'number':
      return Math.ceil(within(12.5) * 10 ** decimals) / 10 ** decimals
  }
}

function instant(ms: number): string {
  return new Date(ms).toISOString().replace('.000Z', 'Z')
}
