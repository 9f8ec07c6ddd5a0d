/**
 * The feature store in memory, with the semantics of the Redis store: for embedded runs and tests. It can lose its tail
 * or everything on command, as a server that crashes does.
 */
import assert from 'node:assert/strict'
import { shapeText } from '../schemas/plan/state-shape.ts'
import { type StepWrites, startOfWrite, tail, writeKind } from './step-writes.ts'
import type { EntityRead, FeatureStore, StoredLog, TaskStore } from './store.ts'
import {
  assertStep,
  damagedState,
  fenceRejection,
  foreignState,
  identityOf,
  identityText,
  longerLog,
  taskName,
} from './store-failures.ts'
import { faultOf, readHeader } from './stored-log.ts'

export interface MemoryStore extends FeatureStore {
  /**
   * Takes the task's last `steps` applied steps back, as a crash before they reached the disk would. Owner and identity
   * stay. Of the first of them `tornWrites` had reached the disk: like those of Redis (decision 35) they come back with
   * the next call, for the writes behind them complete their transaction.
   */
  loseTail(entity: string, partition: number, steps: number, tornWrites?: number): void
  /**
   * Leaves so many bytes of what is stored under the name, nothing where they are 0: `log:<key>` is the tail of a log,
   * `chunk:<number>:<key>` one of its chunks. Puts zeros behind it where there are more.
   */
  resize(entity: string, partition: number, name: string, bytes: number): void
  /** How many steps of the task could be lost. */
  tailSteps(entity: string, partition: number): number
  /** Forgets everything, tokens included. */
  empty(): void
  /** A copy of everything, tokens included; calling it brings all of it back, as a server does that starts from its last snapshot. */
  save(): () => void
}

/** Stored as the identity: the next claim begins with nothing. */
const clearing = 'clearing'

/** Bytes of a tail or chunk and how many of them count; appends grow it in place. */
interface StoredBytes {
  bytes: Buffer
  length: number
}

/** One change of one name, as Redis would write it to its file. */
interface Command {
  readonly name: string
  readonly kind: 'set' | 'append' | 'delete'
  readonly bytes: Buffer
}

/** A command, and what was there before. */
interface Written {
  readonly command: Command
  readonly log: StoredBytes | undefined
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
  /** By name, as for `resize`. */
  readonly logs: Map<string, StoredBytes>
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
      const isCleared = rebuild || state.identity === clearing
      if (!isCleared && !isEmpty && state.identity !== expected) {
        throw foreignState(taskName(entity, partition), identity, state)
      }
      state.owner = owner
      if (isCleared) clearState(state)
      state.identity = expected
      state.shape = shapeText(identity.shape) ?? state.shape
      return openTask(() => stateOf(entity, partition), taskName(entity, partition), owner, tailStepsMax)
    },
    read: async (entity, partition, keys): Promise<EntityRead> => {
      const state = stateOf(entity, partition)
      return { position: state.position, logs: keys.map((key) => logOf(state, key)) }
    },
    inspect: async (entity, partition) => {
      const { owner, position, identity, shape } = stateOf(entity, partition)
      return {
        owner,
        position,
        identity: identity === null || identity === clearing ? identity : identityOf(identity, shape),
      }
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
    resize: (entity, partition, name, bytes) => resizeStored(stateOf(entity, partition), name, bytes),
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
      const state = assertFence(sent)
      return keys.map((key) => {
        const log = logOf(state, key)
        const fault = log === null ? null : faultOf(log)
        if (fault === null) return log
        markDamaged(state)
        throw damagedState(task, fault, { key })
      })
    },
    apply: async (step) => {
      assertStep(step)
      sent = step.to
      const found = currentState()
      // This very step was applied before and its reply was lost.
      const isRepeated = found.owner === owner && found.position === step.to
      if (isRepeated) {
        position = step.to
        return
      }
      const state = assertFence(step.from)
      const other = otherLength(state, step.writes)
      if (other !== null && other.found < other.expected) {
        markDamaged(state)
        throw damagedState(task, `a tail has ${other.found} bytes of ${other.expected}`, other)
      }
      state.undo.push(applyCommands(state, commandsOf(state, step.writes)))
      if (state.undo.length > tailStepsMax) state.undo.shift()
      state.position = step.to
      position = step.to
      if (other !== null) throw longerLog(task, other.found, other.expected)
    },
  }
}

function resizeStored({ logs }: TaskState, name: string, length: number): void {
  const stored = logs.get(name)
  assert(stored, `nothing is stored under ${name}`)
  const bytes = Buffer.alloc(length)
  stored.bytes.copy(bytes, 0, 0, Math.min(stored.length, length))
  if (length === 0) logs.delete(name)
  else logs.set(name, { bytes, length })
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

/** The next claim begins with nothing. */
function markDamaged(state: TaskState): void {
  state.position = null
  state.identity = clearing
}

/** The first tail that is shorter than the step expects, else the first that is longer. */
function otherLength(state: TaskState, writes: StepWrites): { found: number; expected: number } | null {
  let longer: { found: number; expected: number } | null = null
  for (let index = 0; index < writes.count; index++) {
    const kind = writes.kinds[index]!
    if (kind !== writeKind.append && kind !== writeKind.seal) continue
    const added = writes.ends[index]! - startOfWrite(writes, index)
    const found = (state.logs.get(nameOf(writes.keys[index]!, tail))?.length ?? 0) + added
    const expected = writes.lengths[index]!
    if (found < expected) return { found, expected }
    if (found > expected) longer ??= { found, expected }
  }
  return longer
}

/** In the order of the apply script: what is deleted comes last. */
function commandsOf(state: TaskState, writes: StepWrites): Command[] {
  const commands: Command[] = []
  const deletions: Command[] = []
  for (let index = 0; index < writes.count; index++) {
    const [kind, key] = [writes.kinds[index]!, writes.keys[index]!]
    const name = nameOf(key, writes.chunks[index]!)
    const bytes = Buffer.from(writes.bytes.subarray(startOfWrite(writes, index), writes.ends[index]!))
    if (kind === writeKind.delete) deletions.push({ name, kind: 'delete', bytes })
    else if (kind === writeKind.append) commands.push({ name, kind: 'append', bytes })
    else if (kind === writeKind.set) commands.push({ name, kind: 'set', bytes })
    else commands.push({ name, kind: 'set', bytes: copyOf(state.logs.get(nameOf(key, tail)))! })
  }
  return [...commands, ...deletions]
}

function nameOf(key: string, chunk: number): string {
  return chunk === tail ? `log:${key}` : `chunk:${chunk}:${key}`
}

/** What is set or deleted does not depend on what was there. */
function forgetTorn(state: TaskState, name: string): void {
  if (state.torn.length > 0) state.torn = state.torn.filter(({ command }) => command.name !== name)
}

function applyCommands(state: TaskState, commands: readonly Command[]): Undo {
  const written = commands.map((command) => {
    const log = state.logs.get(command.name)
    return { command, log, length: log?.length ?? 0 }
  })
  for (const { name, kind, bytes } of commands) {
    const log = state.logs.get(name)
    if (kind !== 'append') forgetTorn(state, name)
    if (kind === 'delete') state.logs.delete(name)
    else if (kind === 'append' && log !== undefined) append(log, bytes)
    else state.logs.set(name, { bytes, length: bytes.length })
  }
  return { position: state.position, written }
}

function logOf({ logs }: TaskState, key: string): StoredLog | null {
  const stored = copyOf(logs.get(nameOf(key, tail)))
  if (stored === null) return null
  const { first, next } = readHeader(stored) ?? { first: 0, next: 0 }
  const pieces = [stored]
  for (let chunk = next - 1; chunk >= first; chunk--) {
    const piece = copyOf(logs.get(nameOf(key, chunk)))
    // The chunks that are left are too few.
    if (piece === null) break
    pieces.unshift(piece)
  }
  return pieces
}

function append(log: StoredBytes, bytes: Buffer): void {
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
  for (const { command, log, length } of undo.written) {
    if (log === undefined) {
      state.logs.delete(command.name)
    } else {
      log.length = length
      state.logs.set(command.name, log)
    }
  }
  return undo
}

/** They are executed in file order: before all that was written since. A deletion is behind the position, so no torn step has one. */
function bringTornBack(state: TaskState): void {
  if (state.torn.length === 0) return
  for (const { command, length } of state.torn) {
    if (command.kind === 'delete') continue
    const now = state.logs.get(command.name)
    const bytes = now?.bytes.subarray(0, now.length) ?? Buffer.alloc(0)
    const torn = command.kind === 'append' ? [bytes.subarray(0, length), command.bytes] : [command.bytes]
    const whole = Buffer.concat([...torn, bytes.subarray(length)])
    state.logs.set(command.name, { bytes: whole, length: whole.length })
  }
  state.torn = []
  // Earlier bytes on the disk stay.
  state.undo.length = 0
}

function copyOf(log: StoredBytes | undefined): Buffer | null {
  return log === undefined ? null : Buffer.from(log.bytes.subarray(0, log.length))
}
