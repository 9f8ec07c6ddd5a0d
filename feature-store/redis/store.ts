/**
 * The feature store on Redis: every call of the contract becomes one command or one script on a single connection, so
 * that replies come in the order of the calls. The command line creates it; the batch loop and the feature reader call
 * it.
 *
 * Nothing is sent twice by itself. When a reply is lost, the caller applies the same step again: the script then finds
 * the store at the step's own end under the same owner, which only this step can have caused, and reports that
 * it was done. Any other position is rejected.
 */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { systemClock } from '../../runtime/clock.ts'
import { packageFolder } from '../../runtime/package-folder.ts'
import { redisRights } from '../../runtime/rights.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { shapeText } from '../../schemas/plan/state-shape.ts'
import { type StepWrites, startOfWrite, tail } from '../step-writes.ts'
import {
  type EntityRead,
  type FeatureStore,
  type StateIdentity,
  type Step,
  type StoredLog,
  storeKeysMax,
  type TaskStore,
} from '../store.ts'
import {
  assertStep,
  damagedState,
  fenceRejection,
  foreignState,
  identityOf,
  identityText,
  longerLog,
  taskName,
} from '../store-failures.ts'
import { faultOf } from '../stored-log.ts'
import { chunkKey, completeLogs, piecesPerRead } from './complete-logs.ts'
import { connectRedis, type RedisAddress, type RedisConnection, type ScriptReply } from './connection.ts'
import { type CountedTask, createCounting, noteChanges } from './count-keys.ts'
import { pipelineLogPattern, type TaskKeys, taskKeys } from './keys.ts'
import { addBytes, addText, beginCommand, createRespWriter, endCommand, type RespWriter } from './resp.ts'
import { parseServerInfo, type RedisServer } from './server.ts'

export interface RedisStoreOptions extends RedisAddress {
  readonly pipeline: string
  /** Put before every name, so that several installations share a server; may be ''. */
  readonly namespace: string
  /** Longest that connecting or one call may take. */
  readonly timeoutMs?: number
  /** For read-only use: a server that evicts keys is accepted. */
  readonly mayEvict?: boolean
  /** After a task was claimed, its stored logs are counted so much later. */
  readonly countAfterMs?: number
}

export interface RedisStore extends FeatureStore {
  server(): Promise<RedisServer>
}

/** A task as its owner has claimed it. */
interface OpenedTask extends CountedTask {
  readonly connection: RedisConnection
  readonly task: string
  readonly owner: string
  /** Position and count as they are stored before and after the step that was sent last; null is none. */
  before: string | null
  after: string | null
  /** For the next step; null while one is on its way. */
  writer: RespWriter | null
}

/** Logs that one query reads at once. */
export const readKeysMax = 1_000
/** Reads of one query, whose chunks may be deleted in between. */
const readTriesMax = 5
const clearing = 'clearing'
const neededCommands = redisRights.map(({ command }) => command.toUpperCase())

// Scripts are sent whole: their text is small beside a step, and a server that forgot them answers in order all the
// same.
const applyScriptBytes = Buffer.from(loadScript('apply'))
const claimScript = loadScript('claim')
const clearScript = loadScript('clear')

/**
 * Connects, and checks that the server answers and evicts nothing. Fails with `redis_unreachable`, `redis_refused` or `redis_eviction`.
 */
export async function createRedisStore(options: RedisStoreOptions): Promise<RedisStore> {
  const { pipeline, namespace } = options
  const connection = await connectRedis(options, options.timeoutMs ?? 5_000, options.mayEvict)
  const counting = createCounting({
    scan: (cursor) => connection.scan(cursor, pipelineLogPattern(namespace, pipeline)),
    markDamaged,
    delayMs: options.countAfterMs ?? 1_000,
    sleep: systemClock.sleep,
  })
  let closed: Promise<void> | undefined

  return {
    claim: async (entity, partition, owner, identity, { rebuild = false } = {}) => {
      const keys = taskKeys(namespace, pipeline, entity, partition)
      const opened = await claimTask(connection, keys, taskName(entity, partition), owner, identity, rebuild)
      counting.add(opened)
      return openTask(opened)
    },
    read: async (entity, partition, entityKeys): Promise<EntityRead> => {
      assert(entityKeys.length <= readKeysMax, `a query reads at most ${readKeysMax} logs, not ${entityKeys.length}`)
      const keys = taskKeys(namespace, pipeline, entity, partition)
      return readWhole(connection, keys, taskName(entity, partition), entityKeys)
    },
    inspect: async (entity, partition) => {
      const keys = taskKeys(namespace, pipeline, entity, partition)
      const found = await connection.getAll([keys.owner, keys.position, keys.identity, keys.shape])
      const [owner, position, identity, shape] = found.map(textOf)
      return {
        owner: owner ?? null,
        position: positionOf(position ?? null),
        identity: identity === clearing ? clearing : identity == null ? null : identityOf(identity, shape ?? null),
      }
    },
    server: async () => parseServerInfo(await connection.info()),
    ping: () => connection.ping(),
    close: () => {
      counting.stop()
      closed ??= connection.close()
      return closed
    },
  }
}

async function claimTask(
  connection: RedisConnection,
  keys: TaskKeys,
  task: string,
  owner: string,
  identity: StateIdentity,
  rebuild: boolean,
): Promise<OpenedTask> {
  const expected = identityText(identity)
  const [code, found, position, shape] = await connection.script(
    claimScript,
    [keys.owner, keys.position, keys.identity, keys.shape],
    [owner, expected, rebuild ? '1' : '0', shapeText(identity.shape) ?? '', ...neededCommands],
  )
  if (code === 'rights') throw missingRights(keys, found ?? '')
  if (code === 'foreign') throw foreignState(task, identity, { identity: found ?? null, shape: shape ?? null })
  const isOpen = code === 'claimed' && !rebuild
  const after = isOpen ? (position ?? null) : null
  const keyCount = keyCountOf(after)
  const opened: OpenedTask = {
    connection,
    keys,
    task,
    owner,
    before: null,
    after,
    keyCount,
    changes: null,
    damage: null,
    writer: null,
  }
  if (!isOpen) await clearTask(opened, expected)
  return opened
}

/** Tails and position in one atomic read; chunks do not change, but may be gone by then: everything is read again. */
async function readWhole(
  connection: RedisConnection,
  keys: TaskKeys,
  task: string,
  entityKeys: readonly string[],
): Promise<EntityRead> {
  for (let tries = 1; ; tries++) {
    const [position, ...tails] = await connection.getAll([
      keys.position,
      ...entityKeys.map((key) => keys.tailPrefix + key),
    ])
    const logs = await completeLogs(keys, entityKeys, tails, connection.getAll)
    const fault = logs.map((log) => (log === null ? null : faultOf(log))).find((found) => found !== null)
    if (fault === undefined) return { position: positionOf(textOf(position)), logs }
    if (tries === readTriesMax) throw damagedState(task, fault, { tries })
  }
}

function openTask(opened: OpenedTask): TaskStore {
  const { connection, keys, task, owner } = opened
  let position = positionOf(opened.after)
  // Calls are answered in order: a load finds what the last apply sent before it leads to. A rejected apply is followed
  // by rejections.
  let sent = position

  async function getFenced(names: readonly string[]): Promise<Array<Buffer | null>> {
    const expected = sent
    const [foundOwner, foundPosition, ...values] = await connection.getAll([keys.owner, keys.position, ...names])
    const found = { owner: textOf(foundOwner), position: positionOf(textOf(foundPosition)) }
    const rejection = fenceRejection(task, { owner, position: expected }, found)
    if (rejection !== null) throw rejection
    return values
  }

  async function loadSome(entityKeys: readonly string[]): Promise<Array<StoredLog | null>> {
    const tails = await getFenced(entityKeys.map((key) => keys.tailPrefix + key))
    const logs = await completeLogs(keys, entityKeys, tails, getFenced)
    for (const [index, log] of logs.entries()) {
      const fault = log === null ? null : faultOf(log)
      if (fault === null) continue
      await markDamaged(opened)
      throw damagedState(task, fault, { key: keys.tailPrefix + entityKeys[index]! })
    }
    return logs
  }

  return {
    get position() {
      return position
    },
    load: async (entityKeys) => {
      if (opened.damage !== null) throw opened.damage
      const parts: Array<Promise<Array<StoredLog | null>>> = []
      for (let from = 0; from === 0 || from < entityKeys.length; from += piecesPerRead) {
        parts.push(loadSome(entityKeys.slice(from, from + piecesPerRead)))
      }
      return parts.length === 1 ? parts[0]! : (await Promise.all(parts)).flat()
    },
    apply: async (step) => {
      if (opened.damage !== null) throw opened.damage
      assertStep(step)
      sent = step.to
      const [code, foundOwner, foundPosition, found, expected] = await sendStep(opened, step)
      if (code === 'applied' || code === 'repeated' || code === 'longer') {
        position = step.to
        if (code === 'longer') throw longerLog(task, Number(found), Number(expected))
        return
      }
      assert(code !== 'malformed', 'the apply script was called with arguments that do not fit together')
      if (code === 'short') throw damagedState(task, `a tail has ${found} bytes of ${expected}`, { found, expected })
      const is = { owner: foundOwner ?? null, position: positionOf(foundPosition ?? null) }
      const rejection = fenceRejection(task, { owner, position: step.from }, is)
      assert(rejection !== null, `the apply script answered ${code}`)
      throw rejection
    },
  }
}

/** The bytes of the script call are made before this returns, so that the step's own may change. */
async function sendStep(opened: OpenedTask, step: Step): Promise<ScriptReply> {
  const { connection, keys, owner } = opened
  const { writes } = step
  noteStep(opened, step)
  const writer = opened.writer ?? createRespWriter()
  opened.writer = null
  writeStep(writer, keys, [owner, opened.before ?? '', opened.after ?? ''], writes)
  const reply = await connection.scriptBytes(endCommand(writer))
  // After a failure the socket may still hold the bytes.
  opened.writer = writer
  return reply
}

/** Counts what the step adds, unless it is the one that was sent last: then its reply was lost. */
function noteStep(opened: OpenedTask, { from, to, writes }: Step): void {
  if (positionOf(opened.before) === from && positionOf(opened.after) === to) return
  noteChanges(opened, writes)
  const isNext = positionOf(opened.after) === from
  // A step from elsewhere is rejected, whatever its count.
  opened.before = from === null ? null : isNext ? opened.after : positionText(opened.keyCount, from)
  opened.keyCount += writes.keysAdded
  opened.after = positionText(opened.keyCount, to)
}

/** `EVAL` with its script, the keys of the task and of the writes, the three values, and what the writes have. */
function writeStep(
  writer: RespWriter,
  keys: TaskKeys,
  values: readonly [string, string, string],
  writes: StepWrites,
): void {
  const { count, kinds, lengths } = writes
  const tailPrefix = Buffer.from(keys.tailPrefix)
  const packed = Buffer.allocUnsafe(count * 5)
  for (let index = 0; index < count; index++) {
    packed[index] = kinds[index]!
    packed.writeUInt32LE(lengths[index]!, count + index * 4)
  }
  beginCommand(writer, 3 + 3 + count + 5 + count)
  addText(writer, 'EVAL')
  addBytes(writer, applyScriptBytes)
  addText(writer, String(3 + count))
  for (const key of [keys.owner, keys.position, keys.identity]) addText(writer, key)
  for (let index = 0; index < count; index++) {
    const chunk = writes.chunks[index]!
    if (chunk === tail) addText(writer, writes.keys[index]!, tailPrefix)
    else addText(writer, chunkKey(keys, writes.keys[index]!, chunk))
  }
  for (const value of values) addText(writer, value)
  addBytes(writer, packed, 0, count)
  addBytes(writer, packed, count)
  for (let index = 0; index < count; index++) {
    addBytes(writer, writes.bytes, startOfWrite(writes, index), writes.ends[index]!)
  }
}

/** The position, and with it the number of tails and chunks: one value, so that both are of one step whatever a crash leaves. */
function positionText(keyCount: number, position: string): string {
  return `${keyCount} ${position}`
}

function positionOf(stored: string | null): string | null {
  return stored === null ? null : stored.slice(stored.indexOf(' ') + 1)
}

function keyCountOf(stored: string | null): number {
  return stored === null ? 0 : Number.parseInt(stored, 10)
}

/**
 * Deletes a task's logs and position in fenced steps and leaves the task empty, with its owner and the identity given.
 */
async function clearTask(opened: OpenedTask, identity: string): Promise<void> {
  const { connection, keys } = opened
  await clearStep(opened, [], clearing)
  let cursor = '0'
  do {
    const page = await connection.scan(cursor, keys.logPattern)
    cursor = page.cursor
    for (let from = 0; from < page.keys.length; from += storeKeysMax) {
      await clearStep(opened, page.keys.slice(from, from + storeKeysMax), clearing)
    }
  } while (cursor !== '0')
  await clearStep(opened, [], identity)
}

async function clearStep(opened: OpenedTask, logs: readonly string[], nextIdentity: string): Promise<void> {
  const { connection, keys, task, owner } = opened
  const names = [keys.owner, keys.position, keys.identity, ...logs]
  const [code, foundOwner] = await connection.script(clearScript, names, [owner, nextIdentity])
  if (code === 'cleared') return
  const rejection = fenceRejection(task, { owner, position: null }, { owner: foundOwner ?? null, position: null })
  assert(rejection !== null, `the clear script answered ${code}`)
  throw rejection
}

/** As the first step of a deletion: the next claim finishes it, and the state is restored from Kafka. */
function markDamaged(opened: OpenedTask): Promise<void> {
  return clearStep(opened, [], clearing)
}

function missingRights({ position }: TaskKeys, commands: string): PipelineError {
  const on = `on keys like ${position}`
  return new PipelineError('redis_refused', `The Redis user of this process lacks the rights to ${commands} ${on}`, {
    details: { commands, key: position },
  })
}

function textOf(bytes: Buffer | null | undefined): string | null {
  return bytes === null || bytes === undefined ? null : bytes.toString('utf8')
}

/** The script without the comment at its head, which no server needs. */
function loadScript(name: string): string {
  const text = readFileSync(join(packageFolder, 'feature-store/redis/lua', `${name}.lua`), 'utf8')
  return text.slice(text.indexOf(']]') + 2).trim()
}
