/**
 * A prediction as JSON and back, and the JSON schema of it. Numbers are written so that every double is read back bit for bit, by readers
 * that take `-0.0` for one as much as by ours. Called by `prediction-codec.ts`.
 */
import { PipelineError } from '../kernel/errors.ts'
import { isRecord } from '../kernel/report.ts'
import type { Prediction } from './records.ts'

const openingBrace = 0x7b

/** No Avro record of ours begins with it. */
export function isJsonObject(bytes: Buffer): boolean {
  return bytes[0] === openingBrace
}

export function predictionToJson(prediction: Prediction, features: readonly string[]): Buffer {
  const { id, time, score, modelVersion, fingerprint, origin, positions } = prediction
  const vector = features.map((name, i) => `"${name}":${numberText(prediction.features[i] ?? Number.NaN)}`)
  const reasons = prediction.reasons.map(
    ({ feature, contribution }) => `{"feature":${JSON.stringify(feature)},"contribution":${numberText(contribution)}}`,
  )
  const shadow = prediction.shadow.map(
    (one) => `{"version":${JSON.stringify(one.version)},"score":${numberText(one.score)}}`,
  )
  const members = [
    `"id":${JSON.stringify(id)}`,
    `"time":"${new Date(time).toISOString()}"`,
    `"score":${numberText(score)}`,
    `"modelVersion":${JSON.stringify(modelVersion)}`,
    `"features":{${vector.join()}}`,
    `"fingerprint":${JSON.stringify(fingerprint)}`,
    `"origin":${JSON.stringify(origin)}`,
    `"positions":${JSON.stringify(positions)}`,
    `"reasons":[${reasons.join()}]`,
    `"shadow":[${shadow.join()}]`,
  ]
  return Buffer.from(`{${members.join()}}`)
}

/**
 * The shortest decimal that reads back as the same double. `-0` would be read as the integer 0 by some; a contribution may be beyond the
 * largest double, which `1e999` is to every reader.
 */
function numberText(value: number | null): string {
  if (value === null || Number.isNaN(value)) return 'null'
  if (!Number.isFinite(value)) return value > 0 ? '1e999' : '-1e999'
  return Object.is(value, -0) ? '-0.0' : String(value)
}

/** Features by name: one that the record does not have is missing. Throws `record_unreadable`. */
export function predictionFromJson(bytes: Buffer, features: readonly string[]): Prediction {
  const found = parsed(bytes)
  const time = typeof found.time === 'string' ? Date.parse(found.time) : Number.NaN
  check(typeof found.id === 'string', 'id', 'a text')
  check(Number.isFinite(time), 'time', 'an RFC 3339 instant')
  check(isRecord(found.features), 'features', 'numbers by name')
  check(isRecord(found.origin), 'origin', 'partition and offset')
  for (const list of ['positions', 'reasons', 'shadow'] as const) check(Array.isArray(found[list]), list, 'a list')
  const values = found.features as Readonly<Record<string, unknown>>
  const vector = features.map((name) => {
    const value = Object.hasOwn(values, name) ? values[name] : null
    check(value === null || typeof value === 'number', `features.${name}`, 'a number or null')
    return (value as number | null) ?? Number.NaN
  })
  return { ...(found as unknown as Prediction), time, features: vector }
}

function parsed(bytes: Buffer): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(bytes.toString('utf8')) as Readonly<Record<string, unknown>>
  } catch (cause) {
    throw new PipelineError('record_unreadable', `A prediction record is no JSON: ${(cause as Error).message}.`, {
      cause,
    })
  }
}

function check(holds: unknown, path: string, expected: string): void {
  if (!holds)
    throw new PipelineError('record_unreadable', `A prediction record in JSON has no ${path}: expected ${expected}.`)
}

const text = { type: 'string' } as const
const number = { type: 'number' } as const
const numberOrNull = { type: ['number', 'null'] } as const
const whole = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const

function object(properties: Readonly<Record<string, object>>, description?: string): object {
  const described = description === undefined ? {} : { description }
  return { type: 'object', ...described, required: Object.keys(properties), additionalProperties: false, properties }
}

const listOf = (items: object, description?: string) => ({
  type: 'array',
  ...(description === undefined ? {} : { description }),
  items,
})

/** Features may be added and removed without breaking a reader, so the schema requires none of them by name. */
export function predictionJsonSchema(namespace: string, features: readonly string[]): object {
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    title: `${namespace}.prediction`,
    ...object({
      id: {
        ...text,
        description: 'Id of the scored event. Under at-least-once delivery a prediction may be repeated under it.',
      },
      time: {
        ...text,
        format: 'date-time',
        description: 'Event time of the scored event, to the millisecond, in UTC.',
      },
      score: { ...numberOrNull, description: 'Null while there is no model.' },
      modelVersion: {
        type: ['string', 'null'],
        description: 'Version that gave the score; null while there is no model.',
      },
      features: {
        type: 'object',
        description:
          'The vector that was scored, by name; null is missing. Numbers are doubles, exact to the last bit.',
        properties: Object.fromEntries(features.map((name) => [name, numberOrNull])),
        additionalProperties: numberOrNull,
      },
      fingerprint: { ...text, description: 'Of the definition that the vector was computed by.' },
      origin: object({ partition: whole, offset: whole }, 'Where the raw event lies in the topic of its stream.'),
      positions: listOf(
        object({ stage: text, partition: whole, next: listOf(whole) }),
        'Next offset of every input of each stage when it read the features, raw topics first.',
      ),
      reasons: listOf(object({ feature: text, contribution: number }), 'Features that moved the score most.'),
      shadow: listOf(object({ version: text, score: number }), 'Scores of challengers for the same vector.'),
    }),
  }
}
