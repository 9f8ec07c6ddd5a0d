/**
 * Parts that are open, to be closed in reverse order within one deadline, each even if another failed. A command that opens connections
 * makes one and hands it every part as soon as it is open.
 */
import { createDeadline, type Deadline } from '../runtime/deadline.ts'

export interface Closing {
  /** It will be closed before everything that was added before it. */
  add(name: string, close: () => Promise<unknown>): void
  /** The same promise each time. Never rejects: the caller decides what a part that failed or did not close means. */
  close(deadlineMs: number): Promise<ClosingOutcome>
}

export interface ClosingOutcome {
  readonly failures: ReadonlyArray<{ readonly name: string; readonly error: unknown }>
  /** The part that had not closed when the deadline came, and those after it, which were not asked to. */
  readonly late: readonly string[]
}

export function createClosing(deadlineAfter: (ms: number) => Deadline = createDeadline): Closing {
  const parts: Array<{ name: string; close: () => Promise<unknown> }> = []
  let closing: Promise<ClosingOutcome> | undefined

  async function closeAll(deadlineMs: number): Promise<ClosingOutcome> {
    const deadline = deadlineAfter(deadlineMs)
    const failures: Array<{ name: string; error: unknown }> = []
    while (parts.length > 0) {
      const { name, close } = parts.at(-1)!
      const closed = close().catch((error: unknown) => {
        failures.push({ name, error })
      })
      if ((await Promise.race([closed.then(() => 'closed' as const), deadline.reached])) === 'late') break
      parts.pop()
    }
    deadline.cancel()
    return { failures, late: parts.map(({ name }) => name).reverse() }
  }

  return {
    add: (name, close) => void parts.push({ name, close }),
    close(deadlineMs) {
      closing ??= closeAll(deadlineMs)
      return closing
    },
  }
}
