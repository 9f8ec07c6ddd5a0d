/** A failure comes in, its message for the terminal and the exit code go out; called by the command's entry. */
import { CommanderError } from 'commander'
import { errorCatalogue, PipelineError } from '../schemas/kernel/errors.ts'

/** `rejected`: the command did its work, but rows of its source were no valid events, more than were allowed. */
export const exitCodes = { done: 0, failed: 1, usage: 2, rejected: 3, interrupted: 130 } as const

export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage
  return error instanceof PipelineError && error.code === 'usage' ? exitCodes.usage : exitCodes.failed
}

/**
 * The sentence and, on the next line, what to do about it. Anything that is no failure of the world is a mistake of ours, and comes with
 * its stack.
 */
export function failureText(error: unknown): string {
  if (error instanceof PipelineError) {
    return `error: ${withFullStop(error.message)}\n${errorCatalogue[error.code].remedy}`
  }
  const shown = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return `error: This is a bug in Millrace; please report it with the lines below.\n${shown}`
}

export function withFullStop(message: string): string {
  return /[.!?:]$/.test(message) || message.includes('\n') ? message : `${message}.`
}
