/**
 * The workers of a run with faults: each has a slot under a stable name, in which processes are started, end and are started again, as a
 * supervisor does. Used by `run-with-faults.ts` and `inject-fault.ts`.
 */
import type { MemoryStore } from '../feature-store/memory-store.ts'
import type { RunningWorker } from '../processors/run-worker.ts'
import type { Clock } from '../runtime/clock.ts'
import type { MemoryBroker } from '../runtime/memory/broker.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import { type CallKind, calmRates, drawCallOutcome } from './call-outcomes.ts'
import type { FaultSchedule } from './fault-schedule.ts'
import { createRandom, type Random } from './random.ts'
import type { Observer, Servers } from './simulated-calls.ts'
import { createSimulatedProcess, type SimulatedProcess } from './simulated-process.ts'

/** A worker as the pipeline runner starts it. */
export interface WorkerInProcess extends RunningWorker {
  /** As a signal to end. */
  stop(): Promise<void>
}

export interface FaultyRun {
  readonly schedule: FaultSchedule
  readonly clock: Clock
  readonly broker: MemoryBroker
  readonly store: MemoryStore
  /** Every task that there is. */
  readonly tasks: ReadonlyArray<{ readonly stage: string; readonly partition: number }>
  readonly startWorker: (name: string, process: SimulatedProcess, random: () => number) => WorkerInProcess
  readonly observer: Observer
  /** What continues beside the run and must end before it: producers. */
  readonly during: Promise<unknown>
  /** Longest that the work may take once the faults are over, ms of virtual time. */
  readonly calmMaxMs: number
}

export interface FaultyRunState extends FaultyRun {
  readonly beganMs: number
  readonly random: Random
  readonly servers: Servers
  readonly slots: readonly WorkerSlot[]
  /** Processes started so far. */
  starts: number
  /** Calls executed so far, by kind. */
  readonly calls: Map<CallKind, number>
  /** Why workers ended that should not have. */
  readonly failures: unknown[]
  /** The faults are over. */
  isCalm: boolean
  /** The work is done: what ends is not started again. */
  isOver: boolean
  readonly onCall: (kind: CallKind) => void
  readonly onOpenTransaction: (slot: WorkerSlot) => void
}

export interface WorkerSlot {
  readonly index: number
  readonly name: string
  starts: number
  /** Transactions that its processes had open so far. */
  transactions: number
  /** Several where a process was replaced and has not noticed yet. */
  readonly live: Set<LiveWorker>
}

export interface LiveWorker {
  readonly process: SimulatedProcess
  readonly worker: WorkerInProcess
  /** Once it has ended, a successor is started after so long. */
  backAfterMs: number
  isStopping: boolean
}

const restartMs = 20

export function createSlots(count: number): WorkerSlot[] {
  return Array.from({ length: count }, (_, index) => ({
    index,
    name: `w${index}`,
    starts: 0,
    transactions: 0,
    live: new Set(),
  }))
}

export function startIn(state: FaultyRunState, slot: WorkerSlot): void {
  const { clock, broker, store, servers, observer, schedule, random } = state
  const name = `${slot.name}.${slot.starts++}`
  const process = createSimulatedProcess({
    name,
    clock,
    broker,
    store,
    servers,
    outcomeOf: (kind) => drawCallOutcome(random, state.isCalm ? calmRates : schedule.rates, kind),
    onCall(kind, failure) {
      if (observer.trace) observer.trace(name, failure === null ? kind : `${kind} failed: ${reasonOf(failure)}`)
      state.onCall(kind)
    },
    onOpenTransaction: () => state.onOpenTransaction(slot),
    observer,
  })
  observer.trace?.(name, 'starts')
  const randomOfProcess = createRandom(schedule.seed + state.starts++)
  const worker = state.startWorker(slot.name, process, randomOfProcess.next)
  const live: LiveWorker = { process, worker, isStopping: false, backAfterMs: restartMs }
  slot.live.add(live)
  worker.done.then(
    () => ended(state, slot, live, null),
    (error: unknown) => ended(state, slot, live, error),
  )
}

/** Unless the slot has a live worker again by then, or all is over. */
export async function restartIn(state: FaultyRunState, slot: WorkerSlot, afterMs: number): Promise<void> {
  await state.clock.sleep(afterMs)
  if (!state.isOver && slot.live.size === 0) startIn(state, slot)
}

export function killIn(state: FaultyRunState, slot: WorkerSlot, backAfterMs: number): void {
  for (const { process } of slot.live) process.kill()
  slot.live.clear()
  void restartIn(state, slot, backAfterMs)
}

export function stopIn(slot: WorkerSlot, backAfterMs: number): void {
  for (const live of slot.live) {
    live.isStopping = true
    live.backAfterMs = backAfterMs
    // A failure is handled where `done` is awaited.
    live.worker.stop().catch(() => undefined)
  }
}

export function liveWorkers({ slots }: FaultyRunState): LiveWorker[] {
  return slots.flatMap(({ live }) => [...live])
}

function ended(state: FaultyRunState, slot: WorkerSlot, live: LiveWorker, error: unknown): void {
  state.observer.trace?.(live.process.name, error === null ? 'ended' : `ended: ${(error as Error).message}`)
  slot.live.delete(live)
  const wasReplaced = error instanceof PipelineError && error.code === 'superseded'
  if (error !== null && !wasReplaced) state.failures.push(error)
  void restartIn(state, slot, live.backAfterMs)
}

function reasonOf(failure: unknown): string {
  return (failure as Error).message.slice(0, 200)
}
