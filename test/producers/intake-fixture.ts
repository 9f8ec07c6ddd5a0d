/** The HTTP intake of the card-fraud pipeline on a broker in memory, and the records in its topics afterwards. */
import type { InjectOptions } from 'fastify'
import { Registry } from 'prom-client'
import { onTestFinished } from 'vitest'
import { topicSpecs } from '../../cli/topics/requirements.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import { type IntakeAnswer, type IntakeOptions, intakeRoutes } from '../../producers/intake.ts'
import type { LogRecord, Producer } from '../../runtime/broker.ts'
import { systemClock } from '../../runtime/clock.ts'
import type { HttpFailure } from '../../runtime/http/failure.ts'
import { createHttpServer } from '../../runtime/http/server.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import type { EventValues } from '../../schemas/kernel/event.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { DeadLetter } from '../../schemas/wire/records.ts'
import { brief, partitions } from '../conformance/broker-fixture.ts'

export const plan = compile(cardFraud)
export const partitionCount = 3
export const nowMs = Date.UTC(2024, 0, 2)
const clock = {
  nowMs: () => nowMs,
  elapsedMs: () => 0,
  sleep: () => Promise.reject(new Error('not expected to sleep')),
  turn: systemClock.turn,
}
/** A deadline that never comes. */
const patient = () => ({ reached: new Promise<'late'>(() => undefined), cancel: () => undefined })

export const transactionAt = Date.UTC(2024, 0, 1)
export function transaction(n: number | string, more: object = {}) {
  return { txId: `t${n}`, customerId: `c${n}`, terminalId: 'm', amount: 1.25, at: transactionAt, ...more }
}

export async function openIntake(options: Partial<IntakeOptions> & { producer?: Pick<Producer, 'send'> } = {}) {
  const broker = createMemoryBroker({ clock })
  onTestFinished(() => broker.close())
  await broker.admin.ensureTopics(topicSpecs(plan, partitionCount))
  const fetcher = await broker.data.fetcher()
  const registry = new Registry()
  const errors: unknown[] = []
  const log = { info: () => undefined, warn: () => undefined, error: (details: object) => void errors.push(details) }
  const server = createHttpServer({ log })
  onTestFinished(() => server.close())
  const producer = options.producer ?? (await broker.data.producer())
  await server.register(
    intakeRoutes({
      plan,
      partitionsOf: () => partitionCount,
      registry,
      nowMs: clock.nowMs,
      deadlineAfter: patient,
      ...options,
      producer,
    }),
  )

  async function inject(payload: InjectOptions['payload'], headers: Record<string, string>, stream: string) {
    const url = `/streams/${stream}/events`
    const reply = await server.inject({ method: 'POST', url, headers, ...(payload === undefined ? {} : { payload }) })
    return { status: reply.statusCode, headers: reply.headers, body: reply.json() as IntakeAnswer & HttpFailure }
  }

  /** The body is sent as it is; what is no text and no bytes as JSON. */
  function post(body: unknown, type = 'application/json', stream = 'transactions') {
    const payload = typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body)
    return inject(payload, { 'content-type': type }, stream)
  }

  async function recordsOf(topic: string): Promise<Array<LogRecord & { partition: number }>> {
    const from = partitions(topic, partitionCount).map((one) => ({ ...one, offset: 0 }))
    const fetched = await fetcher.fetch(from, { ...brief, maxWaitMs: 0, partitionBytesMax: 100_000_000 })
    return fetched.flatMap(({ partition, records }) => [...records].map((record) => ({ ...record, partition })))
  }

  async function accepted(stream = plan.scored): Promise<EventValues[]> {
    return (await recordsOf(stream.topic)).map(({ value }) => {
      const decoded = stream.codec.decode(value)
      if (!decoded.ok) throw new Error(`in the raw topic lies ${JSON.stringify(decoded.problems)}`)
      return decoded.event
    })
  }

  async function deadLetters(): Promise<DeadLetter[]> {
    return (await recordsOf(plan.rejected.topic)).map(({ value }) => plan.rejected.codec.decode(value!))
  }

  return { server, registry, errors, inject, post, recordsOf, accepted, deadLetters }
}
