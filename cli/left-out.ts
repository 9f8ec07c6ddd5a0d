/** Why events were left out: each with its problem in, counts and first examples out. Called by `replay`, `backtest` and `recompute`. */
import type { Problem } from '../schemas/kernel/event.ts'
import { problemText } from './sources/rejection-line.ts'
import { shown } from './terminal.ts'

export interface LeftOut {
  /** `what`: the event or its place in the source, for the example. */
  add(stream: string, problem: Problem, what: string): void
  readonly total: number
  /** By stream and code, such as `orders function_threw`. */
  counts(): Readonly<Record<string, number>>
  /** For the terminal: one line a reason, and an example under it. */
  lines(): string[]
}

interface Reason {
  count: number
  readonly example: string
}

/** Streams and codes are few, so reasons are. */
export function createLeftOut(): LeftOut {
  const reasons = new Map<string, Reason>()
  let total = 0
  return {
    add(stream, problem, what) {
      total++
      const name = `${stream} ${problem.code}`
      const known = reasons.get(name)
      if (known) known.count++
      else reasons.set(name, { count: 1, example: `${what}: ${problemText(problem)}` })
    },
    get total() {
      return total
    },
    counts: () => Object.fromEntries([...reasons].map(([name, { count }]) => [name, count])),
    lines: () =>
      [...reasons].flatMap(([name, { count, example }]) => [`  ${shown(count)} × ${name}`, `      ${example}`]),
  }
}
