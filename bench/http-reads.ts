/** The HTTP job: features of 1 and of 50 entities a request from a running process with real state behind it. */
import { createShutdown } from '../cli/shutdown.ts'
import { baselineReplay } from './baseline-replay.ts'
import { type BenchEnvironment, cardFraud } from './environment.ts'
import { startHelper } from './helper-process.ts'
import type { HttpLoadAnswer, HttpLoadOrder } from './http-load.ts'
import { openIsolatedPipeline } from './isolated-pipeline.ts'
import type { Job, JobRun } from './job.ts'
import { type MeasuredRun, maxResidentMb } from './measured-run.ts'
import { cpuSecondsAt } from './middle.ts'
import { sendLagMsMax } from './open-loop.ts'
import { closeAll } from './run-parts.ts'

export interface HttpReadsOptions {
  readonly seconds: number
  /** Transactions that are worked off before. */
  readonly before: number
}

const connections = 16
const requestsPrepared = 2_000
const warmUpSeconds = 2
const batchKeys = 50

const nameOf = (keys: number) => `http-reads-${keys}`

export function httpReadsJob(environment: BenchEnvironment, options: HttpReadsOptions): Job {
  const { name, features } = readEntity(environment)
  const measure = (keys: number) =>
    `Reads over HTTP of ${keys} × ${features} features (${name}), ${connections} connections: reads/s in a closed loop, ` +
    'latency in an open loop at half of that.'
  return {
    measures: { [nameOf(1)]: measure(1), [nameOf(batchKeys)]: measure(batchKeys) },
    baseline: baselineReplay,
    run: () => runHttpReads(environment, options),
  }
}

/** The first entity of the pipeline: the keys of its transactions are known to have facts. */
function readEntity({ plan }: Pick<BenchEnvironment, 'plan'>) {
  const { entity } = plan.stages[0]!
  const features = plan.features.filter((feature) => feature.entity === entity.name).length
  return { name: entity.name, keyField: entity.keyFields.get(plan.scored.index)!, features }
}

async function runHttpReads(environment: BenchEnvironment, { seconds, before }: HttpReadsOptions): Promise<JobRun[]> {
  return closeAll(createShutdown(), async (shutdown) => {
    const pipeline = await openIsolatedPipeline(environment, cardFraud, 'http-reads', shutdown)
    await pipeline.publishModel(environment.model)
    await pipeline.produceFlatOut({ from: 0, count: before })
    const run = await pipeline.startRun()
    await run.untilPredicted(before)
    const keys = Array.from(environment.table.customer.subarray(0, before), String)
    const runs: JobRun[] = []
    for (const keysPerRequest of [1, batchKeys]) {
      const requests = requestsFor(environment, run.url, keys, keysPerRequest)
      const loaded = (requestsPerSecond: number | null) => underLoad(run, { requests, requestsPerSecond, seconds })
      const closed = await loaded(null)
      const answersPerSecond = (closed.answers * 1_000) / (closed.untilMs - closed.fromMs)
      const cpuSeconds = cpuSecondsAt(run.usages, closed.untilMs) - cpuSecondsAt(run.usages, closed.fromMs)
      const open = await loaded(answersPerSecond / 2)
      const lateMs = open.sendLagMs!.p99
      runs.push({
        job: nameOf(keysPerRequest),
        eventsPerSecond: answersPerSecond,
        eventsPerCpuSecond: closed.answers / cpuSeconds,
        latencyMs: open.latencyMs,
        residentMb: maxResidentMb(run.usages),
        further: {
          connections,
          closedLoopMsP99: closed.latencyMs.p99,
          openLoopPerSecond: answersPerSecond / 2,
          sendLagMsP99: lateMs,
        },
        invalid:
          lateMs > sendLagMsMax ? `the load generator was ${lateMs} ms late at p99 (limit ${sendLagMsMax} ms)` : null,
      })
    }
    return runs
  })
}

/** Keys in the order in which their customers came by, so that busy ones are requested more often. */
function requestsFor(
  environment: BenchEnvironment,
  url: string,
  keys: readonly string[],
  keysPerRequest: number,
): HttpLoadOrder['requests'] {
  const { name } = readEntity(environment)
  const { host } = new URL(url)
  return Array.from({ length: requestsPrepared }, (_, i) => {
    const asked = Array.from({ length: keysPerRequest }, (_, j) => keys[(i * keysPerRequest + j) % keys.length]!)
    if (keysPerRequest === 1) return `GET /features/${name}/${asked[0]} HTTP/1.1\r\nhost: ${host}\r\n\r\n`
    const body = JSON.stringify({ keys: asked })
    const head = [`POST /features/${name} HTTP/1.1`, `host: ${host}`, 'content-type: application/json']
    return `${[...head, `content-length: ${Buffer.byteLength(body)}`].join('\r\n')}\r\n\r\n${body}`
  })
}

async function underLoad(
  run: MeasuredRun,
  order: Pick<HttpLoadOrder, 'requests' | 'requestsPerSecond' | 'seconds'>,
): Promise<HttpLoadAnswer> {
  const { hostname, port } = new URL(run.url)
  const helper = await startHelper<HttpLoadOrder, HttpLoadAnswer>('http-load.ts', {
    ...order,
    host: hostname,
    port: Number(port),
    connections,
    warmUpSeconds,
  })
  try {
    return await run.sampleWhile(helper.begin())
  } finally {
    await helper.stop()
  }
}
