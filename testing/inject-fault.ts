/** One fault of a schedule, executed on the workers and servers of a run; called by `run-with-faults.ts` when the fault is due. */
import type { Fault } from './fault-schedule.ts'
import type { SimulatedProcess } from './simulated-process.ts'
import { type FaultyRunState, killIn, startIn, stopIn, type WorkerSlot } from './worker-slots.ts'

export function injectFault(state: FaultyRunState, fault: Fault): void {
  const { servers, store, slots } = state
  state.observer.trace?.('fault', JSON.stringify(fault))
  switch (fault.kind) {
    case 'kill':
      killIn(state, slots[fault.worker]!, fault.backAfterMs)
      break
    case 'stop':
      stopIn(slots[fault.worker]!, fault.backAfterMs)
      break
    case 'replace':
      startIn(state, slots[fault.worker]!)
      break
    case 'pause':
      forAWhile(state, slots[fault.worker]!, fault.forMs, (process) => {
        process.pause()
        return process.resume
      })
      break
    case 'cut-off':
      forAWhile(state, slots[fault.worker]!, fault.forMs, (process) => {
        process.cutOff(true)
        return () => process.cutOff(false)
      })
      break
    case 'broker-down':
      servers.broker = 'down'
      void unlessCalmAfter(state, fault.forMs, () => {
        servers.broker = 'up'
      })
      break
    case 'store-down':
    case 'store-full':
      limitStore(state, fault)
      break
    case 'store-emptied':
      store.empty()
      break
    case 'store-tail-lost':
      loseStoreTails(state, fault.stepsMax)
      break
    case 'store-restored':
      restoreStoreAfter(state, fault.afterMs)
  }
}

/** When the faults are over earlier, everything is repaired anyway. */
async function unlessCalmAfter(state: FaultyRunState, ms: number, act: () => void): Promise<void> {
  await state.clock.sleep(ms)
  if (!state.isCalm) act()
}

/** `begin` returns what ends it. */
function forAWhile(
  state: FaultyRunState,
  slot: WorkerSlot,
  ms: number,
  begin: (process: SimulatedProcess) => () => void,
): void {
  const ends = [...slot.live].map(({ process }) => begin(process))
  void unlessCalmAfter(state, ms, () => {
    for (const end of ends) end()
  })
}

type StoreLimit = Extract<Fault, { readonly kind: 'store-down' | 'store-full' }>

function limitStore(state: FaultyRunState, { kind, forMs }: StoreLimit): void {
  const { servers, store, tasks } = state
  servers.store = kind === 'store-down' ? 'down' : 'full'
  void unlessCalmAfter(state, forMs, () => {
    servers.store = 'up'
    // After a crash it starts from what is on its disk.
    if (kind === 'store-down') for (const { stage, partition } of tasks) store.loseTail(stage, partition, 0)
  })
}

function loseStoreTails({ store, tasks, random }: FaultyRunState, stepsMax: number): void {
  for (const { stage, partition } of tasks) {
    const steps = Math.min(random.below(stepsMax + 1), store.tailSteps(stage, partition))
    // As many as steps: drawing another number would change what recorded seeds do.
    const tornWrites = steps
    store.loseTail(stage, partition, steps, tornWrites)
  }
}

function restoreStoreAfter(state: FaultyRunState, afterMs: number): void {
  const restore = state.store.save()
  void unlessCalmAfter(state, afterMs, () => {
    state.observer.trace?.('fault', 'store restored')
    restore()
  })
}
