/**
 * One `millrace run` of card-fraud under a stable name, started as a user starts it, to be killed, paused and stopped. Used by `restart.ts`
 * and by the tests with faults on real processes.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseMetrics } from '../metrics-text.ts'

export interface KillableProcess {
  readonly name: string
  /** Starts it; the instant is that of the spawn, ms since 1970. */
  start(): number
  /** kill -9, also of a paused one. Resolves when it has ended. */
  kill(): Promise<void>
  /** SIGSTOP now, SIGCONT later, if it is not killed meanwhile; resolves after that. */
  pause(ms: number): Promise<void>
  /** SIGTERM. Answers how long it took and how it ended. */
  stop(): Promise<StoppedProcess>
  /** Paused ones run. */
  isRunning(): boolean
  /** Its tasks are open and restored up to Kafka. Also false when it does not answer. */
  isReady(): Promise<boolean>
  /** Reads its counts, as far as it answers. */
  poll(): Promise<void>
  /** Called when it ends by itself; replaced by its supervisor. */
  onEnded: (ended: EndedProcess) => void
  /** Of all its lives, as they were last seen before each end: not less happened. */
  readonly counts: { readonly late: number; readonly releasedEarly: number; readonly restored: number }
}

export interface StoppedProcess {
  readonly seconds: number
  /** Null where the signal ended it, since it did not listen yet. */
  readonly exitCode: number | null
  /** It did not end, and was killed. */
  readonly isHanging: boolean
  /** It had reported that it runs. */
  readonly wasOpen: boolean
  /** Its last line of output. */
  readonly output: string
}

export interface KillableProcessOptions {
  /** Folder that `npm run build` made, below the package; null: the sources run. */
  readonly compiled: string | null
  /** File for the output of all its starts; null: none. */
  readonly logsFolder: string | null
}

interface Life {
  readonly child: ChildProcess
  readonly ended: Promise<unknown>
  output: string
  /** We have requested its end. */
  isEnding: boolean
  isPaused: boolean
  wasPaused: boolean
  counts: { late: number; releasedEarly: number; restored: number }
}

const root = fileURLToPath(new URL('../..', import.meta.url))
const outputMax = 20_000
/** Three times what a process gives itself for a stop. */
const stopMaxMs = 30_000
const answerMaxMs = 2_000

export interface EndedProcess {
  readonly how: string
  readonly output: string
  /** It reported that it runs. */
  readonly wasOpen: boolean
  /** Once at least: what it waited for may have come too late for its clock. */
  readonly wasPaused: boolean
  readonly startedMs: number
}

export function createKillableProcess(
  name: string,
  environment: Readonly<Record<string, string | undefined>>,
  options: KillableProcessOptions,
): KillableProcess {
  const { compiled, logsFolder } = options
  const command =
    compiled === null
      ? ['--import', 'tsx', 'cli/main.ts', 'run', 'pipelines/card-fraud.ts']
      : [`${compiled}/cli/main.js`, 'run', `${compiled}/pipelines/card-fraud.js`]
  let life: Life | null = null
  const before = { late: 0, releasedEarly: 0, restored: 0 }

  function start(): number {
    if (life) throw new Error(`${name} runs already`)
    const startedMs = Date.now()
    const child = spawn(process.execPath, command, {
      cwd: root,
      env: { ...environment, MILLRACE_WORKER: name, MILLRACE_HTTP_PORT: '0' },
      // With the channel it ends when this process does, however this one ends.
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    const counts = { late: 0, releasedEarly: 0, restored: 0 }
    const own: Life = {
      child,
      ended: once(child, 'exit'),
      output: '',
      isEnding: false,
      isPaused: false,
      wasPaused: false,
      counts,
    }
    const onOutput = (piece: Buffer) => {
      own.output = `${own.output}${piece.toString()}`.slice(-outputMax)
      if (logsFolder !== null) appendFileSync(join(logsFolder, `${name}.log`), piece)
    }
    child.stdout?.on('data', onOutput)
    child.stderr?.on('data', onOutput)
    child.once('exit', (code, signal) => {
      before.late += own.counts.late
      before.releasedEarly += own.counts.releasedEarly
      before.restored += own.counts.restored
      own.counts = { late: 0, releasedEarly: 0, restored: 0 }
      if (life === own) life = null
      const wasOpen = urlOf(own) !== null
      const { isEnding, output, wasPaused } = own
      if (!isEnding) one.onEnded({ how: signal ?? `exit code ${code}`, output, wasOpen, wasPaused, startedMs })
    })
    life = own
    if (logsFolder !== null) appendFileSync(join(logsFolder, `${name}.log`), `started at ${startedMs}\n`)
    return startedMs
  }

  function running(): Life {
    if (!life) throw new Error(`${name} does not run`)
    return life
  }

  async function kill(): Promise<void> {
    const own = running()
    own.isEnding = true
    own.child.kill('SIGKILL')
    await own.ended
  }

  async function pause(ms: number): Promise<void> {
    const own = running()
    own.child.kill('SIGSTOP')
    own.isPaused = true
    own.wasPaused = true
    await Promise.race([new Promise((resolve) => setTimeout(resolve, ms)), own.ended])
    own.isPaused = false
    // Sent through the handle: it returns false where the process has ended.
    own.child.kill('SIGCONT')
  }

  async function stop(): Promise<StoppedProcess> {
    const own = running()
    own.isEnding = true
    const wasOpen = urlOf(own) !== null
    const beganMs = performance.now()
    own.child.kill('SIGTERM')
    let isHanging = false
    const giveUp = setTimeout(() => {
      isHanging = true
      own.child.kill('SIGKILL')
    }, stopMaxMs)
    await own.ended
    clearTimeout(giveUp)
    const seconds = (performance.now() - beganMs) / 1_000
    return { seconds, exitCode: own.child.exitCode, isHanging, wasOpen, output: own.output }
  }

  async function answer(path: string): Promise<{ readonly ok: boolean; readonly text: string } | null> {
    const url = life && urlOf(life)
    if (!url || life?.isPaused) return null
    try {
      const response = await fetch(`${url}${path}`, { signal: AbortSignal.timeout(answerMaxMs) })
      return { ok: response.ok, text: await response.text() }
    } catch {
      // It dies and is paused at any time: no answer is an answer.
      return null
    }
  }

  async function poll(): Promise<void> {
    const own = life
    const page = await answer('/metrics')
    if (!own || !page?.ok) return
    const sum = parseMetrics(page.text)
    // Gauges of a task start over when it is opened again.
    own.counts.late = Math.max(own.counts.late, sum('millrace_late_events'))
    own.counts.releasedEarly = Math.max(own.counts.releasedEarly, sum('millrace_released_early_events'))
    own.counts.restored = Math.max(own.counts.restored, sum('millrace_restored_total'))
  }

  const one: KillableProcess = {
    name,
    start,
    onEnded({ how, output }) {
      throw new Error(`${name} ended by itself with ${how}; it said:\n${output}`)
    },
    kill,
    pause,
    stop,
    poll,
    isRunning: () => life !== null,
    isReady: async () => (await answer('/health/ready'))?.ok ?? false,
    get counts() {
      const now = life?.counts ?? { late: 0, releasedEarly: 0, restored: 0 }
      return {
        late: before.late + now.late,
        releasedEarly: before.releasedEarly + now.releasedEarly,
        restored: before.restored + now.restored,
      }
    },
  }
  return one
}

/** Null until it has opened all its parts. */
function urlOf({ output }: Life): string | null {
  return /metrics: (http\S+)/.exec(output)?.[1] ?? null
}
