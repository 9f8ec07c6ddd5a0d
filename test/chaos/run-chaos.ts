/**
 * Real processes on a real Kafka and Redis, killed, paused and robbed of their servers under load, and what they leave compared with an
 * undisturbed run. Called by `main.ts` and by the test of it.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createKillableProcess, type KillableProcess } from '../../bench/restart/killable-process.ts'
import { type PredictionWatch, watchPredictions } from '../../bench/restart/prediction-watch.ts'
import { closeAll } from '../../bench/run-parts.ts'
import { spread } from '../../bench/statistics.ts'
import { trainModel } from '../../bench/trained-model.ts'
import { sharedNames } from '../../cli/context.ts'
import { loadPlan } from '../../cli/load-plan.ts'
import { createShutdown } from '../../cli/shutdown.ts'
import { ensureTopics, requireTopics } from '../../cli/topics/requirements.ts'
import { createRedisStore } from '../../feature-store/redis/store.ts'
import { publishVersion } from '../../online-model/registry/publish-version.ts'
import { generateHandbook } from '../../pipelines/handbook.ts'
import type { BrokerData } from '../../runtime/broker.ts'
import { createKafkaBroker } from '../../runtime/kafka/broker.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import { createRandom } from '../../testing/random.ts'
import { startKillableServers } from '../support/killable-servers.ts'
import { createCarryOut, within } from './carry-out.ts'
import { type ChaosLoad, startLoad } from './chaos-load.ts'
import { expectOutcome } from './expectation.ts'
import { createFindings } from './findings.ts'
import { compareFeatures, comparePredictions } from './outcome.ts'
import { drawSchedule, type Fault, workerName } from './schedule.ts'

/** `replay`: events wait without a bound for their turn in canonical order, and no vector may differ. `live`: as configured by default. */
export type ChaosMode = 'replay' | 'live'

export interface ChaosOptions {
  readonly kills: number
  readonly seed: number
  readonly mode: ChaosMode
  readonly workers: number
  readonly partitions: number
  /** Events a second. */
  readonly rate: number
  /** The processes run what `npm run build` made, instead of the sources. */
  readonly compiled: boolean
}

export interface ChaosSurroundings {
  readonly printLine: (line: string) => void
  /** The processes get it, with the settings of the run on top. */
  readonly environment: Readonly<Record<string, string | undefined>>
  /** Folder with the output of each process. */
  readonly logsFolder?: string
}

export interface Timed {
  readonly count: number
  readonly median: number | null
  readonly max: number | null
}

export interface ChaosReport extends ChaosOptions {
  /** All that is wrong: what is lost, doubled or rejected, a process that ended by itself, and in mode `replay` what differs. */
  readonly violations: number
  readonly lost: number
  readonly doubled: number
  readonly differing: number
  /** Entities whose features in Redis are not those of an undisturbed run. */
  readonly differingFeatures: number
  readonly seconds: number
  readonly pauses: number
  readonly terms: number
  readonly redisEmptied: number
  readonly redisRestarts: number
  readonly kafkaRestarts: number
  /** From the spawn to the first new prediction of the killed process's tasks; of the kills that hit while all were ready. */
  readonly restartSeconds: Timed
  /** From SIGTERM to the end of the process. */
  readonly termSeconds: Timed
  /** Starts that found no server and ended; they were started again. */
  readonly refusedStarts: number
  readonly events: number
  readonly predictions: number
  readonly entities: number
  readonly rejected: number
  /** At least so many: what a process counted between the last poll and its kill is not known. */
  readonly late: number
  readonly releasedEarly: number
  readonly restored: number
  /** What is wrong, the first few of a kind. */
  readonly printed: readonly string[]
  /** Of this machine over the last minute, when the run began and when its faults were done: what the seconds are to be read with. */
  readonly load: readonly [number, number]
}

const definition = 'pipelines/card-fraud.ts'
const namespace = 'chaos'
/** The least that the configuration takes: the sooner others take over, the more often. */
const sessionTimeoutMs = 6_000
const readyMaxMs = 60_000
/** Before the first fault, so that there is something to lose. */
const warmUpMs = 3_000
const pollEveryMs = 500
/** With nothing new for this long, what has not come will not come. */
const silenceMaxMs = 90_000
/** What is committed twice would follow within it. */
const afterglowMs = 2_000

/** Rejects where a server or the load fails by itself; what the pipeline does wrong is in the report. */
export async function runChaos(options: ChaosOptions, surroundings: ChaosSurroundings): Promise<ChaosReport> {
  const { printLine, environment, logsFolder = null } = surroundings
  const { kills, seed, mode, workers, partitions, rate, compiled } = options
  const beganMs = performance.now()
  const loadBefore = loadNow()
  const schedule = drawSchedule({ kills, workers, sessionTimeoutMs }, createRandom(seed))
  printLine(`Seed ${seed}, mode ${mode}: ${schedule.length} faults on ${workers} processes, ${kills} of them kills.`)
  return closeAll(createShutdown(), async (shutdown) => {
    if (logsFolder !== null) await mkdir(logsFolder, { recursive: true })
    const folder = await mkdtemp(join(tmpdir(), 'millrace-chaos-'))
    shutdown.add('folder', () => rm(folder, { recursive: true, force: true }))
    const servers = await startKillableServers(folder)
    shutdown.add('Kafka', servers.kafka.close)
    shutdown.add('Redis', servers.redis.close)
    const broker = createKafkaBroker({ brokers: [servers.kafka.address], clientId: 'chaos' })
    shutdown.add('connections', broker.close)
    const plan = await loadPlan(definition, { namespace })
    const table = generateHandbook()
    const model = await trainModel(plan, table, partitions)
    await ensureTopics(broker.admin, plan, partitions)
    await pinModel(broker.data, plan, model)
    const partitionsOf = await requireTopics(
      broker.data,
      plan.topics.map(({ topic }) => topic),
    )

    const findings = createFindings(printLine)
    const ofProcesses = {
      MILLRACE_LOG_LEVEL: 'warn',
      ...environment,
      KAFKA_BROKERS: servers.kafka.address,
      REDIS_URL: servers.redis.address,
      MILLRACE_NAMESPACE: namespace,
      MILLRACE_SESSION_TIMEOUT_MS: String(sessionTimeoutMs),
      ...(mode === 'replay' ? { MILLRACE_ALIGNMENT: 'replay' } : {}),
    }
    const processes = Array.from({ length: workers }, (_, worker) =>
      createKillableProcess(workerName(worker), ofProcesses, { compiled: compiled ? 'dist' : null, logsFolder }),
    )
    shutdown.add('processes', () => Promise.all(processes.map((one) => (one.isRunning() ? one.kill() : null))))
    for (const one of processes) one.start()
    await untilReady(processes)
    const watch = watchPredictions(broker.data, plan, partitionsOf(plan.predictions.topic))
    shutdown.add('watched predictions', watch.close)
    const load = await startLoad(broker.data, { plan, table, eventsPerSecond: rate, partitionsOf })
    shutdown.add('load', load.stop)
    const looking = setInterval(() => void Promise.all(processes.map((one) => one.poll())), pollEveryMs)
    shutdown.add('looking', async () => clearInterval(looking))

    const { group } = sharedNames({ namespace }, plan)
    const lastStage = plan.stages.at(-1)!.entity.name
    const parts = { processes, servers, broker, group, lastStage, watch, load, findings, printLine }
    const carryOut = createCarryOut(parts)
    await sleep(warmUpMs)
    await Promise.race([carryOut.run(schedule), failureOf(load.ended), failureOf(watch.ended)])
    await load.stop()
    const loadAfter = loadNow()
    printLine(`All faults are done; ${load.scored - watch.count} predictions are owed.`)
    await drained(load, watch)
    await sleep(afterglowMs)
    await Promise.all(processes.map((one) => one.poll()))
    clearInterval(looking)
    await carryOut.stopAll()

    const expected = expectOutcome(plan, model, load.sent, partitions)
    const compared = await comparePredictions(broker.data, plan, expected.predictions, model.version)
    const { keyPrefix } = sharedNames({ namespace }, plan)
    const store = await createRedisStore({ url: servers.redis.address, pipeline: plan.name, namespace: keyPrefix })
    shutdown.add('store', store.close)
    const features = await compareFeatures(store, plan, expected, partitions)
    findings.add(compared.lost.map((id) => `event ${id} has no prediction`))
    findings.add(compared.doubled.map((id) => `event ${id} has several predictions`))
    findings.add(compared.foreign.map((id) => `event ${id} was predicted and never sent`))
    findings.add(compared.rejected)
    if (mode === 'replay') {
      findings.add(compared.differing)
      findings.add(features.differing)
    }
    const total = (name: keyof KillableProcess['counts']) =>
      processes.reduce((sum, { counts }) => sum + counts[name], 0)
    return {
      ...options,
      violations: findings.count,
      lost: compared.lost.length,
      doubled: compared.doubled.length,
      differing: compared.differing.length,
      differingFeatures: features.differing.length,
      seconds: Math.round((performance.now() - beganMs) / 100) / 10,
      pauses: count(schedule, 'pause'),
      terms: count(schedule, 'stop'),
      redisEmptied: count(schedule, 'empty redis'),
      redisRestarts: count(schedule, 'kill redis'),
      kafkaRestarts: count(schedule, 'kill kafka'),
      restartSeconds: timed(carryOut.restartSeconds),
      termSeconds: timed(carryOut.termSeconds),
      refusedStarts: carryOut.refusedStarts,
      events: load.sent.length,
      predictions: compared.predictions,
      entities: features.entities,
      rejected: compared.rejected.length,
      late: total('late'),
      releasedEarly: total('releasedEarly'),
      restored: total('restored'),
      printed: findings.printed,
      load: [loadBefore, loadAfter],
    }
  })
}

/** The one model of the whole run, in the registry before any process starts. */
async function pinModel(broker: BrokerData, { models }: Plan, version: ModelVersion): Promise<void> {
  const producer = await broker.producer()
  try {
    const change = { previous: null, by: 'chaos', reason: 'every event is scored by it', changedAtMs: 0 }
    await publishVersion(producer, { topic: models.topic, codec: models.codec, version, ...change })
  } finally {
    await producer.close()
  }
}

async function untilReady(processes: readonly KillableProcess[]): Promise<void> {
  const allReady = async () => (await Promise.all(processes.map((one) => one.isReady()))).every(Boolean)
  if (await within(readyMaxMs, allReady)) return
  throw new PipelineError('server_failed', `The processes are not ready after ${readyMaxMs / 1_000} s.`)
}

/** Never resolves: for a race that only its failure may decide. */
function failureOf(ended: Promise<unknown>): Promise<never> {
  return new Promise((_, reject) => {
    ended.catch(reject)
  })
}

/** Returns when all predictions are there, or when none has come for so long that the comparison may find which. */
async function drained(load: ChaosLoad, watch: PredictionWatch): Promise<void> {
  let progress = { count: watch.count, atMs: performance.now() }
  while (watch.count < load.scored) {
    await sleep(50)
    if (watch.count > progress.count) progress = { count: watch.count, atMs: performance.now() }
    if (performance.now() - progress.atMs > silenceMaxMs) return
  }
}

function loadNow(): number {
  return Math.round(loadavg()[0]! * 100) / 100
}

function count(schedule: readonly Fault[], kind: Fault['kind']): number {
  return schedule.filter((fault) => fault.kind === kind).length
}

function timed(seconds: readonly number[]): Timed {
  if (seconds.length === 0) return { count: 0, median: null, max: null }
  const { median, max } = spread(seconds)
  return { count: seconds.length, median, max }
}
