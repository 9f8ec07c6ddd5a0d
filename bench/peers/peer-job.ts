/**
 * The jobs that run peers beside ours, on the same servers and events, with outputs read and rates computed as for our own. What cannot run
 * here is named in every round with the reason. Opened by `run-bench.ts` for `--against`.
 */
import { mkdir, rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Shutdown } from '../../cli/shutdown.ts'
import { produce } from '../../producers/produce.ts'
import { readSpans, wholeLog } from '../../runtime/read-log.ts'
import { singleObjectHeaderBytes } from '../../schemas/wire/avro-fingerprint.ts'
import { fineClock } from '../clock.ts'
import type { BenchEnvironment } from '../environment.ts'
import { openIsolatedPipeline } from '../isolated-pipeline.ts'
import type { Job, JobRun } from '../job.ts'
import { middleRates } from '../middle.ts'
import { sliceChunks } from '../slice.ts'
import { buildPeers } from './build-peer.ts'
import { floor } from './floor.ts'
import { runGuarded } from './guarded-run.ts'
import { flink, kafkaStreams } from './jvm.ts'
import type { Peer, PeerFamily, PeerRun, PeerWork } from './peer.ts'

const peers: readonly Peer[] = [kafkaStreams, flink, floor]

export interface PeerJobsOptions {
  /** Folder of the peers. */
  readonly from: string
  readonly works: readonly PeerWork[]
  readonly events: number
  readonly printLine: (line: string) => void
}

/** What all runs have in common. */
interface PeerEnvironment {
  readonly environment: BenchEnvironment
  readonly events: number
  readonly source: string
  /** Removed by the next start where this process is killed. */
  readonly workFolder: string
}

/** Names of the jobs: what `peerJobs` opens. */
export const peerJobName = ({ name }: Peer, work: PeerWork) => `${name}-${work}`

/** Builds what is not built yet, and sends the events. */
export async function openPeerJobs(
  environment: BenchEnvironment,
  { from, works, events, printLine }: PeerJobsOptions,
  shutdown: Shutdown,
): Promise<Job[]> {
  const folder = resolve(environment.config.folder)
  const workFolder = join(folder, `test-${process.pid}-peers`)
  await mkdir(workFolder, { recursive: true })
  shutdown.add("peers' state", () => rm(workFolder, { recursive: true, force: true }))
  const build = { from, cacheFolder: join(folder, 'cache'), env: environment.env, printLine }
  const builds = new Map<PeerFamily, Awaited<ReturnType<typeof buildPeers>>>()
  for (const { family } of peers) if (!builds.has(family)) builds.set(family, await buildPeers(family, build))
  const source = await sendEvents(environment, events, shutdown)
  const shared = { environment, events, source, workFolder }
  return works.flatMap((work) =>
    peers
      .filter((peer) => peer.works.includes(work))
      .map((peer) => {
        const name = peerJobName(peer, work)
        const measures = `The events of ${work} by a peer. ${peer.measures}`
        return { measures: { [name]: measures }, baseline: work, run: async () => [await runOrReason(peer, work)] }
      }),
  )

  async function runOrReason(peer: Peer, work: PeerWork): Promise<JobRun> {
    const job = peerJobName(peer, work)
    const built = builds.get(peer.family)!
    const reason = insecure(environment) ?? ('reason' in built ? built.reason : null)
    const ran = reason ?? ('folder' in built ? await runPeer(shared, peer, work, built.folder) : '')
    if (typeof ran !== 'string') return ran
    return { job, ...nothing, further: {}, invalid: `left out: ${ran.replaceAll(/\s*\n\s*/g, ' / ')}` }
  }
}

const nothing = { eventsPerSecond: null, eventsPerCpuSecond: null, latencyMs: null, residentMb: null }

/** They have no settings for it. */
function insecure({ config }: BenchEnvironment): string | null {
  const { kafkaTls, kafkaSaslMechanism, redisPassword, redisPasswordFile } = config
  const isOpen =
    kafkaTls !== 'on' && kafkaSaslMechanism === null && redisPassword === null && redisPasswordFile === null
  return isOpen ? null : 'peers know servers without TLS and logins only'
}

/** The events of `w1` as ours get them, but for the header of each value, which peers do not know. Returns the topic. */
async function sendEvents(environment: BenchEnvironment, events: number, shutdown: Shutdown): Promise<string> {
  const { broker, config, table } = environment
  const { plan } = await openIsolatedPipeline(environment, 'bench/w1.ts', 'peers', shutdown)
  const source = plan.scored.topic
  const producer = await broker.data.producer()
  try {
    await produce(sliceChunks(table, plan, { from: 0, count: events }), {
      streams: plan.streams,
      sink: {
        send: (records) =>
          producer.send(
            records.map((record) => ({ ...record, value: record.value!.subarray(singleObjectHeaderBytes) })),
          ),
      },
      partitionsOf: () => config.partitions,
      pace: { kind: 'flat out' },
      clock: fineClock,
      signal: new AbortController().signal,
    })
  } finally {
    await producer.close()
  }
  return source
}

let runs = 0

/** Figures, or why there are none. */
async function runPeer(shared: PeerEnvironment, peer: Peer, work: PeerWork, folder: string): Promise<JobRun | string> {
  const { environment, events, source, workFolder } = shared
  const { broker, config, env } = environment
  const id = `peer-${fineClock.nowMs().toString(36).replace('.', '')}-${++runs}-${peer.name}-${work}`
  const stateFolder = join(workFolder, id)
  const run: PeerRun = {
    work,
    events,
    kafkaBrokers: config.kafkaBrokers.join(','),
    redisUrl: config.redisUrl!,
    partitions: config.partitions,
    id,
    source,
    output: `${id}.out`,
    folder,
    stateFolder,
    timeoutMs: 120_000 + events / 2,
  }
  const command = peer.command(run)
  if (typeof command === 'string') return command
  await mkdir(stateFolder)
  try {
    const config = { 'message.timestamp.type': 'LogAppendTime', 'retention.ms': '-1' }
    await broker.admin.ensureTopics(peer.topics(run).map((topic) => ({ topic, partitions: run.partitions, config })))
    const logPath = join(workFolder, `${id}.log`)
    const { usages, seconds, failure } = await runGuarded(command, { folder, logPath, env, timeoutMs: run.timeoutMs })
    if (failure !== null) return failure
    if (usages.length === 0) return 'this system does not tell what a process uses: there is no /proc'
    const { appendedAtMs, distinct } = await readOutputs(environment, run.output, peer.idAt)
    if (appendedAtMs.length !== events || distinct !== events)
      return `wrong results: ${appendedAtMs.length} outputs of ${distinct} events, where ${events} were sent`
    const rates = middleRates(appendedAtMs, usages)
    if (rates === null) return 'the middle 80 % of its outputs came at one instant: raise --events'
    const further = { cpuSeconds: usages.at(-1)!.cpuSeconds, wallSeconds: seconds }
    return { job: peerJobName(peer, work), ...nothing, ...rates, further, invalid: null }
  } finally {
    await rm(stateFolder, { recursive: true, force: true })
  }
}

async function readOutputs({ broker }: BenchEnvironment, topic: string, idAt: number) {
  const appended: number[] = []
  const ids = new Set<string>()
  const fetcher = await broker.data.fetcher()
  try {
    await readSpans(fetcher, await wholeLog(broker.data, [topic]), ({ value, appendedAtMs }) => {
      appended.push(appendedAtMs)
      // A short Avro string: its length takes one byte, doubled.
      ids.add(value!.toString('latin1', idAt + 1, idAt + 1 + value![idAt]! / 2))
    })
  } finally {
    await fetcher.close()
  }
  return { appendedAtMs: Float64Array.from(appended), distinct: ids.size }
}
