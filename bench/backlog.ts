/** The backlog jobs: events already in the raw topics are processed by the production process, as fast as it can. */
import { createShutdown } from '../cli/shutdown.ts'
import type { Plan } from '../schemas/plan/plan.ts'
import type { BenchEnvironment } from './environment.ts'
import { type ExpectedRows, expectedRows } from './expected-rows.ts'
import { openIsolatedPipeline } from './isolated-pipeline.ts'
import type { Job, JobRun } from './job.ts'
import { maxResidentMb } from './measured-run.ts'
import { middleRates } from './middle.ts'
import { readOutcome } from './outcome.ts'
import { closeAll } from './run-parts.ts'

export interface BacklogOptions {
  readonly name: string
  readonly measures: string
  readonly definition: string
  readonly isScored: boolean
  readonly events: number
  readonly baseline: string
}

export function backlogJob(environment: BenchEnvironment, options: BacklogOptions): Job {
  const { name, measures, baseline } = options
  let rows: ExpectedRows | null = null
  // Once for all rounds: it takes as long as a run.
  const rowsOf = (plan: Plan) => {
    rows ??= expectedRows(environment, plan, { from: 0, count: options.events })
    return rows
  }
  return { measures: { [name]: measures }, baseline, run: async () => [await runBacklog(environment, options, rowsOf)] }
}

async function runBacklog(
  environment: BenchEnvironment,
  options: BacklogOptions,
  rowsOf: (plan: Plan) => ExpectedRows,
): Promise<JobRun> {
  const { name, definition, isScored, events } = options
  const { broker, redis, model } = environment
  return closeAll(createShutdown(), async (shutdown) => {
    const pipeline = await openIsolatedPipeline(environment, definition, name, shutdown)
    if (isScored) await pipeline.publishModel(model)
    await pipeline.produceFlatOut({ from: 0, count: events })
    const redisBytesBefore = await usedBytes(redis)
    const run = await pipeline.startRun()
    await run.untilPredicted(events)
    const redisBytes = (await usedBytes(redis)) - redisBytesBefore
    await run.stop()
    const { appendedAtMs, bytes, predictionBytes, counts } = await readOutcome(broker.data, pipeline.plan, {
      events,
      isScored,
      rows: rowsOf(pipeline.plan),
      isOutOfOrder: run.counts.late + run.counts.releasedEarly > 0,
    })
    const rates = middleRates(appendedAtMs, run.usages)
    return {
      job: name,
      eventsPerSecond: rates?.eventsPerSecond ?? null,
      eventsPerCpuSecond: rates?.eventsPerCpuSecond ?? null,
      latencyMs: null,
      residentMb: maxResidentMb(run.usages),
      further: {
        ...counts,
        late: run.counts.late,
        releasedEarly: run.counts.releasedEarly,
        kafkaBytesPerEvent: bytes / events,
        predictionBytesPerEvent: predictionBytes / events,
        redisBytesPerEvent: redisBytes / events,
      },
      invalid: rates === null ? 'the middle 80 % of the predictions came at one instant: raise --events' : null,
    }
  })
}

/** Of the whole server: with servers that others use too this is no figure. */
async function usedBytes(redis: BenchEnvironment['redis']): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))![1])
}
