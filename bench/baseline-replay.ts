/** The baseline without servers: how fast this machine, as it is at the moment, computes vectors with the pure core. */
import { createReplay } from '../processors/replay.ts'
import { fineClock } from './clock.ts'
import type { BenchEnvironment } from './environment.ts'
import type { Job, JobRun } from './job.ts'
import { sliceChunks } from './slice.ts'

export const baselineReplay = 'baseline-replay'

/** Independent of the options, so that the figures depend on the machine only. */
const slice = { from: 0, count: 50_000 }

export function replayJob(environment: BenchEnvironment): Job {
  return {
    measures: {
      [baselineReplay]: 'Vectors of the card-fraud pipeline computed by the replay, without servers, for comparison.',
    },
    baseline: null,
    run: async () => [runReplay(environment)],
  }
}

function runReplay({ plan, table, config }: BenchEnvironment): JobRun {
  const indexes = new Map(plan.streams.map(({ name, index }) => [name, index]))
  const events = [...sliceChunks(table, plan, slice)].flat()
  const replay = createReplay(plan, { partitions: config.partitions })
  const beganMs = fineClock.elapsedMs()
  const usedBefore = process.cpuUsage()
  for (const { stream, values } of events) replay.push(indexes.get(stream)!, values)
  replay.flush()
  const seconds = (fineClock.elapsedMs() - beganMs) / 1_000
  const { user, system } = process.cpuUsage(usedBefore)
  return {
    job: baselineReplay,
    eventsPerSecond: events.length / seconds,
    eventsPerCpuSecond: events.length / ((user + system) / 1_000_000),
    latencyMs: null,
    residentMb: null,
    further: {},
    invalid: null,
  }
}
