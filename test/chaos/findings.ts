/** What a run finds wrong: told at once, the first few of a kind in full, all of them counted. Used by `run-chaos.ts`. */

export interface Findings {
  readonly count: number
  /** The sentences that were told. */
  readonly told: readonly string[]
  add(sentences: readonly string[]): void
}

const toldMax = 10

export function createFindings(say: (line: string) => void): Findings {
  const told: string[] = []
  let count = 0
  return {
    get count() {
      return count
    },
    told,
    add(sentences) {
      count += sentences.length
      for (const sentence of sentences.slice(0, toldMax)) {
        told.push(sentence)
        say(`VIOLATION  ${sentence}`)
      }
      if (sentences.length > toldMax) say(`VIOLATION  and ${sentences.length - toldMax} more of that kind`)
    },
  }
}
