/** Carries the faults of a schedule out on processes and servers, one after the other, and times the recoveries. Used by `run-chaos.ts`. */
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { EndedProcess, KillableProcess } from '../../bench/restart/killable-process.ts'
import type { PredictionWatch } from '../../bench/restart/prediction-watch.ts'
import type { Broker, Task } from '../../runtime/broker.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { KillableServers } from '../support/killable-servers.ts'
import type { ChaosLoad } from './chaos-load.ts'
import type { Findings } from './findings.ts'
import { type Fault, faultText } from './schedule.ts'

export interface CarryOutParts {
  readonly processes: readonly KillableProcess[]
  readonly servers: KillableServers
  readonly broker: Broker
  readonly group: string
  /** Name of the last stage, which makes the predictions. */
  readonly lastStage: string
  readonly watch: PredictionWatch
  readonly load: ChaosLoad
  readonly findings: Findings
  readonly printLine: (line: string) => void
}

export interface CarryOut {
  /** Resolves when all is done and every process is back. */
  run(schedule: readonly Fault[]): Promise<void>
  /** SIGTERM to all at once. */
  stopAll(): Promise<void>
  /** Starts that found no server. */
  readonly refusedStarts: number
  /** From the spawn to the first new prediction of the tasks that the killed process had; of the timed kills. */
  readonly restartSeconds: readonly number[]
  /** From SIGTERM to the end of a process. */
  readonly termSeconds: readonly number[]
}

const calmMaxMs = 30_000
const firstPredictionMaxMs = 60_000
const startAgainMs = 200

type FaultOf<Kind extends Fault['kind']> = Fault & { readonly kind: Kind }

export function createCarryOut(parts: CarryOutParts): CarryOut {
  const { processes, servers, broker, watch, load, findings, printLine } = parts
  const restartSeconds: number[] = []
  const termSeconds: number[] = []
  /** What has to pass before a process may be hurt again: that it is started, or that it continues. */
  const returns = processes.map(() => Promise.resolve())
  /** Until when a server was down, by the clock of the starts. */
  let serverDownUntilMs = Number.NEGATIVE_INFINITY
  let refusedStarts = 0

  async function run(schedule: readonly Fault[]): Promise<void> {
    const beganMs = performance.now()
    for (const [number, fault] of schedule.entries()) {
      await sleep(fault.afterMs)
      const elapsed = ((performance.now() - beganMs) / 1_000).toFixed(1).padStart(6)
      const owed = load.scored - watch.count
      printLine(`${elapsed} s  ${number + 1}/${schedule.length}  ${faultText(fault)}; ${owed} predictions owed`)
      await carryOut(fault)
    }
    await Promise.all(returns)
  }

  async function carryOut(fault: Fault): Promise<void> {
    switch (fault.kind) {
      case 'kill':
        return fault.isTimed ? timedKill(fault) : kill(fault)
      case 'pause':
        return pause(fault)
      case 'stop':
        await returns[fault.worker]
        return stop(fault.worker, fault.downMs)
      case 'empty redis':
        return emptyRedis()
      case 'kill redis':
        return killRedis(fault)
      case 'kill kafka':
        return killKafka(fault)
    }
  }

  async function kill({ worker, downMs }: FaultOf<'kill'>): Promise<void> {
    // A process that is paused may be killed; one that is down has to come back first.
    const one = await running(worker)
    await one.kill()
    if (downMs === 0) one.start()
    else returns[worker] = sleep(downMs).then(() => void one.start())
  }

  async function running(worker: number): Promise<KillableProcess> {
    const one = processes[worker]!
    while (!one.isRunning()) {
      await returns[worker]
      await sleep(20)
    }
    return one
  }

  async function timedKill(fault: FaultOf<'kill'>): Promise<void> {
    const one = processes[fault.worker]!
    await Promise.all(returns)
    const isCalm = await within(calmMaxMs, allReady)
    const tasks = await tasksOf(one.name)
    if (!isCalm || tasks.length === 0) {
      printLine(
        `          not timed: ${isCalm ? 'no task of the last stage is known to be its' : 'not all processes are ready'}`,
      )
      return kill(fault)
    }
    await one.kill()
    const startedMs = one.start()
    const firstMs = await watch.firstOf(tasks, startedMs, firstPredictionMaxMs)
    if (firstMs === null) {
      const named = tasks.map(({ partition }) => partition).join(', ')
      findings.add([
        `no prediction of ${parts.lastStage} ${named} came in ${firstPredictionMaxMs / 1_000} s after a kill`,
      ])
      return
    }
    restartSeconds.push((firstMs - startedMs) / 1_000)
    printLine(
      `          first new prediction of its tasks ${((firstMs - startedMs) / 1_000).toFixed(2)} s after the restart`,
    )
  }

  async function allReady(): Promise<boolean> {
    return (await Promise.all(processes.map((one) => one.isReady()))).every(Boolean)
  }

  /** Also none while Kafka, just restarted on a busy machine, does not report them. */
  async function tasksOf(worker: string): Promise<readonly Task[]> {
    const { members } = await broker.groups.describe(parts.group).catch((error: unknown) => {
      if (!(error instanceof PipelineError)) throw error
      printLine(`          ${error.message}`)
      return { members: [] }
    })
    const tasks = members.find((member) => member.worker === worker)?.tasks ?? []
    return tasks.filter(({ stage }) => stage === parts.lastStage)
  }

  async function pause({ worker, forMs }: FaultOf<'pause'>): Promise<void> {
    await returns[worker]
    returns[worker] = (await running(worker)).pause(forMs)
  }

  async function stop(worker: number, downMs: number | null): Promise<void> {
    const one = await running(worker)
    const { seconds, exitCode, isHanging, wasOpen, output } = await one.stop()
    if (isHanging) findings.add([`${one.name} did not end within ${seconds} s of SIGTERM; it said:\n${output}`])
    if (wasOpen) termSeconds.push(seconds)
    if (wasOpen && exitCode !== 0)
      findings.add([`${one.name} ended with ${exitCode} after SIGTERM; it said:\n${output}`])
    if (downMs !== null) returns[worker] = sleep(downMs).then(() => void one.start())
  }

  async function emptyRedis(): Promise<void> {
    const redis = new Redis(servers.redis.address)
    try {
      await redis.flushall()
    } finally {
      redis.disconnect()
    }
  }

  async function killRedis({ downMs, lostBytes }: FaultOf<'kill redis'>): Promise<void> {
    serverDownUntilMs = Number.POSITIVE_INFINITY
    await servers.redis.kill()
    const lost = await servers.redis.loseTail(lostBytes)
    await sleep(downMs)
    await servers.redis.restart()
    serverDownUntilMs = Date.now()
    printLine(`          Redis is back without its last ${lost} bytes`)
  }

  async function killKafka({ downMs }: FaultOf<'kill kafka'>): Promise<void> {
    await load.hold()
    serverDownUntilMs = Number.POSITIVE_INFINITY
    await servers.kafka.kill()
    await sleep(downMs)
    await servers.kafka.restart()
    serverDownUntilMs = Date.now()
    load.resume()
    printLine('          Kafka is back')
  }

  /**
   * A start that finds no server, or was paused for longer than it waits for one, reports it and ends: its supervisor starts it again.
   * All else is a finding.
   */
  function ended(worker: number, { how, output, wasOpen, wasPaused, startedMs }: EndedProcess): void {
    const one = processes[worker]!
    const hadNoAnswer = wasPaused && /^Check (?:KAFKA_BROKERS|REDIS_URL) /m.test(output)
    if (wasOpen || (startedMs > serverDownUntilMs && !hadNoAnswer)) {
      findings.add([`${one.name} ended by itself with ${how}; it said:\n${output}`])
    } else {
      refusedStarts++
      printLine(`          ${one.name} found no server and is started again`)
    }
    returns[worker] = sleep(startAgainMs).then(() => void one.start())
  }

  processes.forEach((one, worker) => {
    one.onEnded = (how) => ended(worker, how)
  })
  return {
    run,
    restartSeconds,
    termSeconds,
    get refusedStarts() {
      return refusedStarts
    },
    async stopAll() {
      await Promise.all(processes.map((_, worker) => stop(worker, null)))
    },
  }
}

/** Polls until it holds; false when it did not in time. */
export async function within(maxMs: number, holds: () => boolean | Promise<boolean>): Promise<boolean> {
  for (const beganMs = performance.now(); !(await holds()); await sleep(50)) {
    if (performance.now() - beganMs > maxMs) return false
  }
  return true
}
