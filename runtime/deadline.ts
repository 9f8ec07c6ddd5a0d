/** A timeout that can be cancelled: used where a shutdown, a health check or a request must not hang on a part that does not respond. */
export interface Deadline {
  /** Resolves when the time is up, unless it was cancelled before. */
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
