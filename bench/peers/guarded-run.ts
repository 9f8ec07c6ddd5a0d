/**
 * Runs a program to its end and samples what its processes use; it ends with this process, however that ends. Called to build and to run
 * peers.
 */
import { createReadStream } from 'node:fs'
import { readdir, readFile, rm } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { lastLines } from '../../runtime/servers/command.ts'
import { startGuarded } from '../../runtime/servers/guarded-process.ts'
import { fineClock } from '../clock.ts'
import type { Usage } from '../middle.ts'
import type { PeerCommand } from './peer.ts'

export interface GuardedRun {
  /** From its start to its end; empty where the system does not tell what processes use. */
  readonly usages: readonly Usage[]
  readonly seconds: number
  /** Null where it ended with exit code 0; else how it ended, with the end of its output. */
  readonly failure: string | null
}

export interface GuardedRunOptions {
  readonly folder: string
  /** Beside which a note of the process group lies while it runs. */
  readonly logPath: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly timeoutMs: number
}

/** What it is given of the bench's environment: nothing that is a setting of ours or of a peer. */
const passedOn = ['PATH', 'HOME', 'JAVA_HOME', 'TMPDIR', 'LANG']
const sampleEveryMs = 50
const stopGraceMs = 5_000
const logLinesShown = 8

/** Rejects only where no process can be started at all. */
export async function runGuarded(command: PeerCommand, options: GuardedRunOptions): Promise<GuardedRun> {
  const { folder, logPath, env, timeoutMs } = options
  const groupPath = `${logPath}.group`
  const beganMs = fineClock.elapsedMs()
  const usages: Usage[] = [{ atMs: fineClock.nowMs(), cpuSeconds: 0, residentBytes: 0 }]
  const own = Object.fromEntries(passedOn.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]]])))
  const environment = { ...own, ...command.environment }
  const guarded = await startGuarded({ ...command, environment, cwd: folder, logPath, groupPath, stopGraceMs })
  let end: string | null = null
  const ended = guarded.ended.then((how) => {
    end = how
  })
  const group = Number(await readFile(groupPath, 'utf8'))
  const seconds = () => (fineClock.elapsedMs() - beganMs) / 1_000
  while (end === null && seconds() * 1_000 < timeoutMs) {
    const cpuSeconds = await cpuSecondsOf(group)
    if (cpuSeconds !== null && end === null) usages.push({ atMs: fineClock.nowMs(), cpuSeconds, residentBytes: 0 })
    await Promise.race([ended, fineClock.sleep(sampleEveryMs)])
  }
  if (end === null) {
    await guarded.stop()
    end = `no end within ${timeoutMs / 1_000} s`
  }
  await rm(groupPath, { force: true })
  // Its last outputs may be newer than the last sample.
  usages.push({ ...usages.at(-1)!, atMs: fineClock.nowMs() })
  const isKnown = usages.some(({ cpuSeconds }) => cpuSeconds > 0)
  const failure =
    end === 'exit code 0' ? null : `${command.file}: ${end}; its output ends with:\n${await endOf(logPath)}`
  return { usages: isKnown ? usages : [], seconds: seconds(), failure }
}

async function endOf(logPath: string): Promise<string> {
  return lastLines(await text(createReadStream(logPath)), logLinesShown)
}

/**
 * User and system, of all processes of the group that live and of those that they have waited for, from Linux's /proc; null where there is
 * none or no process of the group is left. It is told in hundredths of a second.
 */
async function cpuSecondsOf(group: number): Promise<number | null> {
  // No /proc is an answer, and so is a process that has ended since it was listed.
  const pids = await readdir('/proc').catch(() => [])
  const stats = await Promise.all(
    pids.filter((name) => /^\d+$/.test(name)).map((pid) => readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')),
  )
  // The name, in brackets, may hold anything. Behind it are state, parent, group …, and from the twelfth on utime, stime, cutime, cstime.
  const fields = stats.map((stat) => stat.slice(stat.lastIndexOf(')') + 2).split(' '))
  const own = fields.filter((of) => Number(of[2]) === group)
  if (own.length === 0) return null
  return (
    own.reduce((sum, of) => sum + of.slice(11, 15).reduce((ticks, value) => ticks + Number(value), 0), 0) /
    ticksPerSecond
  )
}

/** What Linux reports in, on every machine. */
const ticksPerSecond = 100
