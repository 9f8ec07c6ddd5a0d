/**
 * Parts that are open, to be closed in reverse order within one deadline, each even if another failed. A command that opens connections
 * makes one and hands it every part as soon as it is open.
 */
import { createDeadline, type Deadline } from '../runtime/deadline.ts'

export interface Shutdown {
  /** It will be closed before everything that was added before it; at once, where all else is closed already. */
  add(name: string, close: () => Promise<unknown>): void
  /** The same promise each time. Never rejects: the caller decides what a part that failed or did not close means. */
  close(deadlineMs: number): Promise<ShutdownOutcome>
}

export interface ShutdownOutcome {
  readonly failures: ReadonlyArray<{ readonly name: string; readonly error: unknown }>
  /** The part that had not closed when the deadline came, and those after it, which were not closed. */
  readonly late: readonly string[]
}

export function createShutdown(deadlineAfter: (ms: number) => Deadline = createDeadline): Shutdown {
  const parts: Array<{ name: string; close: () => Promise<unknown> }> = []
  let shutdown: Promise<ShutdownOutcome> | undefined
  const failures: Array<{ name: string; error: unknown }> = []
  let isOver = false

  function closeOne({ name, close }: (typeof parts)[number]): Promise<void> {
    return close().then(
      () => undefined,
      (error: unknown) => void failures.push({ name, error }),
    )
  }

  async function closeAll(deadlineMs: number): Promise<ShutdownOutcome> {
    const deadline = deadlineAfter(deadlineMs)
    const late: string[] = []
    // A part may be added while another is closed: its opener did not know yet.
    for (let part = parts.pop(); part; part = parts.pop()) {
      const isLate = late.length > 0 || (await Promise.race([closeOne(part), deadline.reached])) === 'late'
      if (isLate) late.push(part.name)
    }
    isOver = true
    deadline.cancel()
    return { failures, late }
  }

  return {
    add(name, close) {
      if (isOver) void closeOne({ name, close })
      else parts.push({ name, close })
    },
    close(deadlineMs) {
      shutdown ??= closeAll(deadlineMs)
      return shutdown
    },
  }
}

/** Closes all parts once the work has ended. What the work rejects with goes before a part that failed to close. */
export async function closedAfter<T>(shutdown: Shutdown, deadlineMs: number, work: () => Promise<T>): Promise<T> {
  const outcome = await work().then(
    (value) => ({ value }),
    (error: unknown) => ({ error }),
  )
  const { failures } = await shutdown.close(deadlineMs)
  if ('error' in outcome) throw outcome.error
  if (failures.length > 0) throw failures[0]!.error
  return outcome.value
}
