/**
 * The parameters of a feature query come in, what to ask the reader goes out, and its problems come in, error responses go out. Called by
 * `routes.ts`, whose schemas have checked the types.
 */
import { type FailedRequest, invalidRequest } from '../runtime/http/failure.ts'
import {
  type CanonicalPosition,
  orderOf,
  originOfOrder,
  partitionsMax,
  streamOfOrder,
} from '../schemas/kernel/canonical-order.ts'
import type { Plan } from '../schemas/plan/plan.ts'
import type { PlaceProblem, QueryAt } from './query-place.ts'
import type { ReadProblem, ReadRequest } from './reader.ts'
import { eventText, instantMax, instantMin, instantText, placeText } from './route-schemas.ts'

export interface Asked {
  readonly asOf?: string
  readonly stream?: string
  readonly through?: string | number
  readonly place?: string
  readonly knowledge?: 'now' | 'then'
  readonly clock?: 'event' | 'wall'
}

const rfc3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/

export function queryOf(asked: Asked, plan: Plan, nowMs: number): ReadRequest | FailedRequest {
  const { asOf, through, place, knowledge, clock } = asked
  const named = (['asOf', 'through', 'place'] as const).filter((name) => asked[name] !== undefined)
  if (named.length > 1) return wrong(`/${named[1]}`, `the only one of asOf, through and place`, asked[named[1]!])
  if (asked.stream !== undefined && asOf === undefined)
    return wrong('/stream', 'given together with asOf', asked.stream)
  if (clock !== undefined && named.length > 0) return wrong('/clock', `left out beside ${named[0]}`, clock)
  if (through !== undefined) {
    const instant = instantOf(through)
    return instant === null
      ? wrong('/through', instantText, through)
      : { at: { reading: 'through', instant }, knowledge: knowledge ?? 'now' }
  }
  if (place !== undefined) {
    const found = placeFromText(place, plan)
    return found === null
      ? wrong('/place', placeText, place)
      : { at: { reading: 'place', place: found }, knowledge: knowledge ?? 'then' }
  }
  const at: QueryAt =
    asOf === undefined
      ? { reading: 'now', wallMs: clock === 'wall' ? nowMs : null }
      : { reading: 'asOf', id: asOf, stream: streamNamed(asked.stream, plan) }
  return { at, knowledge: knowledge ?? (asOf === undefined ? 'now' : 'then') }
}

/** The schema has checked the name. */
function streamNamed(name: string | undefined, { streams, scored }: Plan): number {
  return (streams.find((stream) => stream.name === name) ?? scored).index
}

function instantOf(text: string | number): number | null {
  const isCount = typeof text === 'number' || /^-?\d+$/.test(text)
  const instant = isCount ? Number(text) : rfc3339.test(text) ? Date.parse(text.toUpperCase()) : Number.NaN
  return Number.isInteger(instant) && instant >= instantMin && instant <= instantMax ? instant : null
}

/** Written so that `place=` takes it again. */
export function placeAsText({ time, order }: CanonicalPosition, { streams }: Plan): string {
  const { partition, offset } = originOfOrder(order)
  const stream = streams.find(({ index }) => index === streamOfOrder(order))
  return [new Date(time).toISOString(), stream?.name ?? streamOfOrder(order), partition, offset].join()
}

function placeFromText(text: string, { streams }: Plan): CanonicalPosition | null {
  const [instant = '', name, partition, offset] = text.split(',')
  const time = instantOf(instant)
  const stream = streams.find((candidate) => candidate.name === name)
  const isKnown = stream !== undefined && Number(partition) < partitionsMax && Number.isSafeInteger(Number(offset))
  return time === null || !isKnown ? null : { time, order: orderOf(stream.index, Number(partition), Number(offset)) }
}

export function failedQuery(problem: ReadProblem, { entity, plan }: { entity: string; plan: Plan }): FailedRequest {
  switch (problem.code) {
    case 'entity_unknown': {
      const { code, expected, received } = problem
      const message = `There is no entity ${received}; known are ${expected.join(', ')}.`
      return { status: 404, failure: { error: { code, message, path: '/entity', expected, received } } }
    }
    case 'place_ahead':
      return placeAhead(problem, plan)
    case 'event_unknown':
      return eventUnknown(problem, entity, plan)
    case 'stream_unplaced': {
      const nameOf = (index: number) => plan.streams.find((stream) => stream.index === index)!.name
      const expected = problem.expected.map(nameOf)
      const message =
        `${entity} keeps no facts of ${nameOf(problem.stream)}, by which an event of it could be found: name another stream ` +
        `(${expected.join(', ')}), or give the place of the event, as its prediction has it, as place=<instant>,<stream>,<partition>,<offset>.`
      const received = nameOf(problem.stream)
      return { status: 400, failure: { error: { code: problem.code, message, path: '/stream', expected, received } } }
    }
  }
}

function placeAhead({ code, reached, place }: Extract<PlaceProblem, { code: 'place_ahead' }>, plan: Plan) {
  const path = Number.isFinite(place.order) ? '/place' : '/through'
  const shown = (at: CanonicalPosition) =>
    Number.isFinite(place.order) ? placeAsText(at, plan) : new Date(at.time).toISOString()
  // Of a task that has seen no event yet the time is −∞.
  const isEmpty = !Number.isFinite(reached.time)
  const expected = isEmpty ? 'nothing before the first event' : `at most ${shown(reached)}`
  const received = shown(place)
  const message = `${received} lies ahead of the stream, which has ${isEmpty ? 'no event yet' : `come to ${shown(reached)}`}.`
  return { status: 400, failure: { error: { code, message, path, expected, received } } }
}

/** Before `through` there was, `asOf` took instants: who still asks for one is told so. */
function eventUnknown(
  { code, id, stream, keptFrom }: Extract<PlaceProblem, { code: 'event_unknown' }>,
  entity: string,
  plan: Plan,
): FailedRequest {
  if (rfc3339.test(id) || /^-?\d{10,16}$/.test(id)) return wrong('/asOf', eventText, id)
  const { name } = plan.streams.find(({ index }) => index === stream)!
  const kept = Number.isFinite(keptFrom)
    ? `or is older than ${new Date(keptFrom).toISOString()}, from when facts are kept`
    : ''
  const message =
    `Nothing is kept of the ${name} event ${JSON.stringify(id.slice(0, 100))} with the ${entity} asked for: it belongs to another, ` +
    `was rejected, was not read yet${kept === '' ? '' : `, ${kept}`}. A known place can be given as place=<instant>,<stream>,<partition>,<offset>.`
  return { status: 404, failure: { error: { code, message, path: '/asOf', expected: eventText, received: id } } }
}

function wrong(path: string, expected: string, received: unknown): FailedRequest {
  return { status: 400, failure: invalidRequest(path, expected, received) }
}
