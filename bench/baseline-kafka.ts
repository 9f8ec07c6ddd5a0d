/** The floor of the latency: the same events at the same rate, produced and received without Millrace in between. */
import { createShutdown } from '../cli/shutdown.ts'
import { type BenchEnvironment, cardFraud } from './environment.ts'
import { openIsolatedPipeline } from './isolated-pipeline.ts'
import type { Job, JobRun } from './job.ts'
import { runOpenLoop } from './open-loop.ts'
import { closeAll } from './run-parts.ts'

export const baselineKafka = (rate: number) => `baseline-kafka-${rate}`

export function kafkaJob(
  environment: BenchEnvironment,
  options: { readonly rate: number; readonly seconds: number },
): Job {
  const name = baselineKafka(options.rate)
  const measures = `Bare Kafka at ${options.rate} events a second: scheduled send to receipt from the raw topic, read_committed.`
  return {
    measures: { [name]: measures },
    baseline: null,
    run: async () => [await runKafka(environment, name, options)],
  }
}

async function runKafka(
  environment: BenchEnvironment,
  name: string,
  { rate, seconds }: { readonly rate: number; readonly seconds: number },
): Promise<JobRun> {
  return closeAll(createShutdown(), async (shutdown) => {
    const pipeline = await openIsolatedPipeline(environment, cardFraud, 'floor', shutdown)
    const { scored } = pipeline.plan
    const idOf = (value: Buffer) => {
      const decoded = scored.codec.decode(value)
      if (!decoded.ok) throw new Error(`What was produced is no event: ${JSON.stringify(decoded.problems)}`)
      return decoded.event[scored.idField] as string
    }
    const loop = await runOpenLoop(
      environment,
      pipeline,
      { definition: cardFraud, rate, from: 0, seconds, topic: scored.topic, idOf },
      shutdown,
    )
    return {
      job: name,
      eventsPerSecond: loop.eventsPerSecond,
      eventsPerCpuSecond: null,
      latencyMs: loop.latencyMs,
      residentMb: null,
      further: { sendLagMsP99: loop.sendLagMs.p99 },
      invalid: loop.invalid,
    }
  })
}
