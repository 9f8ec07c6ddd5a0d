/** A record of a derived topic in, its line for the terminal out; called by `tail`. */
import type { LogRecord } from '../runtime/broker.ts'
import type { Plan, Prediction, RegistryRecord, Rejection } from '../schemas/plan.ts'
import { shownTime } from './terminal.ts'

type Line = (record: LogRecord) => string

/** How many features a line shows: the reasons where the model named some, else the first. */
const featuresShownMax = 3

/** `isJson`: one JSON object a line, complete. The lines throw `record_unreadable`. */
export function tailLines(plan: Plan, which: 'predictions' | 'rejected' | 'models', isJson: boolean): Line {
  const features = plan.features.map(({ name }) => name)
  const empty = Buffer.alloc(0)
  switch (which) {
    case 'predictions':
      return ({ value }) => {
        const prediction = plan.predictions.codec.decode(value ?? empty)
        return isJson ? predictionJson(prediction, features) : predictionLine(prediction, features)
      }
    case 'rejected':
      return ({ value }) => {
        const rejection = plan.rejected.codec.decode(value ?? empty)
        return isJson ? rejectionJson(rejection) : rejectionLine(rejection)
      }
    case 'models':
      return ({ value }) => {
        const record = plan.models.codec.decode(value ?? empty)
        return isJson ? JSON.stringify(record) : registryLine(record)
      }
  }
}

function predictionLine(prediction: Prediction, features: readonly string[]): string {
  const { id, time, score, modelVersion, reasons } = prediction
  const named = reasons.map(({ feature }) => feature)
  const picked = (named.length > 0 ? named : features).slice(0, featuresShownMax)
  const values = picked.map((name) => {
    const value = prediction.features[features.indexOf(name)] ?? Number.NaN
    return `${name}=${Number.isNaN(value) ? 'missing' : Number(value.toPrecision(6))}`
  })
  const scored = score === null ? 'no score' : `score ${score.toFixed(4)}`
  return [id, shownTime(time), scored, modelVersion ?? 'no model', ...values].join('  ')
}

/** Missing values are null; features by name. */
function predictionJson(prediction: Prediction, features: readonly string[]): string {
  const byName = Object.fromEntries(features.map((name, i) => [name, prediction.features[i] ?? null]))
  return JSON.stringify({ ...prediction, features: byName })
}

function rejectionLine({ topic, partition, offset, stage, problems }: Rejection): string {
  const told = problems.map(
    ({ path, code, expected, received }) =>
      `${path === '' ? '' : `${path} `}${code}: expected ${expected}, received ${received}`,
  )
  return [`${topic}-${partition}@${offset}`, stage, told.join('; ')].join('  ')
}

function rejectionJson({ key, value, ...rejection }: Rejection): string {
  return JSON.stringify({ ...rejection, key: bytesJson(key), value: bytesJson(value) })
}

/** Text where the bytes are text, else base64. */
export function bytesJson(bytes: Buffer | null): string | { readonly base64: string } | null {
  if (bytes === null) return null
  const text = bytes.toString('utf8')
  return Buffer.from(text).equals(bytes) ? text : { base64: bytes.toString('base64') }
}

function registryLine(record: RegistryRecord): string {
  if (record.kind === 'alias') {
    const { alias, previous, version, changedAtMs, by, reason } = record
    return `${shownTime(changedAtMs)}  ${alias}: ${previous ?? 'none'} -> ${version}  by ${by}: ${reason}`
  }
  const metrics = Object.entries(record.metrics).map(([name, value]) => `${name}=${Number(value.toPrecision(6))}`)
  return [shownTime(record.createdAtMs), record.version, `definition ${record.fingerprint}`, ...metrics].join('  ')
}
