/**
 * What happens to each call that a simulated process makes: how long the request and its answer are on their way, and whether one of them
 * is lost. Drawn one after the other from a seed, so that the same run has the same outcomes; called by `simulated-process.ts`.
 */
import type { Random } from './random.ts'

/** What a process calls: the store, Kafka's fetches and transactions, and all the rest of Kafka. */
export type CallKind = 'claim' | 'load' | 'apply' | 'fetch' | 'transact' | 'join' | 'other'

export interface CallOutcome {
  readonly requestMs: number
  readonly answerMs: number
  /** A lost request was never executed, a lost answer leaves the caller without its result. */
  readonly lost: 'nothing' | 'request' | 'answer'
  /** Arrives a second time, as a request does that is sent again because its answer was lost. */
  readonly isTwice: boolean
  /** For a transaction: how long it is open, and whether the broker gives up on it. */
  readonly openMs: number
  readonly isAborted: boolean
}

/** Chances of 1,000 for each call. */
export interface CallRates {
  readonly lostRequest: number
  readonly lostAnswer: number
  readonly twice: number
  readonly aborted: number
  /** Tens of milliseconds instead of a few. */
  readonly slow: number
  /** Up to three seconds. */
  readonly stuck: number
  /** Of an ordinary call, ms: requests overtake each other within it. */
  readonly latencyMaxMs: number
}

export const calmRates: CallRates = {
  lostRequest: 0,
  lostAnswer: 0,
  twice: 0,
  aborted: 0,
  slow: 0,
  stuck: 0,
  latencyMaxMs: 1,
}

export function drawCallOutcome(random: Random, rates: CallRates, kind: CallKind): CallOutcome {
  const happens = (rate: number) => random.below(1_000) < rate
  const lost = happens(rates.lostRequest) ? 'request' : happens(rates.lostAnswer) ? 'answer' : 'nothing'
  return {
    requestMs: drawLatency(random, rates),
    answerMs: drawLatency(random, rates),
    lost,
    isTwice: kind === 'apply' && happens(rates.twice),
    openMs: kind === 'transact' ? drawLatency(random, rates) : 0,
    isAborted: kind === 'transact' && happens(rates.aborted),
  }
}

function drawLatency(random: Random, { latencyMaxMs, slow, stuck }: CallRates): number {
  const dice = random.below(1_000)
  if (dice < stuck) return 100 + random.below(2_900)
  if (dice < stuck + slow) return random.below(80)
  return random.below(latencyMaxMs * 4 + 1) / 4
}
