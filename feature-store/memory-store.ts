/**
 * The feature store in memory, with the semantics of the Redis store: for embedded runs and tests. It can lose its tail
 * or everything on command, as a server that crashes does.
 */
import assert from 'node:assert/strict'
import { shapeText } from '../schemas/plan/state-shape.ts'
import type { EntityRead, FeatureStore, LogWrite, TaskStore } from './store.ts'
import { assertStep, fenceRejection, foreignState, identityOf, identityText, taskName } from './store-failures.ts'

export interface MemoryStore extends FeatureStore {
  /**
   * Takes the task's last `steps` applied steps back, as a crash before they reached the disk would. Owner and identity
   * stay. Of the first of them `tornWrites` had reached the disk: like those of Redis (decision 35) they come back with
   * the next call, for the writes behind them complete their transaction.
   */
  loseTail(entity: string, partition: number, steps: number, tornWrites?: number): void
  /** How many steps of the task could be lost. */
  tailSteps(entity: string, partition: number): number
  /** Forgets everything, tokens included. */
  empty(): void
  /** A copy of everything, tokens included; calling it brings all of it back, as a server does that starts from its last snapshot. */
  save(): () => void
}

/** Bytes of a log and how many of them count; appends grow it in place. */
interface StoredLog {
  bytes: Buffer
  length: number
}

/** A write, and the log as it was before. */
interface Written {
  readonly write: LogWrite
  readonly log: StoredLog | undefined
  readonly length: number
}

/** What one step changed: the position before it, and the logs. */
interface Undo {
  readonly position: string | null
  readonly written: readonly Written[]
}

interface TaskState {
  owner: string | null
  identity: string | null
  shape: string | null
  position: string | null
  readonly logs: Map<string, StoredLog>
  /** Latest last. */
  readonly undo: Undo[]
  /** Reached the disk without the end of their step. */
  torn: readonly Written[]
}

/** `tailStepsMax` steps a task can be lost again. */
export function createMemoryStore(options: { readonly tailStepsMax?: number } = {}): MemoryStore {
  const tailStepsMax = options.tailStepsMax ?? 256
  const tasks = new Map<string, TaskState>()

  function stateOf(entity: string, partition: number): TaskState {
    const name = taskName(entity, partition)
    let state = tasks.get(name)
    if (state === undefined) {
      state = { owner: null, identity: null, shape: null, position: null, logs: new Map(), undo: [], torn: [] }
      tasks.set(name, state)
    }
    return state
  }

  return {
    claim: async (entity, partition, owner, identity, { rebuild = false } = {}) => {
      const state = stateOf(entity, partition)
      const expected = identityText(identity)
      const isEmpty = state.identity === null && state.position === null
      if (!rebuild && !isEmpty && state.identity !== expected) {
        throw foreignState(taskName(entity, partition), identity, state)
      }
      state.owner = owner
      if (rebuild) clearState(state)
      state.identity = expected
      state.shape = shapeText(identity.shape) ?? state.shape
      return openTask(() => stateOf(entity, partition), taskName(entity, partition), owner, tailStepsMax)
    },
    read: async (entity, partition, keys): Promise<EntityRead> => {
      const state = stateOf(entity, partition)
      return { position: state.position, logs: keys.map((key) => copyOf(state.logs.get(key))) }
    },
    inspect: async (entity, partition) => {
      const { owner, position, identity, shape } = stateOf(entity, partition)
      return { owner, position, identity: identity === null ? null : identityOf(identity, shape) }
    },
    ping: async () => undefined,
    close: async () => undefined,
    loseTail: (entity, partition, steps, tornWrites = 0) => {
      const state = stateOf(entity, partition)
      assert(
        steps <= state.undo.length,
        `only ${state.undo.length} steps of ${taskName(entity, partition)} can be lost`,
      )
      let first: Undo | null = null
      for (let step = 0; step < steps; step++) first = undoStep(state)
      bringTornBack(state)
      state.torn = first?.written.slice(0, tornWrites) ?? []
      // Earlier bytes on the disk stay.
      if (state.torn.length > 0) state.undo.length = 0
    },
    tailSteps: (entity, partition) => stateOf(entity, partition).undo.length,
    empty: () => tasks.clear(),
    save: () => {
      const saved = [...tasks].map(([name, state]) => [name, copyOfState(state)] as const)
      return () => {
        tasks.clear()
        for (const [name, state] of saved) tasks.set(name, copyOfState(state))
      }
    },
  }
}

function openTask(currentState: () => TaskState, task: string, owner: string, tailStepsMax: number): TaskStore {
  let position = currentState().position
  let sent = position

  function assertFence(expected: string | null): TaskState {
    const state = currentState()
    const rejection = fenceRejection(task, { owner, position: expected }, state)
    if (rejection !== null) throw rejection
    return state
  }

  return {
    get position() {
      return position
    },
    load: async (keys) => {
      const { logs } = assertFence(sent)
      return keys.map((key) => copyOf(logs.get(key)))
    },
    apply: async (step) => {
      assertStep(step)
      sent = step.to
      const found = currentState()
      // This very step was applied before and its reply was lost.
      const isRepeated = found.owner === owner && found.position === step.to
      if (!isRepeated) {
        const state = assertFence(step.from)
        state.undo.push(applyWrites(state, step.writes))
        if (state.undo.length > tailStepsMax) state.undo.shift()
        state.position = step.to
      }
      position = step.to
    },
  }
}

/** Without the steps that could be lost: what is on the disk stays. */
function copyOfState({ logs, ...state }: TaskState): TaskState {
  const copied = [...logs].map(([key, log]) => [key, { bytes: Buffer.from(log.bytes), length: log.length }] as const)
  return { ...state, logs: new Map(copied), undo: [], torn: [] }
}

function clearState(state: TaskState): void {
  // A log that is not there is not deleted.
  for (const key of state.logs.keys()) forgetTorn(state, key)
  state.position = null
  state.logs.clear()
  state.undo.length = 0
}

/** Replacements and removals do not depend on what was there. */
function forgetTorn(state: TaskState, key: string): void {
  if (state.torn.length > 0) state.torn = state.torn.filter(({ write }) => write.key !== key)
}

function applyWrites(state: TaskState, writes: readonly LogWrite[]): Undo {
  const written = writes.map((write) => {
    const log = state.logs.get(write.key)
    return { write, log, length: log?.length ?? 0 }
  })
  for (const { key, kind, bytes } of writes) {
    const log = state.logs.get(key)
    if (kind !== 'append') forgetTorn(state, key)
    if (kind === 'remove') state.logs.delete(key)
    else if (kind === 'append' && log !== undefined) append(log, bytes)
    else state.logs.set(key, { bytes: Buffer.from(bytes), length: bytes.length })
  }
  return { position: state.position, written }
}

function append(log: StoredLog, bytes: Buffer): void {
  if (log.length + bytes.length > log.bytes.length) {
    const grown = Buffer.alloc((log.length + bytes.length) * 2)
    log.bytes.copy(grown, 0, 0, log.length)
    log.bytes = grown
  }
  bytes.copy(log.bytes, log.length)
  log.length += bytes.length
}

function undoStep(state: TaskState): Undo {
  const undo = state.undo.pop()!
  state.position = undo.position
  for (const { write, log, length } of undo.written) {
    if (log === undefined) {
      state.logs.delete(write.key)
    } else {
      log.length = length
      state.logs.set(write.key, log)
    }
  }
  return undo
}

/** They are executed in file order: before all that was written since. */
function bringTornBack(state: TaskState): void {
  if (state.torn.length === 0) return
  for (const { write, length } of state.torn) {
    const now = state.logs.get(write.key)
    const bytes = now?.bytes.subarray(0, now.length) ?? Buffer.alloc(0)
    const torn = write.kind === 'append' ? [bytes.subarray(0, length), write.bytes] : [write.bytes]
    const whole = Buffer.concat([...torn, bytes.subarray(length)])
    state.logs.set(write.key, { bytes: whole, length: whole.length })
  }
  state.torn = []
  // Earlier bytes on the disk stay.
  state.undo.length = 0
}

function copyOf(log: StoredLog | undefined): Buffer | null {
  return log === undefined ? null : Buffer.from(log.bytes.subarray(0, log.length))
}
