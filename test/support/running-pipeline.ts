/** The card-fraud pipeline as a user runs it, in a namespace of its own on the servers of the tests. */
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

/** Answers when all tasks are open; ended with the test. */
export async function runPipeline(name: string): Promise<RunningPipeline> {
  const namespace = `${name}-${process.pid}`
  const environment = {
    KAFKA_BROKERS: inject('kafkaBrokers'),
    REDIS_URL: inject('redisUrl'),
    MILLRACE_NAMESPACE: namespace,
    MILLRACE_HTTP_PORT: '0',
  }
  const run = startCommand(['run', 'pipelines/card-fraud.ts', '--create-topics'], environment)
  await run.printed('health and metrics: http')
  const url = /metrics: (http\S+)/.exec(run.output())![1]!
  const broker = createKafkaBroker({ brokers: environment.KAFKA_BROKERS.split(','), clientId: 'millrace-test' })
  onTestFinished(() => broker.close())
  const plan = await loadPlan('pipelines/card-fraud.ts', namespace)
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
