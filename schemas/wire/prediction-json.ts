/**
 * A prediction as JSON and back, and the JSON schema of it. Numbers are written so that every double is read back bit for bit, by readers
 * that take `-0.0` for one as much as by ours. Called by `prediction-codec.ts`.
 */
import { PipelineError } from '../kernel/errors.ts'
import { isRecord, type Parts } from '../kernel/report.ts'
import type { Prediction, StagePosition } from './records.ts'

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
  const id = member(found, 'id', isText, 'a text')
  const values = member(found, 'features', isRecord, 'numbers by name')
  const vector = features.map((name) => {
    const value = Object.hasOwn(values, name) ? values[name] : null
    if (isNumberOrMissing(value)) return value ?? Number.NaN
    throw unreadable(`features.${name}`, 'a number or null')
  })
  return {
    id,
    time: Date.parse(member(found, 'time', isInstant, 'an RFC 3339 instant')),
    score: member(found, 'score', isNumberOrMissing, 'a number or null'),
    modelVersion: member(found, 'modelVersion', isTextOrNull, 'a text or null'),
    features: vector,
    fingerprint: member(found, 'fingerprint', isText, 'a text'),
    origin: member(found, 'origin', isOrigin, 'partition and offset'),
    positions: member(found, 'positions', listOf(isPosition), 'a list of stage, partition and next'),
    reasons: member(found, 'reasons', listOf(isReason), 'a list of feature and contribution').map(
      ({ feature, contribution }) => ({ feature, contribution: contribution ?? Number.NaN }),
    ),
    shadow: member(found, 'shadow', listOf(isShadow), 'a list of version and score').map(({ version, score }) => ({
      version,
      score: score ?? Number.NaN,
    })),
  }
}

type Is<T> = (value: unknown) => value is T

const isText: Is<string> = (value) => typeof value === 'string'
const isTextOrNull: Is<string | null> = (value) => value === null || isText(value)
/** Also of what was NaN when it was written. */
const isNumberOrMissing: Is<number | null> = (value) => value === null || typeof value === 'number'
const isInstant: Is<string> = (value): value is string => isText(value) && Number.isFinite(Date.parse(value))
const isWhole: Is<number> = (value): value is number => Number.isSafeInteger(value) && Number(value) >= 0
const isOrigin = recordOf<Prediction['origin']>({ partition: isWhole, offset: isWhole })
const isPosition = recordOf<StagePosition>({ stage: isText, partition: isWhole, next: listOf(isWhole) })
const isReason = recordOf<{ feature: string; contribution: number | null }>({
  feature: isText,
  contribution: isNumberOrMissing,
})
const isShadow = recordOf<{ version: string; score: number | null }>({ version: isText, score: isNumberOrMissing })

function listOf<T>(is: Is<T>): Is<readonly T[]> {
  return (value) => Array.isArray(value) && value.every(is)
}

function recordOf<T extends object>(members: { readonly [K in keyof T]: Is<T[K]> }): Is<T> {
  const checks = Object.entries<Is<unknown>>(members)
  return (value): value is T => isRecord(value) && checks.every(([name, is]) => is(value[name]))
}

function member<T>(found: Parts, name: string, is: Is<T>, expected: string): T {
  const value = found[name]
  if (is(value)) return value
  throw unreadable(name, expected)
}

function unreadable(path: string, expected: string): PipelineError {
  return new PipelineError('record_unreadable', `A prediction record in JSON has no ${path}: expected ${expected}.`)
}

function parsed(bytes: Buffer): Parts {
  try {
    // It begins with a brace.
    return JSON.parse(bytes.toString('utf8')) as Parts
  } catch (cause) {
    throw new PipelineError('record_unreadable', `A prediction record is no JSON: ${(cause as Error).message}.`, {
      cause,
    })
  }
}

const text = { type: 'string' } as const
const number = { type: 'number' } as const
const numberOrNull = { type: ['number', 'null'] } as const
const whole = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER } as const

function object(properties: Readonly<Record<string, object>>, description?: string): object {
  const described = description === undefined ? {} : { description }
  return { type: 'object', ...described, required: Object.keys(properties), additionalProperties: false, properties }
}

const arrayOf = (items: object, description?: string) => ({
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
      positions: arrayOf(
        object({ stage: text, partition: whole, next: arrayOf(whole) }),
        'Next offset of every input of each stage when it read the features, raw topics first.',
      ),
      reasons: arrayOf(object({ feature: text, contribution: number }), 'Features that moved the score most.'),
      shadow: arrayOf(object({ version: text, score: number }), 'Scores of challengers for the same vector.'),
    }),
  }
}
