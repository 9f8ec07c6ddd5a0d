/**
 * Predictions to bytes in the format that the definition chooses, and from bytes in any of the three, so that a topic may hold
 * several after a change. Called by `compile`; what a registry must have before the first record goes through `writer-schemas.ts`.
 */
import assert from 'node:assert/strict'
import { PipelineError } from '../kernel/errors.ts'
import { confluentHeaderBytes, confluentId, isConfluent, singleObjectHeaderBytes } from './avro-fingerprint.ts'
import type { AvroSchema } from './avro-types.ts'
import type { RecordCodec } from './codec.ts'
import type { PredictionFormat } from './prediction-format.ts'
import { isJsonObject, predictionFromJson, predictionJsonSchema, predictionToJson } from './prediction-json.ts'
import { createPredictionWriter, type WritePrediction } from './prediction-writer.ts'
import { instant, origin, positions, record } from './record-codecs.ts'
import type { Prediction } from './records.ts'
import { createSingleObjectCodec, type Decoded, decodeOwn, type SingleObjectCodec } from './single-object.ts'
import type { WriterSchemas } from './writer-schemas.ts'

export interface PredictionCodecOptions {
  readonly namespace: string
  readonly topic: string
  /** Names, in vector order. */
  readonly features: readonly string[]
  readonly format: PredictionFormat
  readonly writers: WriterSchemas
}

export interface PredictionCodec extends RecordCodec<Prediction> {
  /** The same bytes as `encode`, in place; null where predictions are not in Avro. */
  readonly write: WritePrediction | null
}

export function createPredictionCodec(options: PredictionCodecOptions): PredictionCodec {
  const { namespace, features, format, writers } = options
  // As `TopicNameStrategy` of the Confluent clients names it.
  const subject = `${options.topic}-value`
  const schema = predictionSchema(namespace, features)
  const schemas = new Map([['prediction', schema]])
  const codec = createSingleObjectCodec(schemas, { writers })
  const jsonSchema = predictionJsonSchema(namespace, features)
  if (format === 'registry') writers.declareSubject({ subject, type: 'AVRO', schema, isRequired: true })
  if (format === 'json') writers.declareSubject({ subject, type: 'JSON', schema: jsonSchema, isRequired: false })

  function encodeAvro(prediction: Prediction): Buffer {
    const values: Record<string, number | null> = {}
    for (let i = 0; i < features.length; i++) {
      const value = prediction.features[i] ?? Number.NaN
      values[features[i]!] = Number.isNaN(value) ? null : value
    }
    return codec.encode('prediction', { ...prediction, features: values })
  }

  function registryHeader(): Buffer {
    const id = writers.idOf(subject)
    assert(id !== undefined, `the schema of ${subject} is registered before anything is written`)
    const header = Buffer.alloc(confluentHeaderBytes)
    header.writeInt32BE(id, 1)
    return header
  }

  function encodeFramed(prediction: Prediction): Buffer {
    const body = encodeAvro(prediction).subarray(singleObjectHeaderBytes)
    return Buffer.concat([registryHeader(), body])
  }

  function decode(bytes: Buffer): Prediction {
    if (isJsonObject(bytes)) return predictionFromJson(bytes, features)
    const { record: found } = isConfluent(bytes) ? decodeFramed(codec, writers, bytes) : decodeOwn(codec, bytes, what)
    // As its schema says.
    const { features: values, ...others } = found as PredictionFields
    return { ...others, features: features.map((name) => values[name] ?? Number.NaN) }
  }

  const encoders = {
    avro: encodeAvro,
    json: (prediction: Prediction) => predictionToJson(prediction, features),
    registry: encodeFramed,
  } satisfies Record<PredictionFormat, (prediction: Prediction) => Buffer>
  const header = codec.header('prediction')
  const headers = { avro: () => header, registry: registryHeader, json: null } satisfies Record<
    PredictionFormat,
    unknown
  >
  const headerOf = headers[format]
  return {
    schemas,
    write: headerOf && createPredictionWriter(features.length, headerOf),
    jsonSchemas: new Map(format === 'json' ? [['prediction', jsonSchema]] : []),
    encode: encoders[format],
    decode,
  }
}

const what = 'prediction'

type PredictionFields = Omit<Prediction, 'features'> & { readonly features: Readonly<Record<string, number | null>> }

function decodeFramed(codec: SingleObjectCodec, writers: WriterSchemas, bytes: Buffer): Decoded {
  const id = confluentId(bytes)
  const writer = writers.findId(id)
  if (writer === undefined || 'notAvro' in writer) {
    const reason = writers.hasRegistry
      ? (writer?.notAvro ?? 'which the registry does not have')
      : 'and no registry is configured: set SCHEMA_REGISTRY_URL'
    throw new PipelineError(
      'record_unreadable',
      `A ${what} record was written with the schema of id ${id} in a schema registry, ${reason}.`,
    )
  }
  try {
    return codec.decodeAs(writer, bytes, confluentHeaderBytes)
  } catch (cause) {
    const message = `A ${what} record of schema id ${id} could not be decoded: ${(cause as Error).message}.`
    throw new PipelineError('record_unreadable', message, { cause })
  }
}

function predictionSchema(namespace: string, features: readonly string[]): AvroSchema {
  const nullable = (type: string) => ['null', type]
  // A prediction of a definition without the feature is read, too: its fingerprint shows that it belongs to another definition.
  const vector = {
    ...record('features', namespace, {}),
    fields: features.map((name) => ({ name, type: nullable('double'), default: null })),
  }
  return record(
    'prediction',
    namespace,
    {
      id: 'string',
      time: instant,
      score: nullable('double'),
      modelVersion: nullable('string'),
      features: vector,
      fingerprint: 'string',
      origin: origin(namespace),
      positions: positions(namespace),
      reasons: { type: 'array', items: record('reason', namespace, { feature: 'string', contribution: 'double' }) },
      shadow: { type: 'array', items: record('shadow_score', namespace, { version: 'string', score: 'double' }) },
    },
    'A scored event: the vector, the score, the model and the input positions that they came from.',
    { shadow: [] },
  )
}
