/** `millrace/testing`: what a test of a pipeline needs, without a server. See `docs/testing.md`. */
export { type CallFate, type CallKind, type CallRates, calmRates } from './call-fates.ts'
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
export {
  createPipelineRunner,
  defaultGroup,
  type PipelineRunner,
  type ReadPrediction,
  type RunnerOptions,
  type RunOptions,
  type Started,
  type StartOptions,
  type StreamEvent,
  testLimits,
} from './pipeline-runner.ts'
export { createRandom, type Random } from './random.ts'
export type { Observer } from './simulated-calls.ts'
export { bitsOf, predictedVectors, replayed, replayedVectors, vectorsById } from './vectors.ts'
export { createVirtualClock } from './virtual-clock.ts'
