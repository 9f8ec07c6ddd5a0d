/**
 * Facts about processes of this machine, from the kernel and `ps`; called by `lock.ts` and `leftovers.ts`.
 */

import { runCommand } from './command.ts'

const psMs = 10_000
/** `ps` prints ages in whole seconds, and file times are rounded too. */
const clockSlackMs = 2_000

export interface ListedProcess {
  readonly pid: number
  readonly group: number
  readonly command: string
}

/** Whether there is a process (or with a negative number, a process group) of that number, of any owner. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ESRCH') return false
    if (code === 'EPERM') return true
    throw error
  }
}

/**
 * Whether the process that left a file (a lock, a folder) at `lockedAtMs` under its pid has ended. A process of that pid
 * that started after it is another one: pids are reused, in containers after every restart. Where `ps` is
 * missing, a living pid counts as the owner.
 */
export async function ownerIsGone(pid: number, lockedAtMs: number, environment: NodeJS.ProcessEnv): Promise<boolean> {
  if (!isAlive(pid)) return true
  if (pid === process.pid) return performance.timeOrigin > lockedAtMs + clockSlackMs
  const asked = await runCommand('ps', ['-o', 'stat=,etime=', '-p', String(pid)], { environment, timeoutMs: psMs })
  if (asked.missing || asked.exitCode !== 0) return false
  const [state = '', age = ''] = asked.output.trim().split(/\s+/)
  // A zombie is dead; only its parent has not asked for its exit code yet.
  if (state.startsWith('Z')) return true
  const ageMs = elapsedMs(age)
  return ageMs !== undefined && Date.now() - ageMs > lockedAtMs + clockSlackMs
}

/** Reads what `ps -o etime=` prints: `[[days-]hours:]minutes:seconds`; undefined for anything else. */
export function elapsedMs(etime: string): number | undefined {
  const found = /^\s*(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)\s*$/.exec(etime)
  if (found === null) return undefined
  const [days, hours, minutes, seconds] = found.slice(1).map((part) => Number(part ?? 0))
  return ((((days ?? 0) * 24 + (hours ?? 0)) * 60 + (minutes ?? 0)) * 60 + (seconds ?? 0)) * 1_000
}

/** All processes of the machine, or undefined where `ps` is missing or does not know these options. */
export async function listProcesses(environment: NodeJS.ProcessEnv): Promise<ListedProcess[] | undefined> {
  const args = ['-A', '-ww', '-o', 'pid=,pgid=,command=']
  const asked = await runCommand('ps', args, { environment, timeoutMs: psMs, outputCharactersMax: 16_777_216 })
  if (asked.missing || asked.exitCode !== 0) return undefined
  return parseProcesses(asked.output)
}

/** Reads lines of `pid pgid command`; a line of another shape (the rest of a command with a line break) is left out. */
export function parseProcesses(output: string): ListedProcess[] {
  return output.split('\n').flatMap((line) => {
    const found = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line)
    return found === null ? [] : [{ pid: Number(found[1]), group: Number(found[2]), command: found[3] ?? '' }]
  })
}
