/** Runs the scenarios of many seeds in child processes and reports each; called by `main.ts` and for the mutations. */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { ChildReport } from './child.ts'

export interface SimulateOptions {
  readonly schedules: number
  /** Of the first; the others follow it. */
  readonly seed: number
  readonly processes: number
  /** Folder of the simulated code. */
  readonly root: URL
  /** False: no more are run. */
  readonly onReport: (report: ChildReport) => boolean
}

export const here = new URL('../../', import.meta.url)

/** Resolves when all are run, or as many as are wanted. Rejects when a process ends too early. */
export async function simulate({ schedules, seed, processes, root, onReport }: SimulateOptions): Promise<void> {
  const children: ChildProcess[] = []
  const stop = () => {
    for (const child of children) child.kill()
  }
  let isEnough = false
  const runs = Array.from({ length: Math.min(processes, schedules) }, (_, i) => {
    const count = Math.ceil((schedules - i) / processes)
    const child = fork(
      fileURLToPath(new URL('test/simulation/child.ts', root)),
      [seed + i, processes, count].map(String),
      {
        execArgv: ['--import', pathToFileURL(fileURLToPath(import.meta.resolve('tsx'))).href],
        stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      },
    )
    children.push(child)
    let output = ''
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      output = (output + text).slice(-4_000)
    })
    child.on('message', (report) => {
      if (isEnough || onReport(report as ChildReport)) return
      isEnough = true
      stop()
    })
    return new Promise<void>((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code) => {
        if (code === 0 || isEnough) resolve()
        else reject(new Error(`a process of the simulation ended with ${code}: ${output}`))
      })
    })
  })
  try {
    await Promise.all(runs)
  } finally {
    stop()
  }
}
