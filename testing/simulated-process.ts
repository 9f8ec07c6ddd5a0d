/**
 * A process of its own inside this one: the broker, the store and the clock as one worker sees them. Each call travels, may be slow or
 * lost, and is answered only while the process runs: a killed process gets no answer any more, a paused one none until it is resumed, and
 * one that is cut off reaches no server. A request that was sent before still arrives. Created by `run-with-faults.ts`, one for each start
 * of a worker.
 */
import type { FeatureStore } from '../feature-store/store.ts'
import type { Broker } from '../runtime/broker.ts'
import type { Clock } from '../runtime/clock.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import { simulatedBroker } from './simulated-broker.ts'
import { createConnection, type ProcessOptions, type ProcessState, untilRunning } from './simulated-calls.ts'
import { simulatedStore } from './simulated-store.ts'

export interface SimulatedProcess {
  readonly name: string
  readonly clock: Clock
  readonly broker: Broker
  readonly store: FeatureStore
  readonly status: 'running' | 'paused' | 'dead'
  /** Calls of a batch that are not answered yet. */
  readonly batchCallsInFlight: number
  kill(): void
  pause(): void
  resume(): void
  cutOff(isCutOff: boolean): void
  /** Whether the producer with this token belongs to this process. */
  owns(owner: string): boolean
  /** Called at both stages of each transaction; see `OnTransact`. */
  onTransact(stage: 'begin' | 'committed'): Promise<void>
}

const strandedCheckEveryMs = 20

export function createSimulatedProcess(options: ProcessOptions): SimulatedProcess {
  const { name, clock } = options
  const state: ProcessState = {
    ...options,
    status: 'running',
    isCutOff: false,
    batchCallsInFlight: 0,
    resumers: [],
    workers: new Map(),
    transaction: null,
    storeConnection: createConnection(),
  }
  return {
    name,
    get status() {
      return state.status
    },
    get batchCallsInFlight() {
      return state.batchCallsInFlight
    },
    clock: {
      nowMs: clock.nowMs,
      elapsedMs: clock.elapsedMs,
      sleep: (ms) => clock.sleep(ms).then(() => untilRunning(state)),
      turn: () => clock.turn().then(() => untilRunning(state)),
    },
    broker: simulatedBroker(state),
    store: simulatedStore(state),
    kill: () => kill(state),
    pause: () => pause(state),
    resume: () => resume(state),
    cutOff: (isCutOff) => cutOff(state, isCutOff),
    owns: (owner) => state.workers.has(owner),
    onTransact: (stage) => onTransact(state, stage),
  }
}

function kill(state: ProcessState): void {
  state.status = 'dead'
  state.resumers = []
  for (const worker of state.workers.values()) worker.crash()
}

function pause(state: ProcessState): void {
  if (state.status !== 'running') return
  state.status = 'paused'
  for (const worker of state.workers.values()) worker.pause()
}

function resume(state: ProcessState): void {
  if (state.status !== 'paused') return
  state.status = 'running'
  for (const worker of state.workers.values()) if (!state.isCutOff) worker.resume()
  const resumers = state.resumers
  state.resumers = []
  for (const resumeWaiting of resumers) resumeWaiting()
}

function cutOff(state: ProcessState, isCutOff: boolean): void {
  state.isCutOff = isCutOff
  for (const worker of state.workers.values()) {
    if (isCutOff) worker.pause()
    else if (state.status === 'running') worker.resume()
  }
}

async function onTransact(state: ProcessState, stage: 'begin' | 'committed'): Promise<void> {
  if (state.transaction === null) return
  const { outcome, offsets } = state.transaction
  if (stage === 'committed') return state.observer.committed?.(offsets)
  // The records are sent, the end of the transaction is not: here the process may be killed, paused or cut off.
  state.onOpenTransaction()
  await state.clock.sleep(outcome.openMs)
  await untilRunning(state)
  if (state.isCutOff) await stranded(state)
  if (outcome.isAborted) throw new PipelineError('transaction_aborted', `the broker aborted it (${state.name})`)
}

/** Nothing more of the transaction arrives: it stays open until it times out or is aborted by a successor. */
async function stranded(state: ProcessState): Promise<void> {
  while (state.isCutOff) {
    await state.clock.sleep(strandedCheckEveryMs)
    await untilRunning(state)
  }
  for (const worker of state.workers.values()) worker.crash()
  throw new PipelineError('kafka_unreachable', `cut off in the middle of a transaction (${state.name})`)
}
