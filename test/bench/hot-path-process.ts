/**
 * The process that `hot-path.test.ts` watches: the card-fraud pipeline without servers on events of ordinary variety, a warm-up and a
 * second part. Prints what was allocated on the heap for an event of the second part, and marks in V8's log where that begins.
 */
import { GCProfiler, getHeapStatistics } from 'node:v8'
import { openMixedRun } from '../../bench/mixed-run.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import { generateHandbook } from '../../pipelines/handbook.ts'
import { compile } from '../../schemas/plan/compile.ts'

export interface HotPathFigures {
  readonly events: number
  readonly predictions: number
  readonly late: number
  readonly duplicates: number
  readonly rejected: number
  readonly heapBytesPerEvent: number
}

/** Windows of 30 days that end 7 days ago begin to slide after 37 days, which have 35,000 of these events. */
const warmUpSlices = 20
const measuredSlices = 10
const sliceEvents = 4_000
const seed = Number(process.argv[2])

/** Optimised at once, then called with what it was not optimised for: V8 notes that as well, in order. */
export function startOfMeasuring(value: number): number {
  return 2 * value + 1
}
const deoptimise = new Function(
  'marker',
  '%PrepareFunctionForOptimization(marker); marker(1); marker(2); %OptimizeFunctionOnNextCall(marker); marker(3); marker("x")',
)

/** What was there before and after each collection in between: everything else has been allocated. */
async function allocatedBytes(work: () => Promise<void>): Promise<number> {
  const profiler = new GCProfiler()
  profiler.start()
  let used = getHeapStatistics().used_heap_size
  await work()
  const end = getHeapStatistics().used_heap_size
  let bytes = 0
  for (const { beforeGC, afterGC } of profiler.stop().statistics) {
    bytes += beforeGC.heapStatistics.usedHeapSize - used
    used = afterGC.heapStatistics.usedHeapSize
  }
  return bytes + end - used
}

const run = openMixedRun(compile(cardFraud), generateHandbook(), seed)
for (let slice = 0; slice < warmUpSlices; slice++) {
  run.prepare(sliceEvents)
  await run.letIn()
}
const before = { ...run.totals }
let allocated = 0
deoptimise(startOfMeasuring)
for (let slice = 0; slice < measuredSlices; slice++) {
  run.prepare(sliceEvents)
  allocated += await allocatedBytes(run.letIn)
}
const since = (name: 'predictions' | 'late' | 'duplicates' | 'rejected') => run.totals[name] - before[name]
const events = measuredSlices * sliceEvents
const figures: HotPathFigures = {
  events,
  predictions: since('predictions'),
  late: since('late'),
  duplicates: since('duplicates'),
  rejected: since('rejected'),
  heapBytesPerEvent: Math.round(allocated / events),
}
process.stdout.write(`${JSON.stringify(figures)}\n`)
await run.stop()
