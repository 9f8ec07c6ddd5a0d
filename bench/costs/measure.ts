/**
 * One point of the costs in, what an event costs there out: the real worker and batch loop on the point's stream, brought in until the
 * windows are full, then measured in rounds with the calibration beside each. Called by `costs-process.ts`, and by its test on small sizes.
 */
import { drawnScorer } from '../../online-model/models/drawn-scorer.ts'
import { createRandom } from '../../online-model/models/random.ts'
import { type InProcessRun, openInProcessRun } from '../../processors/in-process/in-process-run.ts'
import type { Clock } from '../../runtime/clock.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { cpuSecondsOf } from '../cpu-seconds.ts'
import { createCalibration } from '../guard/calibration.ts'
import type { CostPoint } from './axes.ts'
import { costDefinition } from './definition.ts'
import { costEvents, eventsUntilFull } from './events.ts'

export interface CostOrder {
  readonly point: CostPoint
  readonly seed: number
  readonly rounds: number
  /** Of a round, where one this long is not too slow. */
  readonly roundEvents: number
  /** Brought in before the first round, at least: windows may be full sooner than code is compiled. */
  readonly warmUpEventsMin: number
  /** A point whose windows are not full after so much CPU is measured as it is then. */
  readonly fillCpuSecondsMax: number
}

export interface CostRound {
  readonly usPerEvent: number
  readonly usPerStep: number
}

export interface CostFigures {
  /** Brought in before the first round, and whether that filled the windows. */
  readonly filled: number
  readonly isFull: boolean
  readonly roundEvents: number
  readonly rounds: readonly CostRound[]
  readonly predictions: number
  /** Of the process: cache of entities, store, and topics with all that was ever sent. */
  readonly residentMb: number
}

const modelSeed = 1
const reasonsMax = 3
/** A round of a slow point is shorter: about this long, but so many events at least. */
const roundSeconds = 2
const roundEventsMin = 500
/** As long as windows fill; the first slice, of unknown cost, is shorter. */
const [fillSlice, firstSlice] = [20_000, 2_000]
const stepsPerRound = 1_500
const megabyte = 2 ** 20

export async function measureCost(order: CostOrder, clock: Clock): Promise<CostFigures> {
  const { point, seed } = order
  const plan = compile(costDefinition(point.features, point.kind))
  const scorer = drawnScorer(plan, createRandom(modelSeed), reasonsMax)
  const events = costEvents(point, seed)
  const { partitions } = point
  const run = openInProcessRun({ plan, events, currentModel: () => scorer, mayHold: false, clock, partitions })
  const { filled, isFull, usPerEvent } = await fill(run, order)
  const roundEvents = Math.min(order.roundEvents, affordable(usPerEvent))
  const rounds = await measuredRounds(run, order.rounds, roundEvents)
  const { predictions, rejected, late, duplicates } = run.totals
  const expected = filled + order.rounds * roundEvents
  if (predictions !== expected || rejected + late + duplicates > 0)
    throw new Error(
      `expected ${expected} predictions, received ${predictions}; ${rejected} rejected, ${late} late, ${duplicates} duplicates`,
    )
  await run.stop()
  const residentMb = process.memoryUsage.rss() / megabyte
  return { filled, isFull, roundEvents, rounds, predictions, residentMb }
}

/** In slices that grow smaller where events are slow, so that the limit is kept. */
async function fill(run: InProcessRun, { point, warmUpEventsMin, fillCpuSecondsMax }: CostOrder) {
  const full = eventsUntilFull(point)
  const wanted = Math.max(full, warmUpEventsMin)
  let [filled, slice, usPerEvent, seconds] = [0, firstSlice, 0, 0]
  while (filled < wanted && seconds < fillCpuSecondsMax) {
    const events = Math.min(slice, wanted - filled)
    seconds += await cpuSecondsOf(async () => {
      usPerEvent = await usPerEventOf(run, events)
    })
    filled += events
    slice = Math.min(fillSlice, affordable(usPerEvent))
  }
  return { filled, isFull: filled >= full, usPerEvent }
}

/** So many of that cost fit into a round. */
function affordable(usPerEvent: number): number {
  return Math.max(roundEventsMin, Math.floor((roundSeconds * 1_000_000) / usPerEvent))
}

async function measuredRounds(run: InProcessRun, rounds: number, roundEvents: number): Promise<CostRound[]> {
  const calibration = createCalibration()
  let result = 0
  const calibrate = async () => {
    for (let step = 0; step < stepsPerRound; step++) result += calibration.step()
  }
  await calibrate()
  const measured: CostRound[] = []
  for (let round = 0; round < rounds; round++) {
    const usPerStep = ((await cpuSecondsOf(calibrate)) * 1_000_000) / stepsPerRound
    measured.push({ usPerEvent: await usPerEventOf(run, roundEvents), usPerStep })
  }
  if (!Number.isFinite(result)) throw new Error('the calibration has no result')
  return measured
}

/** What is prepared is encoded before, outside of what is measured. */
async function usPerEventOf(run: InProcessRun, events: number): Promise<number> {
  run.prepare(events)
  return ((await cpuSecondsOf(run.letIn)) * 1_000_000) / events
}
