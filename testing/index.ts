/** `millrace/testing`: what a test of a pipeline needs, without a server. See `docs/testing.md`. */
export {
  createPipelineRunner,
  defaultGroup,
  type PipelineRunner,
  type ReadPrediction,
  type RunnerOptions,
  type Started,
  type StartOptions,
  type StreamEvent,
  testLimits,
} from './pipeline-runner.ts'
export { createRandom, type Random } from './random.ts'
export { bitsOf, predictedVectors, replayed, replayedVectors, vectorsById } from './vectors.ts'
export { createVirtualClock } from './virtual-clock.ts'
