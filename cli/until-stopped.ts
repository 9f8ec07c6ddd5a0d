/**
 * A process that runs until it is stopped: what `open` opens runs until a signal or a failure and is closed within a deadline. Called
 * by `run` and `trainer`.
 */
import type { Log } from '../runtime/log.ts'
import type { CommandContext } from './context.ts'
import { exitCodes, failureText } from './failure-text.ts'
import type { Shutdown } from './shutdown.ts'
import { aborted } from './signals.ts'

export const drainMaxMs = 10_000

/** Returns the exit code; rejects with the failure that ended the process. */
export async function untilStopped(
  open: () => Promise<{ readonly ended: Promise<void> }>,
  parts: {
    readonly shutdown: Shutdown
    readonly signal: AbortSignal
    readonly context: Pick<CommandContext, 'terminal' | 'stopping'>
    readonly log: Log
  },
): Promise<number> {
  const { shutdown, signal, log } = parts
  const { terminal, stopping } = parts.context
  let isOpen = false
  let failure: { readonly error: unknown } | null = null
  const ended = open().then((live) => {
    isOpen = true
    return live.ended
  })
  await Promise.race([ended, aborted(signal)]).catch((error: unknown) => {
    failure = { error }
  })
  if (failure === null) ended.catch((error: unknown) => log.warn({ err: error }, 'a failure came with the stop'))
  const outcome = await shutdown.close(drainMaxMs)
  const known = (failure as { readonly error: unknown } | null)?.error
  const further = outcome.failures.filter(({ error }) => error !== known)
  for (const { name, error } of further) terminal.err(`${name} could not be closed: ${failureText(error)}`)
  if (failure !== null) throw known
  if (outcome.late.length > 0) {
    terminal.err(
      `Not closed within ${drainMaxMs / 1_000} s: ${outcome.late.join(', ')}. Nothing is lost: the next start continues.`,
    )
    stopping.exit(exitCodes.failed)
  }
  // What was still being opened would keep the process alive.
  if (!isOpen) stopping.exit(exitCodes.interrupted)
  return further.length + outcome.late.length > 0 ? exitCodes.failed : exitCodes.done
}
