/** A bound on waiting: used where a stop, a health check or a request must not hang on a part that does not answer. */
export interface Deadline {
  /** Resolves when the time is over, unless it was cancelled before. */
  readonly reached: Promise<'late'>
  cancel(): void
}

export function createDeadline(ms: number): Deadline {
  let timer: NodeJS.Timeout | undefined
  const reached = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), ms)
  })
  return { reached, cancel: () => clearTimeout(timer) }
}
