/** The jobs without servers that score and learn, inside this process. */
import type { TrainingRows } from '../online-model/models/model.ts'
import { modelOf } from '../online-model/models/model-of.ts'
import { createScorer } from '../online-model/models/scorer.ts'
import { logisticRegression, mlp } from '../schemas/definition/definition.ts'
import type { ModelPlan } from '../schemas/models/models.ts'
import { clearReasons, createReasonRows } from '../schemas/wire/reason-rows.ts'
import { fineClock } from './clock.ts'
import type { BenchEnvironment } from './environment.ts'
import type { Job, JobRun } from './job.ts'
import { latencyOf, rounded } from './statistics.ts'
import { firstRows } from './trained-model.ts'

const kinds: ReadonlyArray<{ readonly job: string; readonly what: string; readonly model: ModelPlan }> = [
  { job: 'model-logistic', what: 'logistic regression', model: logisticRegression() },
  { job: 'model-mlp-64-32', what: 'a perceptron of 64 and 32 units', model: mlp({ hidden: [64, 32], epochs: 1 }) },
]
/** The clock costs a tenth of a microsecond: a score is timed in company. */
const blockVectors = 100
const blocks = 3_000
/** Before them the code is compiled. */
const warmUpBlocks = 500

export function modelsJob(environment: BenchEnvironment): Job {
  let training: TrainingRows | null = null
  return {
    measures: Object.fromEntries(
      kinds.map(({ job, what }) => [
        job,
        `Vectors of 15 features scored by ${what}, one by one, a hundred together, and with reasons; one label learnt.`,
      ]),
    ),
    baseline: null,
    async run() {
      training ??= firstRows(environment.plan, environment.table, environment.config.partitions)
      const runs: JobRun[] = []
      for (const { job, model } of kinds) runs.push(await runModel(job, model, training))
      return runs
    },
  }
}

async function runModel(job: string, model: ModelPlan, training: TrainingRows): Promise<JobRun> {
  const { rows, labels, rowCount, features } = training
  const width = features.length
  const vectors = Array.from({ length: rowCount }, (_, row) => rows.subarray(row * width, (row + 1) * width))
  const { weights } = await modelOf(model).fit(training, { seed: 0 })
  const plan = { features: features.map((name) => ({ name })), model }
  const scorer = createScorer({ version: 'v1', model: weights }, plan, 3)
  const usPerVector = (scoreFrom: (row: number) => void): number => {
    const times: number[] = []
    for (let block = 0; block < warmUpBlocks + blocks; block++) {
      const row = (block * blockVectors) % (rowCount - blockVectors)
      const beganMs = fineClock.elapsedMs()
      scoreFrom(row)
      if (block >= warmUpBlocks) times.push(((fineClock.elapsedMs() - beganMs) * 1_000) / blockVectors)
    }
    return rounded(latencyOf(times)!.p50)
  }
  const [scores, reasons] = [new Float64Array(blockVectors), createReasonRows()]
  const blockFrom = (row: number) => rows.subarray(row * width, (row + blockVectors) * width)
  const learner = await modelOf(model).learner!(features, { seed: 0, state: null })
  const usedBefore = process.cpuUsage()
  vectors.forEach((vector, row) => {
    learner.learn(vector, labels[row] as 0 | 1)
  })
  const { user, system } = process.cpuUsage(usedBefore)
  learner.close()
  return {
    job,
    eventsPerSecond: null,
    eventsPerCpuSecond: null,
    latencyMs: null,
    residentMb: null,
    further: {
      scoreUsP50: usPerVector((row) => {
        for (let i = row; i < row + blockVectors; i++) scores[i - row] = scorer.score(vectors[i]!)
      }),
      batchUsP50: usPerVector((row) => scorer.scoreBatch(blockFrom(row), blockVectors, scores, null)),
      batchAndReasonsUsP50: usPerVector((row) => {
        clearReasons(reasons)
        scorer.scoreBatch(blockFrom(row), blockVectors, scores, reasons)
      }),
      learnCpuUs: rounded((user + system) / rowCount),
    },
    invalid: null,
  }
}
