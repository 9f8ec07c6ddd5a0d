/**
 * Starts one server, waits until it really answers, and turns every way to fail into one sentence; called by the Kafka
 * and Redis files.
 */

import { readFile, rm } from 'node:fs/promises'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { lastLines } from './command.ts'
import { type GuardedOptions, startGuarded } from './guarded-process.ts'

export interface ServerStart extends GuardedOptions {
  /** For the sentences: 'Kafka 4.1.0'. */
  readonly name: string
  readonly address: string
  /**
   * Resolves when the server answers, rejects while it does not; called repeatedly. Must end by itself within
   * seconds.
   */
  readonly probe: () => Promise<void>
  readonly upMsMax: number
  readonly printLine: (line: string) => void
}

export interface RunningServer {
  readonly address: string
  close(): Promise<void>
}

const probeEveryMs = 50
const logLinesShown = 15

/**
 * Errors: `server_failed` and `port_in_use`, with the log's path and last lines. A server that failed is stopped before
 * the answer.
 */
export async function startServer(start: ServerStart): Promise<RunningServer> {
  const server = await startGuarded(start)
  let end: string | undefined
  let up = false
  let closing = false
  void server.ended.then((how) => {
    end = how
    if (up && !closing)
      start.printLine(`${start.name} at ${start.address} ended by itself (${how}); its log is ${start.logPath}`)
  })
  const close = async (): Promise<void> => {
    closing = true
    await server.stop()
    await rm(start.groupPath, { force: true })
  }
  const giveUpAtMs = performance.now() + start.upMsMax
  let lastFailure: unknown
  while (!up) {
    try {
      await start.probe()
      up = end === undefined
    } catch (error) {
      lastFailure = error
    }
    if (up) break
    if (end !== undefined || performance.now() > giveUpAtMs) {
      const endedItself = end
      await close()
      throw await failure(start, endedItself, lastFailure)
    }
    await new Promise((resolve) => setTimeout(resolve, probeEveryMs))
  }
  server.release()
  return { address: start.address, close }
}

async function failure(start: ServerStart, end: string | undefined, cause: unknown): Promise<PipelineError> {
  const log = await readFile(start.logPath, 'utf8')
  // Frames of Java's stack traces would crowd out the messages.
  const messages = log.replaceAll(/^\s+at .*$/gm, '')
  const shown = `Its log ${start.logPath} ends with:\n${lastLines(messages, logLinesShown)}`
  const details = { logPath: start.logPath, address: start.address }
  if (end !== undefined && /address already in use|BindException/i.test(log)) {
    const happened = 'could not listen on a port chosen for it: another process took it. Start again.'
    const sentence = `${start.name} (${start.address}) ${happened}`
    return new PipelineError('port_in_use', `${sentence} ${shown}`, { cause, details })
  }
  const what =
    end === undefined
      ? `did not answer at ${start.address} within ${start.upMsMax / 1_000} s and was stopped`
      : `ended before it answered at ${start.address} (${end})`
  return new PipelineError('server_failed', `${start.name} ${what}. ${shown}`, { cause, details })
}
