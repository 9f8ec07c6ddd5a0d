/** The filters of `tail` in, for each kind of record whether it is shown out. A filter that does not apply to a kind is wrong usage. */
import type { LogRecord } from '../../runtime/broker.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { EventValues, RejectCode } from '../../schemas/kernel/event.ts'
import { nearestName } from '../../schemas/kernel/nearest-name.ts'
import type { Plan, StreamPlan } from '../../schemas/plan/plan.ts'
import type { DeadLetter, Prediction, RegistryRecord } from '../../schemas/wire/records.ts'
import type { Condition } from '../option-values.ts'

export type TailKind = 'predictions' | 'rejected' | 'models' | 'events'

/** All that are given must hold. */
export interface TailFilters {
  readonly id?: string
  readonly key?: string
  readonly minScore?: number
  readonly maxScore?: number
  readonly model?: string
  readonly where?: readonly Condition[]
  readonly code?: RejectCode
  readonly stream?: string
  readonly stage?: string
}

type Shown<T> = (value: T, record: LogRecord) => boolean

const isFrom: Readonly<Record<keyof TailFilters, readonly TailKind[]>> = {
  id: ['predictions', 'events'],
  key: ['predictions', 'rejected', 'events'],
  minScore: ['predictions'],
  maxScore: ['predictions'],
  model: ['predictions', 'models'],
  where: ['predictions', 'events'],
  code: ['rejected'],
  stream: ['rejected'],
  stage: ['rejected'],
}
const kindNames: Readonly<Record<TailKind, string>> = {
  predictions: 'predictions',
  rejected: 'rejected',
  models: 'models',
  events: 'a stream',
}

/** Throws `usage` for a filter that does not apply to what is printed. */
export function requireFitting(filters: TailFilters, kind: TailKind): void {
  for (const name of Object.keys(isFrom) as Array<keyof TailFilters>) {
    if (filters[name] === undefined || isFrom[name].includes(kind)) continue
    const option = `--${name.replace(/[A-Z]/g, (upper) => `-${upper.toLowerCase()}`)}`
    const kinds = isFrom[name].map((one) => kindNames[one]).join(' or ')
    throw new PipelineError('usage', `${option} applies to ${kinds}, not to ${kindNames[kind]}.`)
  }
}

export function predictionFilter(filters: TailFilters, plan: Plan): Shown<Prediction> {
  const { id, minScore = Number.NEGATIVE_INFINITY, maxScore = Number.POSITIVE_INFINITY, model } = filters
  const hasScoreBound = filters.minScore !== undefined || filters.maxScore !== undefined
  const names = plan.features.map(({ name }) => name)
  const conditions = conditionsOn(filters, names, 'feature')
  const key = keyFilter(filters)
  return (prediction, record) => {
    const { score } = prediction
    return (
      (id === undefined || prediction.id === id) &&
      (model === undefined || prediction.modelVersion === model) &&
      (!hasScoreBound || (score !== null && score >= minScore && score <= maxScore)) &&
      key(record) &&
      conditions.every(({ at, holds }) => holds(prediction.features[at] ?? Number.NaN))
    )
  }
}

export function eventFilter(filters: TailFilters, stream: StreamPlan): Shown<EventValues | null> {
  const { id } = filters
  const names = stream.fields.filter(({ kind }) => kind === 'number' || kind === 'integer').map(({ name }) => name)
  const conditions = conditionsOn(filters, names, 'number field')
  const key = keyFilter(filters)
  return (event, record) => {
    if (!key(record)) return false
    // An invalid event has no values to filter by.
    if (event === null) return id === undefined && conditions.length === 0
    return (
      (id === undefined || event[stream.idField] === id) &&
      conditions.every(({ at, holds }) => holds((event[names[at]!] as number | null) ?? Number.NaN))
    )
  }
}

export function rejectionFilter({ code, stream, stage, ...more }: TailFilters, plan: Plan): Shown<DeadLetter> {
  const streams = plan.streams.map(({ name }) => name)
  const stages = plan.stages.map(({ entity }) => entity.name)
  if (stream !== undefined) requireKnown('--stream', stream, streams)
  if (stage !== undefined) requireKnown('--stage', stage, stages)
  const topic = plan.streams.find(({ name }) => name === stream)?.topic
  const key = keyFilter(more)
  return (rejection) =>
    (code === undefined || rejection.problems.some((problem) => problem.code === code)) &&
    (topic === undefined || rejection.topic === topic) &&
    (stage === undefined || rejection.stage === stage) &&
    key(rejection)
}

export function registryFilter({ model }: TailFilters): Shown<RegistryRecord> {
  return ({ version }) => model === undefined || version === model
}

function keyFilter({ key }: TailFilters): (keyed: { readonly key: Buffer | null }) => boolean {
  if (key === undefined) return () => true
  const bytes = Buffer.from(key)
  return (keyed) => keyed.key?.equals(bytes) ?? false
}

/** `at`: index of the value among `names`. No condition holds for a missing value. */
function conditionsOn({ where = [] }: TailFilters, names: readonly string[], what: string) {
  return where.map(({ name, comparison, value }) => {
    requireKnown(`--where: ${what}`, name, names)
    return {
      at: names.indexOf(name),
      holds: (found: number) => !Number.isNaN(found) && compare[comparison](found, value),
    }
  })
}

const compare: Readonly<Record<Condition['comparison'], (a: number, b: number) => boolean>> = {
  '>=': (a, b) => a >= b,
  '<=': (a, b) => a <= b,
  '!=': (a, b) => a !== b,
  '=': (a, b) => a === b,
  '>': (a, b) => a > b,
  '<': (a, b) => a < b,
}

function requireKnown(what: string, name: string, known: readonly string[]): void {
  if (known.includes(name)) return
  const nearest = known.length === 0 ? 'there is none' : `the nearest is ${nearestName(name, known)}`
  throw new PipelineError('usage', `${what} ${name} is not known to this definition; ${nearest}.`)
}
