/** A seed in, the faults of a run out: what, to which process, and how long after the one before. Pure; called by `run-chaos.ts`. */
import type { Random } from '../../testing/random.ts'

/** `afterMs`: since the fault before was carried out. `worker`: index of the process. */
export type Fault = { readonly afterMs: number } & (
  | {
      readonly kind: 'kill'
      readonly worker: number
      /** Down for so long; 0 is started again at once, under its name. */
      readonly downMs: number
      /** Waits until all processes are ready before, and for the first new prediction after: the restart can be timed. */
      readonly isTimed: boolean
    }
  /** SIGSTOP, and SIGCONT so much later. */
  | { readonly kind: 'pause'; readonly worker: number; readonly forMs: number }
  /** SIGTERM, and started again once it has ended. */
  | { readonly kind: 'stop'; readonly worker: number; readonly downMs: number }
  | { readonly kind: 'empty redis' }
  /** kill -9 and restart without the last bytes of its append-only file. */
  | { readonly kind: 'kill redis'; readonly downMs: number; readonly lostBytes: number }
  | { readonly kind: 'kill kafka'; readonly downMs: number }
)

export interface ScheduleOptions {
  /** kill -9 of a process; the other faults come in proportion. */
  readonly kills: number
  readonly workers: number
  readonly sessionTimeoutMs: number
}

type Card =
  | 'kill timed'
  | 'kill at once'
  | 'kill twice'
  | 'kill for long'
  | 'pause long'
  | 'pause short'
  | 'stop'
  | 'empty redis'
  | 'kill redis'
  | 'kill kafka'

/** How often each comes in a deck: 28 kills and 14 other faults. */
const deck: Readonly<Record<Card, number>> = {
  'kill timed': 14,
  'kill at once': 6,
  'kill twice': 2,
  'kill for long': 4,
  'pause long': 3,
  'pause short': 2,
  stop: 4,
  'empty redis': 2,
  'kill redis': 2,
  'kill kafka': 1,
}

/** Ends with the last kill. */
export function drawSchedule({ kills, workers, sessionTimeoutMs }: ScheduleOptions, random: Random): Fault[] {
  const faults: Fault[] = []
  let killed = 0
  let cards: Card[] = []
  const between = (min: number, max: number) => Math.round(min + random.next() * (max - min))
  while (killed < kills) {
    if (cards.length === 0) cards = shuffled(random)
    const drawn = faultsOf(cards.pop()!)
    for (const fault of drawn) {
      if (fault.kind === 'kill' && killed++ >= kills) break
      faults.push(fault)
    }
  }
  return faults

  function faultsOf(card: Card): Fault[] {
    const worker = random.below(workers)
    const afterMs = between(100, 1_500)
    switch (card) {
      case 'kill timed':
        return [{ kind: 'kill', afterMs, worker, downMs: 0, isTimed: true }]
      case 'kill at once':
        return [{ kind: 'kill', afterMs, worker, downMs: 0, isTimed: false }]
      case 'kill twice': {
        // The second comes while the new process starts, joins or folds again.
        const kill = { kind: 'kill', worker, downMs: 0, isTimed: false } as const
        return [
          { ...kill, afterMs },
          { ...kill, afterMs: between(200, 2_500) },
        ]
      }
      case 'kill for long':
        // Beyond the session: others take its tasks over.
        return [{ kind: 'kill', afterMs, worker, downMs: sessionTimeoutMs + between(1_000, 4_000), isTimed: false }]
      case 'pause long':
        return [{ kind: 'pause', afterMs, worker, forMs: sessionTimeoutMs + between(1_000, 4_000) }]
      case 'pause short':
        return [{ kind: 'pause', afterMs, worker, forMs: between(200, 3_000) }]
      case 'stop':
        return [{ kind: 'stop', afterMs, worker, downMs: random.below(3) === 0 ? between(1_000, 9_000) : 0 }]
      case 'empty redis':
        return [{ kind: 'empty redis', afterMs }]
      case 'kill redis':
        return [{ kind: 'kill redis', afterMs, downMs: between(0, 2_000), lostBytes: between(0, 300_000) }]
      case 'kill kafka':
        return [{ kind: 'kill kafka', afterMs, downMs: between(0, 2_000) }]
    }
  }
}

function shuffled(random: Random): Card[] {
  const cards = Object.entries(deck).flatMap(([card, count]) => new Array<Card>(count).fill(card as Card))
  for (let i = cards.length - 1; i > 0; i--) {
    const j = random.below(i + 1)
    const card = cards[i]!
    cards[i] = cards[j]!
    cards[j] = card
  }
  return cards
}

export function faultText(fault: Fault): string {
  const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`
  switch (fault.kind) {
    case 'kill':
      return `kill -9 ${workerName(fault.worker)}, back ${fault.downMs === 0 ? 'at once' : `after ${seconds(fault.downMs)}`}`
    case 'pause':
      return `SIGSTOP ${workerName(fault.worker)} for ${seconds(fault.forMs)}`
    case 'stop':
      return `SIGTERM ${workerName(fault.worker)}, back ${fault.downMs === 0 ? 'at once' : `after ${seconds(fault.downMs)}`}`
    case 'empty redis':
      return 'FLUSHALL'
    case 'kill redis':
      return `kill -9 Redis for ${seconds(fault.downMs)}, its last ${fault.lostBytes} bytes lost`
    case 'kill kafka':
      return `kill -9 Kafka for ${seconds(fault.downMs)}`
  }
}

export function workerName(worker: number): string {
  return `worker-${worker + 1}`
}
