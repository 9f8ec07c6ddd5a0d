/**
 * Events over HTTP into Kafka, a Fastify plugin with one route a stream. A request is answered when Kafka has acknowledged every event
 * of it. Requests that come while a send is under way travel together in the next: the producer sees to that. The command line registers
 * it with a server of `runtime/http/server.ts`.
 */
import { finished } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Registry } from 'prom-client'
import type { Producer } from '../runtime/broker.ts'
import type { Deadline } from '../runtime/deadline.ts'
import { failureOf, invalidRequest, sentence } from '../runtime/http/failure.ts'
import { bodyBytesMax } from '../runtime/http/server.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { Plan, StreamPlan } from '../schemas/plan/plan.ts'
import { createBacklog, type Load } from './backlog.ts'
import { createIntakeMetrics } from './intake-metrics.ts'
import { eventSchemaOf, intakeAnswerSchema, intakeRoute } from './intake-schemas.ts'
import { type BodyKind, splitBody } from './split-body.ts'
import { createEventTaker, type EventResult, type TakenEvents } from './take-events.ts'

export interface IntakeOptions {
  readonly plan: Plan
  readonly producer: Pick<Producer, 'send'>
  readonly partitionsOf: (topic: string) => number
  readonly registry: Registry
  /** The wall clock, ms. */
  readonly nowMs: () => number
  readonly deadlineAfter: (ms: number) => Deadline
  /** Of all requests together. */
  readonly pendingMax?: Load
}

export interface IntakeAnswer {
  readonly accepted: number
  readonly rejected: number
  readonly results: readonly EventResult[]
}

export const batchEventsMax = 1_000
/** Beyond it nobody waits. What was sent may still arrive. */
export const acknowledgeMaxMs = 8_000
const pendingMaxDefault: Load = { events: 20_000, bytes: 32 * 1_024 * 1_024 }

const bodyKinds: Readonly<Record<string, BodyKind>> = {
  'application/json': 'whole',
  'application/avro': 'whole',
  'application/octet-stream': 'whole',
  'application/x-ndjson': 'lines',
}
const sendAgain = 'Send the request again: that is safe, because an event whose id was taken already is a duplicate.'

export function intakeRoutes(options: IntakeOptions) {
  const { plan, producer, deadlineAfter, pendingMax = pendingMaxDefault } = options
  const backlog = createBacklog(pendingMax)
  const metrics = createIntakeMetrics(options.registry, () => backlog.now)
  const taker = createEventTaker(plan, options.partitionsOf, options.nowMs)

  /** Room for the body is taken before it is read; it is given back when the response is out or its connection gone. */
  function enter(request: FastifyRequest, reply: FastifyReply, done: () => void): void {
    const encoding = request.headers['content-encoding'] ?? 'identity'
    if (encoding !== 'identity') {
      reply.code(415).send(invalidRequest('', 'sent as it is', `content-encoding ${encoding}`))
      return
    }
    const bytes = Math.min(Number(request.headers['content-length'] ?? bodyBytesMax), bodyBytesMax)
    const leave = backlog.enter({ events: 0, bytes })
    if (leave === null) {
      refuseBusy(reply)
      return
    }
    finished(reply.raw, leave)
    done()
  }

  function refuseBusy(reply: FastifyReply): FastifyReply {
    const { events, bytes } = pendingMax
    const message = `At most ${events} events or ${bytes} bytes wait for Kafka at a time; nothing of this request was taken.`
    return unavailable(reply).send(failureOf('busy', message))
  }

  async function answer(stream: StreamPlan, body: Buffer | undefined, kind: BodyKind, reply: FastifyReply) {
    const split = splitBody(body ?? Buffer.alloc(0), kind, batchEventsMax)
    if (split.kind === 'too many') {
      const limits = `at most ${batchEventsMax} events and ${bodyBytesMax} bytes`
      return reply.code(413).send(failureOf('too_large', `A request holds ${limits}; nothing of this one was taken.`))
    }
    if (split.kind === 'unreadable') return sent(stream, taker.reject(stream, body!, split.problem), reply)
    const { events } = split
    if (events.length === 0) return reply.code(400).send(invalidRequest('', 'at least one event', undefined))
    return sent(stream, taker.take(stream, events), reply)
  }

  async function sent(stream: StreamPlan, { results, records }: TakenEvents, reply: FastifyReply) {
    const bytes = records.reduce((sum, { value }) => sum + (value?.length ?? 0), 0)
    const leave = backlog.enter({ events: records.length, bytes })
    if (leave === null) return refuseBusy(reply)
    const failed = await acknowledged(records, leave)
    if (failed !== null) {
      return unavailable(reply).send(failureOf(failed.code, `${sentence(failed.message)} ${sendAgain}`))
    }
    metrics.taken(stream.name, results)
    const accepted = results.filter(({ status }) => status === 'accepted').length
    const rejected = results.length - accepted
    const status = rejected === 0 ? 200 : accepted === 0 ? 422 : 207
    return reply.code(status).send({ accepted, rejected, results } satisfies IntakeAnswer)
  }

  /** The room is left when the producer is done with the records, also where nobody waits for it any more. */
  async function acknowledged(records: TakenEvents['records'], leave: () => void): Promise<PipelineError | null> {
    const deadline = deadlineAfter(acknowledgeMaxMs)
    const settled = producer
      .send(records)
      .then(
        () => null,
        (error: unknown) => ({ error }),
      )
      .finally(leave)
    const outcome = await Promise.race([settled, deadline.reached])
    deadline.cancel()
    if (outcome === null) return null
    if (outcome === 'late') {
      return new PipelineError('kafka_unreachable', `Kafka has not acknowledged within ${acknowledgeMaxMs} ms`)
    }
    if (outcome.error instanceof PipelineError) return outcome.error
    throw outcome.error
  }

  return async (app: FastifyInstance): Promise<void> => {
    app.removeAllContentTypeParsers()
    app.addContentTypeParser(Object.keys(bodyKinds), { parseAs: 'buffer' }, (_, body, done) => done(null, body))
    app.addHook('onRequest', enter)
    app.addHook('onResponse', (_, reply, done) => {
      metrics.answered(reply.statusCode, reply.elapsedTime)
      done()
    })
    app.addSchema(intakeAnswerSchema)
    for (const stream of plan.streams) {
      app.addSchema(eventSchemaOf(stream))
      app.post<{ Body: Buffer | undefined }>(
        `/streams/${stream.name}/events`,
        // The stream's codec decides what an event is, and says more than a schema can.
        { schema: intakeRoute(stream, { batchEventsMax, bodyBytesMax }), validatorCompiler: () => () => true },
        ({ body, headers }, reply) => answer(stream, body, kindOf(headers['content-type']), reply),
      )
    }
  }
}

/** Of a type that a parser was found for; without a body there is none. */
function kindOf(contentType = 'application/json'): BodyKind {
  return bodyKinds[contentType.split(';')[0]!.trim().toLowerCase()] ?? 'whole'
}

function unavailable(reply: FastifyReply): FastifyReply {
  return reply.code(503).header('retry-after', '1')
}
