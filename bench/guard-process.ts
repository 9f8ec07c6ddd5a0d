/**
 * The process that the guard measures: a pipeline without servers, slice by slice, and between the slices the calibration. Started by
 * `guard/guard.ts` through `helper-process.ts`; answers with the figures of every round.
 */
import { loadPlan } from '../cli/load-plan.ts'
import { generateHandbook } from '../pipelines/handbook.ts'
import { cpuSecondsOf } from './cpu-seconds.ts'
import { createCalibration } from './guard/calibration.ts'
import { serveHelper } from './helper-process.ts'
import { openMixedRun } from './mixed-run.ts'

export interface GuardOrder {
  readonly definition: string
  readonly seed: number
  readonly rounds: number
}

export interface GuardRound {
  readonly eventsPerCpuSecond: number
  readonly stepsPerCpuSecond: number
}

/** After these the code is compiled, and windows of 30 days that end 7 days ago have begun to slide. */
const warmUpSlices = 12
const sliceEvents = 5_000
/** About as long as a slice. */
const stepsPerRound = 1_500

serveHelper<GuardOrder, readonly GuardRound[]>(async ({ definition, seed, rounds }) => {
  const plan = await loadPlan(definition, { namespace: '' })
  const run = openMixedRun(plan, generateHandbook(), seed)
  const calibration = createCalibration()
  let result = 0
  const calibrate = () => {
    for (let step = 0; step < stepsPerRound; step++) result += calibration.step()
  }
  return async () => {
    for (let slice = 0; slice < warmUpSlices; slice++) {
      run.prepare(sliceEvents)
      await run.letIn()
      calibrate()
    }
    const measured: GuardRound[] = []
    for (let round = 0; round < rounds; round++) {
      run.prepare(sliceEvents)
      const stepsSeconds = await cpuSecondsOf(async () => calibrate())
      const before = run.totals.predictions
      const eventsSeconds = await cpuSecondsOf(run.letIn)
      if (run.totals.predictions - before < 0.9 * sliceEvents || !Number.isFinite(result)) {
        throw new Error(`${run.totals.predictions - before} predictions of ${sliceEvents} events`)
      }
      measured.push({
        eventsPerCpuSecond: sliceEvents / eventsSeconds,
        stepsPerCpuSecond: stepsPerRound / stepsSeconds,
      })
    }
    await run.stop()
    return measured
  }
})
