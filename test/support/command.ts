/** The `millrace` command as a user starts it: a process of its own, on the servers of the tests. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))
const fromSources = ['--import', 'tsx', join(root, 'cli/main.ts')]

export interface Command {
  readonly child: ChildProcess
  /** Everything printed so far. */
  readonly output: () => string
  readonly exitCode: Promise<number | null>
  /** Resolves once the output holds the text; rejects when the command ends before. */
  printed(text: string): Promise<void>
}

/** Killed with the test, if it still runs then. */
export function startCommand(args: readonly string[], environment: Readonly<Record<string, string>>): Command {
  return startNode([...fromSources, ...args], environment)
}

/** As `npm run build` makes it, in the folder that `build` answered. */
export function startCompiledCommand(
  folder: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): Command {
  return startNode([join(folder, 'cli/main.js'), ...args], environment)
}

let builds = 0

/** Answers a folder of the test's own, relative to the package: no two tests build into the same one. The caller removes it. */
export function build(): string {
  const name = `build-${process.pid}-${builds++}`
  execFileSync('npm', ['run', '--silent', 'build', name], { cwd: root })
  return join('.millrace', name)
}

export function removeBuild(folder: string): void {
  rmSync(join(root, folder), { recursive: true, force: true })
}

function startNode(args: readonly string[], environment: Readonly<Record<string, string>>): Command {
  const child = spawn(process.execPath, args, {
    cwd: root,
    // Checked by `tsc` already; what the check says has tests of its own.
    env: { ...process.env, MILLRACE_LOG_LEVEL: 'warn', MILLRACE_TYPE_CHECK: 'off', ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  const waiting = new Set<() => void>()
  const onOutput = (piece: Buffer) => {
    output += piece.toString()
    for (const check of waiting) check()
  }
  child.stdout.on('data', onOutput)
  child.stderr.on('data', onOutput)
  const exitCode = new Promise<number | null>((resolve) => {
    child.once('exit', (code) => resolve(code))
  })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  return {
    child,
    output: () => output,
    exitCode,
    printed: (text) =>
      new Promise((resolve, reject) => {
        const check = () => {
          if (!output.includes(text)) return
          waiting.delete(check)
          resolve()
        }
        waiting.add(check)
        check()
        void exitCode.then((code) => reject(new Error(`ended with ${code} before it printed "${text}":\n${output}`)))
      }),
  }
}

/** A folder of its own for a test's files. */
export function ownFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export function readJson<T>(path: string): T {
  return JSON.parse(readFileSync(path, 'utf8')) as T
}
