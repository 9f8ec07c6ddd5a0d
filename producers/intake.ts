/**
 * Events come in over HTTP and go out to Kafka: a Fastify plugin with one route per stream. A request is answered once Kafka has
 * acknowledged all of its events; the producer batches requests that arrive while a send is in flight. Registered by `cli/run/http.ts`.
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
import { type Backlog, createBacklog, type Load } from './backlog.ts'
import { createIntakeMetrics, type IntakeMetrics } from './intake-metrics.ts'
import { eventSchemaOf, intakeAnswerSchema, intakeRoute } from './intake-schemas.ts'
import { type BodyKind, splitBody } from './split-body.ts'
import { createEventTaker, type EventResult, type EventTaker, type TakenEvents } from './take-events.ts'

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
/** A request is given up after this long; what was sent may still be written. */
export const acknowledgeMaxMs = 8_000
const pendingMaxDefault: Load = { events: 20_000, bytes: 32 * 1_024 * 1_024 }

const bodyKinds: Readonly<Record<string, BodyKind>> = {
  'application/json': 'whole',
  'application/avro': 'whole',
  'application/octet-stream': 'whole',
  'application/x-ndjson': 'lines',
}
const sendAgain = 'Send the request again: that is safe, because an event whose id was taken already is a duplicate.'

/** What the requests of one server share. */
interface Intake {
  readonly producer: IntakeOptions['producer']
  readonly deadlineAfter: IntakeOptions['deadlineAfter']
  readonly pendingMax: Load
  readonly backlog: Backlog
  readonly metrics: IntakeMetrics
  readonly taker: EventTaker
}

export function intakeRoutes(options: IntakeOptions) {
  const { plan, producer, deadlineAfter, pendingMax = pendingMaxDefault } = options
  const backlog = createBacklog(pendingMax)
  const intake: Intake = {
    producer,
    deadlineAfter,
    pendingMax,
    backlog,
    metrics: createIntakeMetrics(options.registry, () => backlog.now),
    taker: createEventTaker(plan, options.partitionsOf, options.nowMs),
  }

  return async (app: FastifyInstance): Promise<void> => {
    app.removeAllContentTypeParsers()
    app.addContentTypeParser(Object.keys(bodyKinds), { parseAs: 'buffer' }, (_, body, done) => done(null, body))
    app.addHook('onRequest', (request, reply, done) => admit(intake, request, reply, done))
    app.addHook('onResponse', (_, reply, done) => {
      intake.metrics.answered(reply.statusCode, reply.elapsedTime)
      done()
    })
    app.addSchema(intakeAnswerSchema)
    for (const stream of plan.streams) {
      app.addSchema(eventSchemaOf(stream))
      app.post<{ Body: Buffer | undefined }>(
        `/streams/${stream.name}/events`,
        // The stream's codec validates events, and reports more than a schema can.
        { schema: intakeRoute(stream, { batchEventsMax, bodyBytesMax }), validatorCompiler: () => () => true },
        ({ body, headers }, reply) => takeBody(intake, stream, body, kindOf(headers['content-type']), reply),
      )
    }
  }
}

/** Reserves room for the body before it is read, and releases it when the response is sent or its connection is closed. */
function admit(intake: Intake, request: FastifyRequest, reply: FastifyReply, done: () => void): void {
  const encoding = request.headers['content-encoding'] ?? 'identity'
  if (encoding !== 'identity') {
    reply.code(415).send(invalidRequest('', 'sent as it is', `content-encoding ${encoding}`))
    return
  }
  const bytes = Math.min(Number(request.headers['content-length'] ?? bodyBytesMax), bodyBytesMax)
  const leave = intake.backlog.enter({ events: 0, bytes })
  if (leave === null) {
    sendBusy(intake, reply)
    return
  }
  finished(reply.raw, leave)
  done()
}

function sendBusy({ pendingMax: { events, bytes } }: Intake, reply: FastifyReply): FastifyReply {
  const message = `At most ${events} events or ${bytes} bytes wait for Kafka at a time; nothing of this request was taken.`
  return unavailable(reply).send(failureOf('busy', message))
}

async function takeBody(
  intake: Intake,
  stream: StreamPlan,
  body: Buffer | undefined,
  kind: BodyKind,
  reply: FastifyReply,
) {
  const { taker } = intake
  const split = splitBody(body ?? Buffer.alloc(0), kind, batchEventsMax)
  if (split.kind === 'too many') {
    const limits = `at most ${batchEventsMax} events and ${bodyBytesMax} bytes`
    return reply.code(413).send(failureOf('too_large', `A request holds ${limits}; nothing of this one was taken.`))
  }
  if (split.kind === 'unreadable') return publish(intake, stream, taker.reject(stream, body!, split.problem), reply)
  if (split.events.length === 0) return reply.code(400).send(invalidRequest('', 'at least one event', undefined))
  return publish(intake, stream, taker.take(stream, split.events), reply)
}

async function publish(intake: Intake, stream: StreamPlan, { results, records }: TakenEvents, reply: FastifyReply) {
  const bytes = records.reduce((sum, { value }) => sum + (value?.length ?? 0), 0)
  const leave = intake.backlog.enter({ events: records.length, bytes })
  if (leave === null) return sendBusy(intake, reply)
  const failed = await acknowledged(intake, records, leave)
  if (failed !== null) {
    return unavailable(reply).send(failureOf(failed.code, `${sentence(failed.message)} ${sendAgain}`))
  }
  intake.metrics.taken(stream.name, results)
  const accepted = results.filter(({ status }) => status === 'accepted').length
  const rejected = results.length - accepted
  const status = rejected === 0 ? 200 : accepted === 0 ? 422 : 207
  return reply.code(status).send({ accepted, rejected, results } satisfies IntakeAnswer)
}

/** Null once Kafka has acknowledged. The room is released when the producer is done, even if the request was given up before. */
async function acknowledged(
  { producer, deadlineAfter }: Intake,
  records: TakenEvents['records'],
  leave: () => void,
): Promise<PipelineError | null> {
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

/** Of a content type that has a parser; a request without a body has none. */
function kindOf(contentType = 'application/json'): BodyKind {
  return bodyKinds[contentType.split(';')[0]!.trim().toLowerCase()] ?? 'whole'
}

function unavailable(reply: FastifyReply): FastifyReply {
  return reply.code(503).header('retry-after', '1')
}
