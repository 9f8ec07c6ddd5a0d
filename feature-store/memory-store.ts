/**
 * The feature store in memory, with the semantics of the Redis store: for embedded runs and tests. It can lose its tail
 * or everything on command, as a server that crashes does.
 */
import assert from 'node:assert/strict'
import { assertStep, fenceRefusal, foreignState, identityOf, identityText, taskName } from './refusals.ts'
import type { EntityRead, FeatureStore, LogWrite, TaskStore } from './store.ts'

export interface MemoryStore extends FeatureStore {
  /**
   * Takes the task's last `steps` applied steps back, as a crash before they reached the disk would. Owner and identity
   * stay.
   */
  loseTail(entity: string, partition: number, steps: number): void
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

/** What one step changed: the position and the logs before it. */
interface Undo {
  readonly position: string | null
  readonly logs: ReadonlyArray<{ readonly key: string; readonly log: StoredLog | undefined; readonly length: number }>
}

interface TaskState {
  owner: string | null
  identity: string | null
  position: string | null
  readonly logs: Map<string, StoredLog>
  /** Latest last. */
  readonly undo: Undo[]
}

/** `tailStepsMax` steps a task can be lost again. */
export function createMemoryStore(options: { readonly tailStepsMax?: number } = {}): MemoryStore {
  const tailStepsMax = options.tailStepsMax ?? 256
  const tasks = new Map<string, TaskState>()

  function stateOf(entity: string, partition: number): TaskState {
    const name = taskName(entity, partition)
    let state = tasks.get(name)
    if (state === undefined) {
      state = { owner: null, identity: null, position: null, logs: new Map(), undo: [] }
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
        throw foreignState(taskName(entity, partition), expected, state.identity)
      }
      state.owner = owner
      if (rebuild) clearState(state)
      state.identity = expected
      return openTask(() => stateOf(entity, partition), taskName(entity, partition), owner, tailStepsMax)
    },
    read: async (entity, partition, keys): Promise<EntityRead> => {
      const state = stateOf(entity, partition)
      return { position: state.position, logs: keys.map((key) => copyOf(state.logs.get(key))) }
    },
    look: async (entity, partition) => {
      const { owner, position, identity } = stateOf(entity, partition)
      return { owner, position, identity: identity === null ? null : identityOf(identity) }
    },
    ping: async () => undefined,
    close: async () => undefined,
    loseTail: (entity, partition, steps) => {
      const state = stateOf(entity, partition)
      assert(
        steps <= state.undo.length,
        `only ${state.undo.length} steps of ${taskName(entity, partition)} can be lost`,
      )
      for (let step = 0; step < steps; step++) undoStep(state)
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
    const refusal = fenceRefusal(task, { owner, position: expected }, state)
    if (refusal !== null) throw refusal
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
  return { ...state, logs: new Map(copied), undo: [] }
}

function clearState(state: TaskState): void {
  state.position = null
  state.logs.clear()
  state.undo.length = 0
}

function applyWrites(state: TaskState, writes: readonly LogWrite[]): Undo {
  const logs = writes.map(({ key }) => {
    const log = state.logs.get(key)
    return { key, log, length: log?.length ?? 0 }
  })
  for (const { key, kind, bytes } of writes) {
    const log = state.logs.get(key)
    if (kind === 'remove') state.logs.delete(key)
    else if (kind === 'append' && log !== undefined) append(log, bytes)
    else state.logs.set(key, { bytes: Buffer.from(bytes), length: bytes.length })
  }
  return { position: state.position, logs }
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

function undoStep(state: TaskState): void {
  const { position, logs } = state.undo.pop()!
  state.position = position
  for (const { key, log, length } of logs) {
    if (log === undefined) {
      state.logs.delete(key)
    } else {
      log.length = length
      state.logs.set(key, log)
    }
  }
}

function copyOf(log: StoredLog | undefined): Buffer | null {
  return log === undefined ? null : Buffer.from(log.bytes.subarray(0, log.length))
}
