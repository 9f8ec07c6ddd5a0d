/**
 * A schedule of faults as plain data, drawn from a seed: when workers start, crash, pause, are partitioned or replaced, when the servers
 * lose what they hold or do not answer, and how often single calls go wrong. Executed by `run-with-faults.ts`.
 */
import { type CallKind, type CallRates, calmRates } from './call-outcomes.ts'
import { createRandom, type Random } from './random.ts'

export type When =
  /** Since the start. */
  | { readonly atMs: number }
  /** As soon as the nth call of this kind was executed. */
  | { readonly call: CallKind; readonly nth: number }
  /** While the nth transaction of a worker is open: its records and offsets are sent, its end is not. */
  | { readonly transactionOf: number; readonly nth: number }

export type Fault =
  /** Ends at once; a successor under the same name comes later. */
  | { readonly kind: 'kill'; readonly worker: number; readonly backAfterMs: number }
  /** Finishes its batch and ends; comes back later. */
  | { readonly kind: 'stop'; readonly worker: number; readonly backAfterMs: number }
  /** A second process under the same name. */
  | { readonly kind: 'replace'; readonly worker: number }
  /** As by SIGSTOP. */
  | { readonly kind: 'pause'; readonly worker: number; readonly forMs: number }
  /** It runs, and reaches no server. */
  | { readonly kind: 'cut-off'; readonly worker: number; readonly forMs: number }
  | { readonly kind: 'broker-down'; readonly forMs: number }
  | { readonly kind: 'store-down'; readonly forMs: number }
  | { readonly kind: 'store-full'; readonly forMs: number }
  | { readonly kind: 'store-emptied' }
  /** Each task loses up to so many of its last steps. */
  | { readonly kind: 'store-tail-lost'; readonly stepsMax: number }
  /** The store starts again from a snapshot of this moment, tokens included. */
  | { readonly kind: 'store-restored'; readonly afterMs: number }

export interface PlannedFault {
  readonly when: When
  readonly fault: Fault
}

export interface FaultSchedule {
  readonly seed: number
  /** When each worker comes, ms after the start. */
  readonly startsMs: readonly number[]
  readonly faults: readonly PlannedFault[]
  readonly rates: CallRates
  /** From here on nothing happens any more, ms after the start. */
  readonly calmAtMs: number
}

export interface FaultOptions {
  readonly workers: number
  /** How long there is trouble, ms of virtual time. */
  readonly lengthMs: number
  /** Sessions of the workers end after so long a silence: pauses are shorter and longer than that. */
  readonly sessionTimeoutMs: number
}

/** Workers that come at once, and nothing else. */
export function noFaults(workers: number): FaultSchedule {
  return { seed: 0, startsMs: new Array<number>(workers).fill(0), faults: [], rates: calmRates, calmAtMs: 0 }
}

export function drawFaults(seed: number, options: FaultOptions): FaultSchedule {
  const random = createRandom(seed)
  const { workers, lengthMs } = options
  const count = random.below(7)
  const startsMs = Array.from({ length: workers }, (_, i) =>
    i === 0 || random.below(3) > 0 ? random.below(20) : random.below(lengthMs),
  )
  const faults = Array.from({ length: count }, () => drawFault(random, options))
  const rates = drawRates(random)
  // Drawn last, so that all else of a recorded seed stays as it was.
  if (random.below(4) === 1) faults.push(drawFaultInTransaction(random, options))
  return { seed, startsMs, faults, rates, calmAtMs: lengthMs }
}

function drawRates(random: Random): CallRates {
  const sometimes = (max: number) => (random.below(2) === 0 ? 0 : random.below(max + 1))
  return {
    lostRequest: sometimes(10),
    lostAnswer: sometimes(10),
    twice: sometimes(100),
    aborted: sometimes(50),
    slow: sometimes(60),
    stuck: random.below(4) === 0 ? 1 + random.below(8) : 0,
    latencyMaxMs: random.pick([0, 1, 2, 6]),
  }
}

const callsOfTriggers: readonly CallKind[] = ['claim', 'load', 'apply', 'transact', 'join', 'fetch']

function drawFault(random: Random, { workers, lengthMs, sessionTimeoutMs }: FaultOptions): PlannedFault {
  const worker = random.below(workers)
  const forMs = 5 + random.below(random.below(2) === 0 ? sessionTimeoutMs : 3 * sessionTimeoutMs)
  // What matters is between which calls it happens, so half of the faults are scheduled by calls.
  const when: When =
    random.below(2) === 0
      ? { atMs: random.below(lengthMs) }
      : { call: random.pick(callsOfTriggers), nth: 1 + random.below(40) }
  const backAfterMs = random.below(3) === 0 ? random.below(3 * sessionTimeoutMs) : random.below(30)
  const faults: readonly Fault[] = [
    { kind: 'kill', worker, backAfterMs },
    { kind: 'kill', worker, backAfterMs },
    { kind: 'stop', worker, backAfterMs },
    { kind: 'replace', worker },
    { kind: 'pause', worker, forMs },
    { kind: 'pause', worker, forMs },
    { kind: 'cut-off', worker, forMs },
    { kind: 'broker-down', forMs: random.below(60) },
    { kind: 'store-down', forMs: random.below(60) },
    { kind: 'store-full', forMs: random.below(60) },
    { kind: 'store-emptied' },
    { kind: 'store-emptied' },
    { kind: 'store-tail-lost', stepsMax: 1 + random.below(4) },
    { kind: 'store-restored', afterMs: random.below(lengthMs / 3) },
  ]
  return { when, fault: random.pick(faults) }
}

/** Counting calls rarely hits an open transaction: it is open for milliseconds, and what hits it then is rare. */
function drawFaultInTransaction(random: Random, { workers, sessionTimeoutMs }: FaultOptions): PlannedFault {
  const worker = random.below(workers)
  const when = { transactionOf: worker, nth: 1 + random.below(20) }
  const forMs = 5 + random.below(3 * sessionTimeoutMs)
  const faults: readonly Fault[] = [
    { kind: 'pause', worker, forMs },
    { kind: 'pause', worker, forMs },
    { kind: 'cut-off', worker, forMs },
    { kind: 'kill', worker, backAfterMs: random.below(3 * sessionTimeoutMs) },
  ]
  return { when, fault: random.pick(faults) }
}

/** One line a fault, for the trace. */
export function describeFaults({ startsMs, faults, rates, calmAtMs }: FaultSchedule): string[] {
  const shown = ({ when, fault: { kind, ...rest } }: PlannedFault) => {
    const details = Object.entries(rest).map(([name, value]) => ` ${name} ${value}`)
    return `${describeWhen(when)}: ${kind}${details.join(',')}`
  }
  return [
    `workers come at ${startsMs.join(', ')} ms; calm from ${calmAtMs} ms`,
    `calls, of 1,000: ${Object.entries(rates)
      .map(([name, rate]) => `${name} ${rate}`)
      .join(', ')}`,
    ...faults.map(shown),
  ]
}

function describeWhen(when: When): string {
  if ('atMs' in when) return `at ${when.atMs} ms`
  if ('call' in when) return `after ${when.call} ${when.nth}`
  return `in transaction ${when.nth} of worker ${when.transactionOf}`
}
