/**
 * Everything that a simulated run begins with, drawn from one seed: the pipeline, its events and when they are sent, how the workers are
 * set, and the faults. Plain data; `run-scenario.ts` runs it.
 */
import { defaultWorkerLimits, type WorkerLimits } from '../../processors/worker-limits.ts'
import type { Pipeline } from '../../schemas/definition/definition.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { drawFaults, type FaultSchedule } from '../../testing/fault-schedule.ts'
import type { StreamEvent } from '../../testing/index.ts'
import { createRandom, type Random } from '../../testing/random.ts'
import { click, clicksPipeline, refund } from '../support/clicks.ts'

/**
 * The order in which events are sent, and so what is known of their vectors. `ordered`: in event time, while the workers run. `disorder`:
 * as far out of order as the definition allows, before the workers come. `late`: anyhow, while they run.
 */
export type Order = 'ordered' | 'disorder' | 'late'

export interface Sent {
  readonly afterMs: number
  readonly events: readonly StreamEvent[]
  /** Bytes that are no event, to this partition of the clicks. */
  readonly garbage: number | null
  /** The producer sends it all again, since the first acknowledgement was lost. */
  readonly isTwice: boolean
}

export interface Scenario {
  readonly seed: number
  readonly order: Order
  readonly stages: 1 | 2 | 3
  readonly partitions: number
  readonly pipeline: Pipeline
  readonly plan: Plan
  readonly sent: readonly Sent[]
  readonly limits: Partial<WorkerLimits>
  readonly faults: FaultSchedule
}

const sessionTimeoutMs = 400
const troubleMs = 1_200
/** Amounts at which the derived feature fails: the last stage rejects such a click. */
export const unlucky = [13, 17]

const compiled = new Map<string, { pipeline: Pipeline; plan: Plan }>()

export function drawScenario(seed: number): Scenario {
  const random = createRandom(seed)
  const stages = random.pick([1, 2, 2, 2, 2, 2, 3] as const)
  const order = random.pick(['ordered', 'ordered', 'ordered', 'disorder', 'late'] as const)
  const partitions = random.pick([1, 2, 2, 3, 4])
  const isLong = random.below(4) === 0
  const events = drawEvents(random, { isLong, partitions, isRekeyed: stages === 3 })
  const drawn = {
    seed,
    order,
    stages,
    partitions,
    ...definitionOf(stages, order),
    sent: drawSends(random, order, events, partitions),
    limits: {
      batchEventsMax: 1 + random.below(12),
      partitionBytesMax: 150 + random.below(1_500),
      commitEveryMs: random.below(10),
      cacheRowsMax: random.pick([1, 30, 1_000_000]),
      readAheadMax: random.pick([1, 5, 4_000]),
      positionEveryMs: random.pick([60, 10_000]),
      // So short a bound guesses, so that vectors are not those of a replay.
      holdMaxMs: order === 'late' && random.below(2) === 0 ? random.below(100) : defaultWorkerLimits.holdMaxMs,
      pollMaxMs: 50,
      sessionTimeoutMs,
      // Longer than a session, a transaction outlives the membership under which it began.
      transactionTimeoutMs: random.pick([300, 300, 900]),
    },
    faults: drawFaults(random.below(2 ** 31), {
      workers: random.pick([1, 2, 2, 3]),
      lengthMs: troubleMs,
      sessionTimeoutMs,
    }),
  }
  const heldMax = random.below(3) === 0 ? 1 + random.below(20) : defaultWorkerLimits.heldMax
  return { ...drawn, limits: { ...drawn.limits, heldMax, advancingEveryMs: 20 } }
}

/** Compiled once: nothing in a plan changes. */
function definitionOf(stages: Scenario['stages'], order: Order): { pipeline: Pipeline; plan: Plan } {
  const name = `${stages} ${order}`
  const known = compiled.get(name)
  if (known) return known
  const pipeline = clicksPipeline({
    stages: stages === 1 ? 1 : 2,
    disorder: order === 'disorder' ? '2s' : '0s',
    lateness: order === 'late' ? '30m' : '1h',
    rekey: stages === 3 ? ['clicks', 'refunds'] : [],
  })
  const definition = { pipeline, plan: compile(pipeline) }
  compiled.set(name, definition)
  return definition
}

interface EventOptions {
  /** Over several retentions instead of minutes. */
  readonly isLong: boolean
  readonly partitions: number
  readonly isRekeyed: boolean
}

/** In event-time order; several share an instant. */
function drawEvents(random: Random, { isLong, partitions, isRekeyed }: EventOptions): StreamEvent[] {
  const users = 1 + random.below(8)
  const pages = 1 + random.below(4)
  let seconds = 0
  return Array.from({ length: 12 + random.below(50) }, (_, i): StreamEvent => {
    seconds += random.below(isLong ? 400 : 4)
    const [user, page] = [`user${random.below(users)}`, `page${random.below(pages)}`]
    const amount = random.below(25) === 0 ? random.pick(unlucky) : (2_000 + random.below(1_000)) / 100
    const event =
      random.below(5) === 0
        ? refund(`e${i - 1}`, user, seconds, { page, clickedAt: Math.max(0, seconds - random.below(30)) })
        : click(`e${i}`, user, seconds, { page, amount })
    return isRekeyed ? { ...event, partition: random.below(partitions) } : event
  })
}

function drawSends(random: Random, order: Order, events: readonly StreamEvent[], partitions: number): Sent[] {
  const list = order === 'ordered' ? [...events] : shuffled(random, events, order === 'disorder' ? 2_000 : 3_000_000)
  const sent: Sent[] = []
  while (list.length > 0) {
    let count = 1 + random.below(8)
    // Events of one instant are sent at once, or the last of them would come after its position had been passed.
    while (count < list.length && timeOf(list[count - 1]!) === timeOf(list[count]!)) count++
    const chunk = list.splice(0, count)
    sent.push({
      afterMs: order === 'disorder' ? 0 : random.below(random.below(8) === 0 ? 200 : 40),
      events: chunk,
      garbage: random.below(12) === 0 ? random.below(partitions) : null,
      isTwice: random.below(8) === 0 && !chunk.some(({ values }) => unlucky.includes(values.amount as number)),
    })
  }
  return sent
}

/** No event comes after one that is more than `withinMs` later. */
function shuffled(random: Random, events: readonly StreamEvent[], withinMs: number): StreamEvent[] {
  const withTimes = events.map((event) => ({ event, at: timeOf(event) + random.below(withinMs) }))
  return withTimes.sort((a, b) => a.at - b.at).map(({ event }) => event)
}

function timeOf({ values }: StreamEvent): number {
  return values.at as number
}
