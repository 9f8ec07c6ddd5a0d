/**
 * After tasks were claimed, counts in the background what the store has of their logs, and compares it with the number that is stored with
 * their positions: a tail or chunk that was deleted or evicted while nobody owned the task is missed. The Redis store calls it.
 *
 * A scan shows every key that is there all the time, some of them twice, and may or may not show those that come and go meanwhile. The
 * owner makes all these changes itself, so they are left out of both sides. More keys than counted are the leavings of a step that was torn
 * (decision 35); they are counted from then on.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { type StepWrites, tail } from '../step-writes.ts'
import { damagedState } from '../store-failures.ts'
import { chunkKey } from './complete-logs.ts'
import type { TaskKeys } from './keys.ts'

/** What the count needs of a claimed task, and what it changes in it. */
export interface CountedTask {
  readonly keys: TaskKeys
  readonly task: string
  /** Tails and chunks that are stored once all steps sent so far are applied. */
  keyCount: number
  /** While a count is under way: keys that came or went, and whether they were there when it began. */
  changes: Map<string, boolean> | null
  /** Every call of the owner is rejected with it. */
  damage: PipelineError | null
}

export interface CountingOptions<Task extends CountedTask> {
  /** A page of the tails and chunks of the pipeline. */
  readonly scan: (cursor: string) => Promise<{ readonly cursor: string; readonly keys: readonly string[] }>
  /** Makes the next owner begin with nothing. */
  readonly markDamaged: (task: Task) => Promise<void>
  /** Claims of so much time are counted together, ms. */
  readonly delayMs: number
  readonly sleep: (ms: number) => Promise<void>
}

export interface Counting<Task extends CountedTask> {
  add(task: Task): void
  stop(): void
}

/** Keys of the process that are counted, 16 bytes each at most while it is done; with more of them nothing is. */
export const countedKeysMax = 4_000_000
/** Between two pages of about 1,000 keys, so that readers and steps come in between. */
const pauseMs = 2
const napMs = 20
/** A hash that two keys share would look like one that is gone: a second count has other hashes. */
const seeds = [1, 2] as const

interface CountingState<Task extends CountedTask> extends CountingOptions<Task> {
  waiting: Task[]
  isRunning: boolean
  isStopped: boolean
}

export function createCounting<Task extends CountedTask>(options: CountingOptions<Task>): Counting<Task> {
  const state: CountingState<Task> = { ...options, waiting: [], isRunning: false, isStopped: false }
  return {
    add: (task) => {
      state.waiting.push(task)
      if (!state.isRunning) void run(state)
    },
    stop: () => {
      state.isStopped = true
    },
  }
}

async function run<Task extends CountedTask>(state: CountingState<Task>): Promise<void> {
  state.isRunning = true
  while (state.waiting.length > 0 && !state.isStopped) {
    // In short sleeps, so that a store that is closed does not keep the process.
    for (let sleptMs = 0; sleptMs < state.delayMs && !state.isStopped; sleptMs += napMs) await state.sleep(napMs)
    await countWaiting(state)
  }
  state.isRunning = false
}

async function countWaiting<Task extends CountedTask>(state: CountingState<Task>): Promise<void> {
  const tasks = state.waiting
  state.waiting = []
  try {
    let short: readonly Task[] = tasks
    for (const seed of seeds) if (short.length > 0) short = await countOnce(state, short, seed)
  } catch (error) {
    // A store that does not answer, or another owner, fails every call of the owner, too, whose next claim is counted again.
    if (!(error instanceof PipelineError)) throw error
  }
  for (const task of tasks) task.changes = null
}

interface TaskCount<Task> {
  readonly task: Task
  readonly atStart: number
  found: number
}

/** Returns the tasks of which there is less than there should be; after the last count they are marked. */
async function countOnce<Task extends CountedTask>(
  state: CountingState<Task>,
  tasks: readonly Task[],
  seed: number,
): Promise<readonly Task[]> {
  const counts = new Map<string, TaskCount<Task>>()
  for (const task of tasks) {
    task.changes = new Map()
    counts.set(tagOf(task.keys.tailPrefix), { task, atStart: task.keyCount, found: 0 })
  }
  const seen = createSeen()
  let cursor = '0'
  do {
    const page = await state.scan(cursor)
    cursor = page.cursor
    for (const key of page.keys) {
      const count = counts.get(tagOf(key))
      if (count !== undefined && addSeen(seen, hashOf(key, seed))) count.found++
    }
    if (seen.count > countedKeysMax || state.isStopped) return []
    await state.sleep(pauseMs)
  } while (cursor !== '0')
  const short: Task[] = []
  for (const { task, atStart, found } of counts.values()) {
    const missing = missingOf(task, atStart, found, (key) => hasSeen(seen, hashOf(key, seed)))
    if (missing < 0) task.keyCount -= missing
    if (missing <= 0) continue
    short.push(task)
    if (seed !== seeds.at(-1)) continue
    await state.markDamaged(task)
    task.damage = damagedState(task.task, `${missing} of ${atStart} stored logs and chunks are gone`, {
      missing,
      atStart,
    })
  }
  return short
}

/** Negative: there are more than were counted. */
function missingOf(
  { changes }: CountedTask,
  atStart: number,
  found: number,
  wasSeen: (key: string) => boolean,
): number {
  let [expected, unchanged] = [atStart, found]
  for (const [key, wasThere] of changes ?? []) {
    if (wasThere) expected--
    if (wasSeen(key)) unchanged--
  }
  return expected - unchanged
}

/** Called with every step that is sent. */
export function noteChanges({ keys, changes }: CountedTask, writes: StepWrites): void {
  if (changes === null) return
  for (let index = 0; index < writes.count; index++) {
    const added = writes.added[index]!
    if (added === 0) continue
    const chunk = writes.chunks[index]!
    const entity = writes.keys[index]!
    const key = chunk === tail ? keys.tailPrefix + entity : chunkKey(keys, entity, chunk)
    if (!changes.has(key)) changes.set(key, added < 0)
  }
}

/** All of a task's keys begin with it; neither it nor what follows in it has a brace. */
function tagOf(key: string): string {
  return key.slice(0, key.indexOf('}'))
}

/** A set of 53-bit numbers above 0: open addressing over one array. */
interface Seen {
  slots: Float64Array
  count: number
}

function createSeen(): Seen {
  return { slots: new Float64Array(4_096), count: 0 }
}

function addSeen(seen: Seen, hash: number): boolean {
  const slot = slotOf(seen.slots, hash)
  if (seen.slots[slot] === hash) return false
  seen.slots[slot] = hash
  seen.count++
  if (seen.count * 2 > seen.slots.length) {
    const { slots } = seen
    seen.slots = new Float64Array(slots.length * 2)
    for (const other of slots) if (other !== 0) seen.slots[slotOf(seen.slots, other)] = other
  }
  return true
}

function hasSeen({ slots }: Seen, hash: number): boolean {
  return slots[slotOf(slots, hash)] === hash
}

/** Where the hash is, or the empty slot where it goes. */
function slotOf(slots: Float64Array, hash: number): number {
  let slot = hash % slots.length
  while (slots[slot] !== 0 && slots[slot] !== hash) slot = (slot + 1) % slots.length
  return slot
}

/** Two 32-bit multiply-xor lanes over UTF-16 units, of which 53 bits are kept; never 0. */
function hashOf(key: string, seed: number): number {
  let high = 0xdeadbeef ^ seed
  let low = 0x41c6ce57 ^ seed
  for (let index = 0; index < key.length; index++) {
    const unit = key.charCodeAt(index)
    high = Math.imul(high ^ unit, 2654435761)
    low = Math.imul(low ^ unit, 1597334677)
  }
  high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909)
  low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909)
  return 2 ** 32 * (low & 0x1fffff) + (high >>> 0) + 1
}
