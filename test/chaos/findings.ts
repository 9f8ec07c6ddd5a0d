/** What a run finds wrong: printed at once, the first few of a kind in full, all of them counted. Used by `run-chaos.ts`. */

export interface Findings {
  readonly count: number
  /** The sentences that were printed. */
  readonly printed: readonly string[]
  add(sentences: readonly string[]): void
}

const printedMax = 10

export function createFindings(printLine: (line: string) => void): Findings {
  const printed: string[] = []
  let count = 0
  return {
    get count() {
      return count
    },
    printed,
    add(sentences) {
      count += sentences.length
      for (const sentence of sentences.slice(0, printedMax)) {
        printed.push(sentence)
        printLine(`VIOLATION  ${sentence}`)
      }
      if (sentences.length > printedMax) printLine(`VIOLATION  and ${sentences.length - printedMax} more of that kind`)
    },
  }
}
