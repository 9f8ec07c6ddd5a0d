/** `millrace/testing`: what a test of a pipeline needs, without a server. See `docs/testing.md`. */
export { type CallKind, type CallOutcome, type CallRates, calmRates } from './call-outcomes.ts'
export {
  describeFaults,
  drawFaults,
  type Fault,
  type FaultOptions,
  type FaultSchedule,
  noFaults,
  type PlannedFault,
  type When,
} from './fault-schedule.ts'
export { type OneByOne, oneByOne } from './one-by-one.ts'
export {
  createPipelineRunner,
  type PipelineRunner,
  type RunnerOptions,
  type RunOptions,
  type StreamEvent,
} from './pipeline-runner.ts'
export { createRandom, type Random } from './random.ts'
export type { ReadPrediction } from './read-results.ts'
export type { Observer } from './simulated-calls.ts'
export { defaultGroup, type Started, type StartOptions, testLimits } from './start-worker.ts'
export { bitsOf, predictedVectors, replayed, replayedVectors, vectorsById } from './vectors.ts'
export { createVirtualClock } from './virtual-clock.ts'
