/**
 * Runs workers through a schedule of faults until all that was sent is processed: starts each in a simulated process, injects the faults
 * when they are due, restarts what ended, and once the faults are over waits until nothing is left to do. Called by the pipeline runner.
 */
import type { CallKind } from './call-outcomes.ts'
import { injectFault } from './inject-fault.ts'
import { createRandom } from './random.ts'
import {
  createSlots,
  type FaultyRun,
  type FaultyRunState,
  liveWorkers,
  restartIn,
  startIn,
  type WorkerSlot,
} from './worker-slots.ts'

export interface FaultyRunHandle {
  /** The hook of the broker's transactions. */
  onTransact(stage: 'begin' | 'committed', owner: string): Promise<void>
  /** Rejects when a worker ends for another reason than that it was replaced, or when the work does not end. */
  readonly done: Promise<void>
}

const checkEveryMs = 20

export function runWithFaults(run: FaultyRun): FaultyRunHandle {
  const state: FaultyRunState = {
    ...run,
    beganMs: run.clock.elapsedMs(),
    random: createRandom(run.schedule.seed ^ 0x5eed),
    servers: { broker: 'up', store: 'up' },
    slots: createSlots(run.schedule.startsMs.length),
    starts: 0,
    calls: new Map(),
    failures: [],
    isCalm: false,
    isOver: false,
    onCall: (kind) => injectAfterCall(state, kind),
    onOpenTransaction: (slot) => injectInTransaction(state, slot),
  }
  return { onTransact: (stage, owner) => onTransact(state, stage, owner), done: runToEnd(state) }
}

async function onTransact(state: FaultyRunState, stage: 'begin' | 'committed', owner: string): Promise<void> {
  for (const { process } of liveWorkers(state)) if (process.owns(owner)) return process.onTransact(stage)
  // Of a process that was killed: it never continues.
  if (stage === 'begin') await new Promise<never>(() => undefined)
}

async function runToEnd(state: FaultyRunState): Promise<void> {
  try {
    await injectByTime(state)
    calm(state)
    await Promise.race([state.during, untilFailed(state)])
    await untilDone(state)
    state.isOver = true
    await Promise.all(
      liveWorkers(state).map((live) => {
        live.isStopping = true
        return live.worker.stop()
      }),
    )
    throwFailure(state)
  } finally {
    // Nothing is started again, and what still runs gets no answer any more: it would keep the clock going for ever.
    state.isOver = true
    for (const { process } of liveWorkers(state)) process.kill()
  }
}

function throwFailure({ failures }: FaultyRunState): void {
  if (failures.length > 0) throw failures[0]
}

/** Rejects once a worker has failed; what continues beside the run may never end then. */
async function untilFailed(state: FaultyRunState): Promise<void> {
  while (!state.isOver) {
    throwFailure(state)
    await state.clock.sleep(checkEveryMs)
  }
}

/** Starts and faults that are due at a time. */
async function injectByTime(state: FaultyRunState): Promise<void> {
  const { schedule, clock, slots, beganMs } = state
  const starts = slots.map((slot, i) => ({ atMs: schedule.startsMs[i]!, act: () => startIn(state, slot) }))
  const faults = schedule.faults.flatMap(({ when, fault }) =>
    'atMs' in when ? [{ atMs: when.atMs, act: () => injectFault(state, fault) }] : [],
  )
  const timed = [...starts, ...faults].sort((a, b) => a.atMs - b.atMs)
  for (const { atMs, act } of timed) {
    await clock.sleep(beganMs + atMs - clock.elapsedMs())
    throwFailure(state)
    act()
  }
  await clock.sleep(beganMs + schedule.calmAtMs - clock.elapsedMs())
}

/** Faults that are due once the nth call of a kind was executed. */
function injectAfterCall(state: FaultyRunState, kind: CallKind): void {
  const nth = (state.calls.get(kind) ?? 0) + 1
  state.calls.set(kind, nth)
  if (state.isCalm) return
  for (const { when, fault } of state.schedule.faults)
    if ('call' in when && when.call === kind && when.nth === nth) injectFault(state, fault)
}

/** Faults that are due while the nth transaction of a worker is open. */
function injectInTransaction(state: FaultyRunState, slot: WorkerSlot): void {
  const nth = ++slot.transactions
  if (state.isCalm) return
  for (const { when, fault } of state.schedule.faults)
    if ('transactionOf' in when && when.transactionOf === slot.index && when.nth === nth) injectFault(state, fault)
}

/** No fault from here on: servers are up, processes run and ended workers are restarted. */
function calm(state: FaultyRunState): void {
  const { servers, slots } = state
  state.isCalm = true
  state.observer.trace?.('fault', 'calm from here on')
  servers.broker = 'up'
  servers.store = 'up'
  for (const slot of slots) {
    for (const { process } of slot.live) {
      process.cutOff(false)
      process.resume()
    }
    void restartIn(state, slot, 0)
  }
}

async function untilDone(state: FaultyRunState): Promise<void> {
  const { clock, calmMaxMs } = state
  const endMs = clock.elapsedMs() + calmMaxMs
  while (!(await isDone(state))) {
    throwFailure(state)
    if (clock.elapsedMs() > endMs)
      throw new Error(`the work did not end ${calmMaxMs} ms after the last fault: ${describeWorkers(state)}`)
    await clock.sleep(checkEveryMs)
  }
}

/** Every task is owned by exactly one process, has read everything and holds nothing back, and no call is in flight. */
async function isDone(state: FaultyRunState): Promise<boolean> {
  const live = liveWorkers(state)
  if (live.length !== state.slots.length) return false
  if (live.some(({ process, isStopping }) => process.batchCallsInFlight > 0 || isStopping)) return false
  const tasks = live.flatMap(({ worker }) => worker.state().tasks)
  const names = new Set(tasks.map(({ stage, partition }) => `${stage.entity.name} ${partition}`))
  if (tasks.length !== state.tasks.length || names.size !== tasks.length) return false
  if (!tasks.every((task) => task.isAtEnd() && task.held === 0)) return false
  const inputs = tasks.flatMap(({ inputs, partition }) =>
    inputs.map(({ topic, nextOffset }) => ({ topic, partition, nextOffset })),
  )
  const bounds = await state.broker.data.bounds(inputs)
  return bounds.every(({ end }, i) => inputs[i]!.nextOffset === end)
}

function describeWorkers(state: FaultyRunState): string {
  return liveWorkers(state)
    .map(({ process, worker }) => {
      const tasks = worker.state().tasks.map(({ stage, partition, held, inputs, isRestoring }) => {
        const read = inputs.map(({ nextOffset, lag }) => (lag > 0 ? `${nextOffset}+${lag}` : nextOffset)).join('/')
        return `${stage.entity.name} ${partition} at ${read}, holds ${held}${isRestoring ? ', is being restored' : ''}`
      })
      return `${process.name} (${process.status}, ${process.batchCallsInFlight} calls): ${tasks.join('; ') || 'no task'}`
    })
    .join(' | ')
}
