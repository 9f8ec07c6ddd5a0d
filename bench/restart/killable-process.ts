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

interface State {
  readonly name: string
  readonly command: readonly string[]
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly logFile: string | null
  life: Life | null
  /** Counts of earlier lives. */
  readonly before: Life['counts']
  ended: KillableProcess['onEnded']
}

export function createKillableProcess(
  name: string,
  environment: Readonly<Record<string, string | undefined>>,
  { compiled, logsFolder }: KillableProcessOptions,
): KillableProcess {
  const state: State = {
    name,
    command:
      compiled === null
        ? ['--import', 'tsx', 'cli/main.ts', 'run', 'pipelines/card-fraud.ts']
        : [`${compiled}/cli/main.js`, 'run', `${compiled}/pipelines/card-fraud.js`],
    environment: { ...environment, MILLRACE_WORKER: name, MILLRACE_HTTP_PORT: '0' },
    logFile: logsFolder === null ? null : join(logsFolder, `${name}.log`),
    life: null,
    before: noCounts(),
    ended({ how, output }) {
      throw new Error(`${name} ended by itself with ${how}; it said:\n${output}`)
    },
  }
  return {
    name,
    start: () => start(state),
    get onEnded() {
      return state.ended
    },
    set onEnded(ended) {
      state.ended = ended
    },
    kill: () => kill(state),
    pause: (ms) => pause(state, ms),
    stop: () => stop(state),
    poll: () => poll(state),
    isRunning: () => state.life !== null,
    isReady: async () => (await answer(state, '/health/ready'))?.ok ?? false,
    get counts() {
      const now = state.life?.counts ?? noCounts()
      return {
        late: state.before.late + now.late,
        releasedEarly: state.before.releasedEarly + now.releasedEarly,
        restored: state.before.restored + now.restored,
      }
    },
  }
}

const noCounts = () => ({ late: 0, releasedEarly: 0, restored: 0 })

function start(state: State): number {
  const { name, logFile, before } = state
  if (state.life) throw new Error(`${name} runs already`)
  const startedMs = Date.now()
  const child = spawn(process.execPath, state.command, {
    cwd: root,
    env: { ...state.environment },
    // With the channel it ends when this process does, however this one ends.
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  })
  const ended = once(child, 'exit')
  const own: Life = {
    child,
    ended,
    output: '',
    isEnding: false,
    isPaused: false,
    wasPaused: false,
    counts: noCounts(),
  }
  const onOutput = (piece: Buffer) => {
    own.output = `${own.output}${piece.toString()}`.slice(-outputMax)
    if (logFile !== null) appendFileSync(logFile, piece)
  }
  child.stdout?.on('data', onOutput)
  child.stderr?.on('data', onOutput)
  child.once('exit', (code, signal) => {
    before.late += own.counts.late
    before.releasedEarly += own.counts.releasedEarly
    before.restored += own.counts.restored
    own.counts = noCounts()
    if (state.life === own) state.life = null
    const { isEnding, output, wasPaused } = own
    const wasOpen = urlOf(own) !== null
    if (!isEnding) state.ended({ how: signal ?? `exit code ${code}`, output, wasOpen, wasPaused, startedMs })
  })
  state.life = own
  if (logFile !== null) appendFileSync(logFile, `started at ${startedMs}\n`)
  return startedMs
}

function running({ life, name }: State): Life {
  if (!life) throw new Error(`${name} does not run`)
  return life
}

async function kill(state: State): Promise<void> {
  const own = running(state)
  own.isEnding = true
  own.child.kill('SIGKILL')
  await own.ended
}

async function pause(state: State, ms: number): Promise<void> {
  const own = running(state)
  own.child.kill('SIGSTOP')
  own.isPaused = true
  own.wasPaused = true
  await Promise.race([new Promise((resolve) => setTimeout(resolve, ms)), own.ended])
  own.isPaused = false
  // Sent through the handle: it returns false where the process has ended.
  own.child.kill('SIGCONT')
}

async function stop(state: State): Promise<StoppedProcess> {
  const own = running(state)
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

async function answer({ life }: State, path: string): Promise<{ readonly ok: boolean; readonly text: string } | null> {
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

async function poll(state: State): Promise<void> {
  const own = state.life
  const page = await answer(state, '/metrics')
  if (!own || !page?.ok) return
  const sum = parseMetrics(page.text)
  // Gauges of a task start over when it is opened again.
  own.counts.late = Math.max(own.counts.late, sum('millrace_late_events'))
  own.counts.releasedEarly = Math.max(own.counts.releasedEarly, sum('millrace_released_early_events'))
  own.counts.restored = Math.max(own.counts.restored, sum('millrace_restored_total'))
}

/** Null until it has opened all its parts. */
function urlOf({ output }: Life): string | null {
  return /metrics: (http\S+)/.exec(output)?.[1] ?? null
}
