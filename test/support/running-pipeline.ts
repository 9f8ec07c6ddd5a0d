/** A pipeline as a user runs it, card fraud unless another is named, in a namespace of its own on the servers of the tests. */
import { inject, onTestFinished } from 'vitest'
import { loadPlan } from '../../cli/load-plan.ts'
import type { Broker } from '../../runtime/broker.ts'
import { createKafkaBroker } from '../../runtime/kafka/broker.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { startCommand } from './command.ts'

export interface RunningPipeline {
  readonly plan: Plan
  /** Of its HTTP server. */
  readonly url: string
  readonly broker: Broker
  readonly environment: Readonly<Record<string, string>>
  /** Everything that the process printed. */
  readonly output: () => string
}

export interface RunningOptions {
  readonly definition?: string
  readonly settings?: Readonly<Record<string, string>>
}

/** Answers when all tasks are open; ended with the test. */
export async function runPipeline(
  name: string,
  { definition = 'pipelines/card-fraud.ts', settings = {} }: RunningOptions = {},
): Promise<RunningPipeline> {
  const namespace = `${name}-${process.pid}`
  const environment = {
    KAFKA_BROKERS: inject('kafkaBrokers'),
    REDIS_URL: inject('redisUrl'),
    MILLRACE_NAMESPACE: namespace,
    MILLRACE_HTTP_PORT: '0',
    ...settings,
  }
  const run = startCommand(['run', definition, '--create-topics'], environment)
  await run.printed('health and metrics: http')
  const url = /metrics: (http\S+)/.exec(run.output())![1]!
  const broker = createKafkaBroker({ brokers: environment.KAFKA_BROKERS.split(','), clientId: 'millrace-test' })
  onTestFinished(() => broker.close())
  const rawNamespace = settings.MILLRACE_RAW_NAMESPACE ?? namespace
  const plan = await loadPlan(definition, { namespace, rawNamespace })
  await untilOk(`${url}/health/ready`)
  return { plan, url, broker, environment, output: run.output }
}

async function untilOk(url: string): Promise<void> {
  for (let tries = 0; tries < 600; tries++) {
    if ((await fetch(url)).ok) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`${url} is not OK after a minute`)
}
