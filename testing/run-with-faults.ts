/**
 * Runs workers through a schedule of faults until all that was sent is done: starts them in processes of their own, brings about what is
 * planned, starts again what ended, and once it is calm waits until nothing is left to do. Called by the pipeline runner.
 */
import type { MemoryStore } from '../feature-store/memory-store.ts'
import type { RunningWorker } from '../processors/run-worker.ts'
import type { Clock } from '../runtime/clock.ts'
import type { MemoryBroker } from '../runtime/memory/broker.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import { type CallKind, calmRates, drawFate } from './call-fates.ts'
import type { Fault, FaultSchedule, PlannedFault } from './fault-schedule.ts'
import { createRandom } from './random.ts'
import { createSimulatedProcess, type Observer, type Servers, type SimulatedProcess } from './simulated-process.ts'

/** A worker at work, as the runner starts it. */
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
  /** What goes on beside the run and must end before it: producers. */
  readonly during: Promise<unknown>
  /** Longest that the work may take once it is calm. */
  readonly calmMaxMs: number
}

interface Live {
  readonly process: SimulatedProcess
  readonly worker: WorkerInProcess
  /** When it ends it is started again after a while, by whoever looks after processes. */
  backAfterMs: number
  isStopping: boolean
}

interface Slot {
  readonly name: string
  starts: number
  readonly live: Set<Live>
}

const restartMs = 20
const lookEveryMs = 20

export interface FaultyRunHandle {
  /** The hook of the broker's transactions. */
  onTransact(stage: 'begin' | 'committed', owner: string): Promise<void>
  /** Rejects when a worker ends for another reason than that it was replaced, or when the work does not end. */
  readonly done: Promise<void>
}

export function runWithFaults(run: FaultyRun): FaultyRunHandle {
  const { schedule, clock, broker, store, observer } = run
  const beganMs = clock.elapsedMs()
  const random = createRandom(schedule.seed ^ 0x5eed)
  const servers: Servers = { broker: 'up', store: 'up' }
  let starts = 0
  const calls = new Map<CallKind, number>()
  const byCall = schedule.faults.filter(({ when }) => 'call' in when)
  const failures: unknown[] = []
  let isCalm = false
  let isOver = false
  const slots = schedule.startsMs.map((_, i): Slot => ({ name: `w${i}`, starts: 0, live: new Set() }))

  function trace(who: string, what: string): void {
    observer.trace?.(who, what)
  }

  /** Not once it is calm: then everything goes on anyway. */
  async function after(ms: number, act: () => void): Promise<void> {
    await clock.sleep(ms)
    if (!isCalm) act()
  }

  async function startAgain(slot: Slot, afterMs: number): Promise<void> {
    await clock.sleep(afterMs)
    if (!isOver && slot.live.size === 0) start(slot)
  }

  function start(slot: Slot): void {
    const process = createSimulatedProcess({
      name: `${slot.name}.${slot.starts++}`,
      clock,
      broker,
      store,
      servers,
      fateOf: (kind) => drawFate(random, isCalm ? calmRates : schedule.rates, kind),
      onCall,
      observer,
    })
    trace(process.name, 'starts')
    const ofProcess = createRandom(schedule.seed + starts++)
    const worker = run.startWorker(slot.name, process, ofProcess.next)
    const live: Live = { process, worker, isStopping: false, backAfterMs: restartMs }
    slot.live.add(live)
    live.worker.done.then(
      () => ended(slot, live, null),
      (error: unknown) => ended(slot, live, error),
    )
  }

  function ended(slot: Slot, live: Live, error: unknown): void {
    trace(live.process.name, error === null ? 'ended' : `ended: ${(error as Error).message}`)
    slot.live.delete(live)
    const wasReplaced = error instanceof PipelineError && error.code === 'superseded'
    if (error !== null && !wasReplaced) failures.push(error)
    void startAgain(slot, live.backAfterMs)
  }

  function onCall(process: SimulatedProcess, kind: CallKind, _fate: unknown, failure: unknown): void {
    if (observer.trace)
      trace(process.name, failure === null ? kind : `${kind} failed: ${(failure as Error).message.slice(0, 200)}`)
    const nth = (calls.get(kind) ?? 0) + 1
    calls.set(kind, nth)
    if (isCalm) return
    for (const { when, fault } of byCall) if ('call' in when && when.call === kind && when.nth === nth) bring(fault)
  }

  function bring(fault: Fault): void {
    trace('fault', JSON.stringify(fault))
    switch (fault.kind) {
      case 'kill':
        kill(slots[fault.worker]!, fault.backAfterMs)
        break
      case 'stop':
        stopOne(slots[fault.worker]!, fault.backAfterMs)
        break
      case 'replace':
        start(slots[fault.worker]!)
        break
      case 'pause':
        forAWhile(slots[fault.worker]!, fault.forMs, (process) => {
          process.pause()
          return process.resume
        })
        break
      case 'cut-off':
        forAWhile(slots[fault.worker]!, fault.forMs, (process) => {
          process.cutOff(true)
          return () => process.cutOff(false)
        })
        break
      case 'broker-down':
        servers.broker = 'down'
        void after(fault.forMs, () => {
          servers.broker = 'up'
        })
        break
      case 'store-down':
      case 'store-full':
        servers.store = fault.kind === 'store-down' ? 'down' : 'full'
        void after(fault.forMs, () => {
          servers.store = 'up'
          // It starts again from what is on its disk.
          if (fault.kind === 'store-down')
            for (const { stage, partition } of run.tasks) store.loseTail(stage, partition, 0)
        })
        break
      case 'store-emptied':
        store.empty()
        break
      case 'store-tail-lost':
        for (const { stage, partition } of run.tasks) {
          const steps = Math.min(random.below(fault.stepsMax + 1), store.tailSteps(stage, partition))
          // As many as steps, for no further number is drawn: recorded seeds stay what they are.
          const tornWrites = steps
          store.loseTail(stage, partition, steps, tornWrites)
        }
        break
      case 'store-restored': {
        const restore = store.save()
        void after(fault.afterMs, () => {
          trace('fault', 'store restored')
          restore()
        })
      }
    }
  }

  function kill(slot: Slot, backAfterMs: number): void {
    for (const { process } of slot.live) process.kill()
    slot.live.clear()
    void startAgain(slot, backAfterMs)
  }

  function stopOne(slot: Slot, backAfterMs: number): void {
    for (const live of slot.live) {
      live.isStopping = true
      live.backAfterMs = backAfterMs
      // What it ends with is told by `done`.
      live.worker.stop().catch(() => undefined)
    }
  }

  function forAWhile(slot: Slot, ms: number, begin: (process: SimulatedProcess) => () => void): void {
    const ends = [...slot.live].map(({ process }) => begin(process))
    void after(ms, () => {
      for (const end of ends) end()
    })
  }

  async function bringAtTimes(): Promise<void> {
    const starts = slots.map((slot, i) => ({ atMs: schedule.startsMs[i]!, act: () => start(slot) }))
    const faults = schedule.faults.flatMap(({ when, fault }: PlannedFault) =>
      'atMs' in when ? [{ atMs: when.atMs, act: () => bring(fault) }] : [],
    )
    const timed = [...starts, ...faults].sort((a, b) => a.atMs - b.atMs)
    for (const { atMs, act } of timed) {
      await clock.sleep(beganMs + atMs - clock.elapsedMs())
      act()
    }
    await clock.sleep(beganMs + schedule.calmAtMs - clock.elapsedMs())
  }

  function calm(): void {
    isCalm = true
    trace('fault', 'calm from here on')
    servers.broker = 'up'
    servers.store = 'up'
    for (const slot of slots) {
      for (const { process } of slot.live) {
        process.cutOff(false)
        process.resume()
      }
      void startAgain(slot, 0)
    }
  }

  function liveOnes(): Live[] {
    return slots.flatMap(({ live }) => [...live])
  }

  /** Every task is at work in one process, has nothing to do and has read all there is. */
  async function isDone(): Promise<boolean> {
    const live = liveOnes()
    if (live.length !== slots.length || live.some(({ process, isStopping }) => process.callsUnderWay > 0 || isStopping))
      return false
    const tasks = live.flatMap(({ worker }) => worker.state().tasks)
    const names = new Set(tasks.map(({ stage, partition }) => `${stage.entity.name} ${partition}`))
    if (tasks.length !== run.tasks.length || names.size !== tasks.length) return false
    if (!tasks.every((task) => task.isAtEnd() && task.held === 0)) return false
    const inputs = tasks.flatMap(({ inputs, partition }) =>
      inputs.map(({ topic, nextOffset }) => ({ topic, partition, nextOffset })),
    )
    const bounds = await broker.bounds(inputs)
    return bounds.every(({ end }, i) => inputs[i]!.nextOffset === end)
  }

  async function untilDone(): Promise<void> {
    const endMs = clock.elapsedMs() + run.calmMaxMs
    while (!(await isDone())) {
      if (failures.length > 0) throw failures[0]
      if (clock.elapsedMs() > endMs)
        throw new Error(`the work did not end ${run.calmMaxMs} ms after the last fault: ${view()}`)
      await clock.sleep(lookEveryMs)
    }
  }

  function view(): string {
    return liveOnes()
      .map(({ process, worker }) => {
        const tasks = worker.state().tasks.map(({ stage, partition, held, inputs, isRestoring }) => {
          const read = inputs.map(({ nextOffset, lag }) => (lag > 0 ? `${nextOffset}+${lag}` : nextOffset)).join('/')
          return `${stage.entity.name} ${partition} at ${read}, holds ${held}${isRestoring ? ', folds again' : ''}`
        })
        return `${process.name} (${process.state}, ${process.callsUnderWay} calls): ${tasks.join('; ') || 'no task'}`
      })
      .join(' | ')
  }

  async function all(): Promise<void> {
    await bringAtTimes()
    calm()
    await run.during
    await untilDone()
    isOver = true
    await Promise.all(
      liveOnes().map((live) => {
        live.isStopping = true
        return live.worker.stop()
      }),
    )
    if (failures.length > 0) throw failures[0]
  }

  return {
    onTransact: async (stage, owner) => {
      for (const { process } of liveOnes()) if (process.owns(owner)) return process.onTransact(stage)
      // Of a process that was killed: nothing of it goes on.
      if (stage === 'begin') await new Promise<never>(() => undefined)
    },
    done: all(),
  }
}
