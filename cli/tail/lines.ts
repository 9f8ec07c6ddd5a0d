/** A record of a topic in, its line for the terminal out, or null where a filter leaves it out; called by `tail`. */
import type { LogRecord } from '../../runtime/broker.ts'
import type { EventValues, Problem } from '../../schemas/kernel/event.ts'
import type { Plan, StreamPlan } from '../../schemas/plan/plan.ts'
import type { AliasChange, DeadLetter, Prediction, RegistryRecord } from '../../schemas/wire/records.ts'
import { shownTime } from '../terminal.ts'
import {
  eventFilter,
  predictionFilter,
  registryFilter,
  rejectionFilter,
  requireFitting,
  type TailFilters,
} from './filters.ts'

export interface TailView {
  readonly topic: string
  /** Throws `record_unreadable`. */
  readonly line: (record: LogRecord) => string | null
}

/** How many features a line shows: the reasons where the model named some, else the first. */
const featuresShownMax = 3
const empty = Buffer.alloc(0)

/** `which`: predictions, rejected, models, or a stream. `isJson`: one JSON object a line, complete. Throws `usage` for a wrong filter. */
export function tailView(
  plan: Plan,
  which: 'predictions' | 'rejected' | 'models' | StreamPlan,
  filters: TailFilters,
  isJson: boolean,
): TailView {
  requireFitting(filters, typeof which === 'string' ? which : 'events')
  if (typeof which !== 'string') return { topic: which.topic, line: eventLines(which, filters, isJson) }
  const { topic } = plan[which]
  const features = plan.features.map(({ name }) => name)
  switch (which) {
    case 'predictions': {
      const isShown = predictionFilter(filters, plan)
      const line = isJson ? predictionJson : predictionLine
      return { topic, line: lines(plan.predictions.codec.decode, isShown, (one) => line(one, features)) }
    }
    case 'rejected': {
      const isShown = rejectionFilter(filters, plan)
      return { topic, line: lines(plan.rejected.codec.decode, isShown, isJson ? rejectionJson : rejectionLine) }
    }
    case 'models':
      return {
        topic,
        line: lines(plan.models.codec.decode, registryFilter(filters), isJson ? JSON.stringify : registryLine),
      }
  }
}

function lines<T>(
  decode: (bytes: Buffer) => T,
  isShown: (value: T, record: LogRecord) => boolean,
  line: (value: T) => string,
): TailView['line'] {
  return (record) => {
    const value = decode(record.value ?? empty)
    return isShown(value, record) ? line(value) : null
  }
}

/** An invalid event is shown with its problems: the pipeline will reject it. */
function eventLines(stream: StreamPlan, filters: TailFilters, isJson: boolean): TailView['line'] {
  const isShown = eventFilter(filters, stream)
  return (record) => {
    const decoded = stream.codec.decode(record.value)
    if (!isShown(decoded.ok ? decoded.event : null, record)) return null
    const { offset, appendedAtMs } = record
    if (isJson) return JSON.stringify({ offset, appendedAtMs, key: bytesJson(record.key), ...decoded })
    return decoded.ok
      ? eventLine(decoded.event, stream)
      : `@${offset}  no valid event: ${problemText(decoded.problems)}`
  }
}

function eventLine(event: EventValues, stream: StreamPlan): string {
  const rest = stream.fields.filter(({ name }) => name !== stream.idField && name !== stream.timeField)
  const values = rest.map(({ name, kind }) => {
    const value = event[name]
    return `${name}=${value == null ? 'missing' : kind === 'timestamp' ? shownTime(value as number) : value}`
  })
  return [event[stream.idField], shownTime(event[stream.timeField] as number), ...values].join('  ')
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

function rejectionLine({ topic, partition, offset, stage, problems }: DeadLetter): string {
  return [`${topic}-${partition}@${offset}`, stage, problemText(problems)].join('  ')
}

function problemText(problems: readonly Problem[]): string {
  const sentences = problems.map(
    ({ path, code, expected, received }) =>
      `${path === '' ? '' : `${path} `}${code}: expected ${expected}, received ${received}`,
  )
  return sentences.join('; ')
}

function rejectionJson({ key, value, ...rejection }: DeadLetter): string {
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
    const { alias, previous, version, changedAtMs, by, reason, action } = record
    return `${shownTime(changedAtMs)}  ${alias}: ${previous ?? 'none'} -> ${version ?? 'none'}${actionText(action)}  by ${by}: ${reason}`
  }
  const listed = record.kind === 'note' ? record.figures : record.metrics
  const metrics = Object.entries(listed).map(([name, value]) => `${name}=${Number(value.toPrecision(6))}`)
  if (record.kind === 'note') {
    const { notedAtMs, version, note, by, reason } = record
    return [`${shownTime(notedAtMs)}`, `${version} ${note}`, `by ${by}: ${reason}`, ...metrics].join('  ')
  }
  return [shownTime(record.createdAtMs), record.version, `definition ${record.fingerprint}`, ...metrics].join('  ')
}

function actionText(action: AliasChange['action']): string {
  return action === 'set' ? '' : ` (${action})`
}
