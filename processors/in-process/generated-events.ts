/**
 * Events made from nothing but a definition: valid values of every field, spread over some entities and over enough event time that
 * windows slide and facts expire, with the variety of an ordinary stream: repeated, late and invalid ones. Endless; the same draws give the
 * same events. Called by the warm-up of `run`.
 */
import type { EventValues, FieldPlan, FieldValue } from '../../schemas/kernel/event.ts'
import type { Plan, StreamPlan } from '../../schemas/plan/plan.ts'
import { instantsOf, lengthMaxDefault } from '../../schemas/wire/field-limits.ts'
import type { RawEvent } from './in-process-run.ts'

export interface Draw {
  /** From 0 to 1, 1 excluded. */
  next(): number
  /** 0 to `count - 1`. */
  below(count: number): number
}

export interface GeneratedEvents {
  readonly events: Generator<RawEvent, void, void>
  /** At or after the last event time, ms: to be the time of day, so that no event is dated ahead. */
  readonly untilMs: number
}

/** Entities of a kind; the first of them have the most events. */
const keysMax = 40
const categories = 6
/** After so many the first facts leave the longest window. */
const eventsUntilSliding = 2_000
/** By then so many times the declared disorder has passed: events wait that long for their turn. */
const disorders = 20
/** Beyond so many the time stands still. */
const eventsMax = 100_000
/** One event in so many … */
const repeatedEvery = 100
const lateEvery = 50
const invalidEvery = 250
const missingEvery = 8
/** … is one of so many before. */
const recentMax = 32
/** Where the declared instants allow it, events begin then. */
const beginMs = Date.UTC(2020, 0, 1)
const dayMs = 86_400_000

interface Generating {
  readonly draw: Draw
  readonly beginMs: number
  readonly untilMs: number
  readonly stepMs: number
  /** By stream: the fields that some entity has as its key. */
  readonly keys: ReadonlyMap<StreamPlan, ReadonlySet<string>>
  count: number
}

export function generatedEvents(plan: Plan, draw: Draw): GeneratedEvents {
  const streams = plan.streams.filter(({ entersAt }) => entersAt !== null)
  const retentionMs = Math.max(...plan.entityStages.map(({ entity }) => entity.retentionMs))
  const disorderMs = Math.max(...streams.map((stream) => stream.disorderMs))
  const stepMs = Math.max(retentionMs, disorders * disorderMs) / eventsUntilSliding
  const spanMs = stepMs * eventsMax
  const { from, until } = instantsOf(fieldNamed(plan.scored, plan.scored.timeField))
  const begin = Math.max(from, Math.min(beginMs, until - spanMs))
  const generating: Generating = {
    draw,
    beginMs: begin,
    untilMs: Math.min(until, begin + spanMs),
    stepMs,
    keys: new Map(streams.map((stream) => [stream, keysOf(plan, stream)])),
    count: 0,
  }
  return { events: generate(generating, streams), untilMs: generating.untilMs }
}

function* generate(generating: Generating, streams: readonly StreamPlan[]): Generator<RawEvent, void, void> {
  const { draw } = generating
  const recent: RawEvent[] = []
  const oneIn = (count: number) => draw.below(count) === 0
  for (;;) {
    // Half of the events are of the scored stream, which is the first.
    const stream = oneIn(2) ? streams[0]! : streams[draw.below(streams.length)]!
    const values = valuesOf(generating, stream, oneIn(lateEvery))
    const event = { stream: stream.name, values }
    recent[generating.count % recentMax] = event
    generating.count++
    yield oneIn(invalidEvery) ? invalid(event, stream) : event
    if (oneIn(repeatedEvery)) yield recent[draw.below(recent.length)]!
  }
}

function valuesOf(generating: Generating, stream: StreamPlan, isLate: boolean): EventValues {
  const { draw, count, stepMs } = generating
  const nowMs = Math.min(generating.untilMs, generating.beginMs + Math.floor(count * stepMs))
  const timeMs = isLate ? nowMs - draw.next() * stream.latenessMs : nowMs
  const values: Record<string, FieldValue> = {}
  for (const field of stream.fields) {
    const { name } = field
    if (name === stream.timeField) values[name] = instantIn(field, timeMs)
    else if (name === stream.idField) values[name] = textIn(field, `generated-${count}`)
    else if (field.optional && draw.below(missingEvery) === 0) values[name] = null
    else values[name] = drawnValue(generating, field, timeMs, generating.keys.get(stream)!.has(name))
  }
  return values
}

function drawnValue({ draw }: Generating, field: FieldPlan, timeMs: number, isKey: boolean): FieldValue {
  switch (field.kind) {
    case 'text':
      return textIn(field, isKey ? `key-${draw.below(1 + draw.below(keysMax))}` : `text-${draw.below(categories)}`)
    case 'flag':
      return draw.below(2) === 0
    case 'timestamp':
      // Mostly an instant that the event looks back to.
      return instantIn(field, timeMs - draw.next() * dayMs)
    case 'integer':
      return Math.floor(numberIn(field, draw.next()))
    case 'number':
      return rounded(field, numberIn(field, draw.next()))
  }
}

/** The last units, which differ most. */
function textIn({ lengthMax = lengthMaxDefault }: FieldPlan, text: string): string {
  return text.slice(-lengthMax)
}

function instantIn(field: FieldPlan, ms: number): number {
  const { from, until } = instantsOf(field)
  return Math.round(Math.max(from, Math.min(until, ms)))
}

const rangeDefault = 1_000

function numberIn({ min, max }: FieldPlan, share: number): number {
  const low = min ?? Math.min(0, (max ?? 0) - rangeDefault)
  const high = max ?? Math.max(low, 0) + rangeDefault
  // Not low + share × (high − low), which may be infinite.
  return low * (1 - share) + high * share
}

/** With the decimals that are declared; where nothing is, with as many as come. */
function rounded({ min = Number.NEGATIVE_INFINITY, max = Infinity, decimals }: FieldPlan, value: number): number {
  if (decimals === undefined) return value
  const rounded = Number(value.toFixed(decimals))
  return Math.max(min, Math.min(max, rounded))
}

/** Dated before all instants that its stream takes. */
function invalid({ stream, values }: RawEvent, { timeField, fields }: StreamPlan): RawEvent {
  const { from } = instantsOf(fields.find(({ name }) => name === timeField)!)
  return { stream, values: { ...values, [timeField]: from - 1 } }
}

function keysOf({ stages }: Plan, { index, keyField }: StreamPlan): ReadonlySet<string> {
  return new Set([keyField, ...stages.flatMap(({ entity }) => entity.keyFields.get(index) ?? [])])
}

function fieldNamed({ fields }: StreamPlan, name: string): FieldPlan {
  return fields.find((field) => field.name === name)!
}
