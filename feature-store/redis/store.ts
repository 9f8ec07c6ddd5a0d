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
import { packageFolder } from '../../runtime/package-folder.ts'
import { redisRights } from '../../runtime/rights.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { shapeText } from '../../schemas/plan/state-shape.ts'
import { type EntityRead, type FeatureStore, type Step, storeKeysMax, type TaskStore } from '../store.ts'
import { assertStep, fenceRejection, foreignState, identityOf, identityText, taskName } from '../store-failures.ts'
import { connectRedis, type RedisAddress, type RedisConnection, type ScriptReply } from './connection.ts'
import { type TaskKeys, taskKeys } from './keys.ts'
import { parseServerInfo, type RedisServer } from './server.ts'

export interface RedisStoreOptions extends RedisAddress {
  readonly pipeline: string
  /** Put before every name, so that several installations share a server; may be ''. */
  readonly namespace: string
  /** Longest that connecting or one call may take. */
  readonly timeoutMs?: number
  /** For read-only use: a server that evicts keys is accepted. */
  readonly mayEvict?: boolean
}

export interface RedisStore extends FeatureStore {
  server(): Promise<RedisServer>
}

/** Logs that one query reads at once. */
export const readKeysMax = 1_000
const changeCode = { append: 'a', replace: 'r', remove: 'd' } as const
const clearing = 'clearing'
const neededCommands = redisRights.map(({ command }) => command.toUpperCase())

// Scripts are sent whole: their text is small beside a step, and a server that forgot them answers in order all the
// same.
const applyScript = loadScript('apply')
const claimScript = loadScript('claim')
const clearScript = loadScript('clear')

/**
 * Connects, and checks that the server answers and evicts nothing. Fails with `redis_unreachable`, `redis_refused` or `redis_eviction`.
 */
export async function createRedisStore(options: RedisStoreOptions): Promise<RedisStore> {
  const { pipeline, namespace } = options
  const connection = await connectRedis(options, options.timeoutMs ?? 5_000, options.mayEvict)
  let closed: Promise<void> | undefined

  return {
    claim: async (entity, partition, owner, identity, { rebuild = false } = {}) => {
      const keys = taskKeys(namespace, pipeline, entity, partition)
      const task = taskName(entity, partition)
      const expected = identityText(identity)
      const [code, found, position, shape] = await connection.script(
        claimScript,
        [keys.owner, keys.position, keys.identity, keys.shape],
        [owner, expected, rebuild ? '1' : '0', shapeText(identity.shape) ?? '', ...neededCommands],
      )
      if (code === 'rights') throw missingRights(keys, found ?? '')
      if (code === 'foreign') throw foreignState(task, identity, { identity: found ?? null, shape: shape ?? null })
      const isOpen = code === 'claimed' && !rebuild
      if (!isOpen) await clearTask(connection, keys, task, owner, expected)
      return openTask(connection, keys, task, owner, isOpen ? (position ?? null) : null)
    },
    read: async (entity, partition, entityKeys): Promise<EntityRead> => {
      assert(entityKeys.length <= readKeysMax, `a query reads at most ${readKeysMax} logs, not ${entityKeys.length}`)
      const keys = taskKeys(namespace, pipeline, entity, partition)
      const [position, ...logs] = await connection.getAll([keys.position, ...entityKeys.map(keys.log)])
      return { position: textOf(position), logs }
    },
    inspect: async (entity, partition) => {
      const keys = taskKeys(namespace, pipeline, entity, partition)
      const found = await connection.getAll([keys.owner, keys.position, keys.identity, keys.shape])
      const [owner, position, identity, shape] = found.map(textOf)
      return {
        owner: owner ?? null,
        position: position ?? null,
        identity: identity === clearing ? clearing : identity == null ? null : identityOf(identity, shape ?? null),
      }
    },
    server: async () => parseServerInfo(await connection.info()),
    ping: () => connection.ping(),
    close: () => {
      closed ??= connection.close()
      return closed
    },
  }
}

function openTask(
  connection: RedisConnection,
  keys: TaskKeys,
  task: string,
  owner: string,
  claimedPosition: string | null,
): TaskStore {
  let position = claimedPosition
  // Calls are answered in order: a load finds what the last apply sent before it leads to. A rejected apply is followed
  // by rejections.
  let sent = claimedPosition

  async function loadSome(entityKeys: readonly string[], expected: string | null): Promise<Array<Buffer | null>> {
    const [foundOwner, foundPosition, ...logs] = await connection.getAll([
      keys.owner,
      keys.position,
      ...entityKeys.map(keys.log),
    ])
    const found = { owner: textOf(foundOwner), position: textOf(foundPosition) }
    const rejection = fenceRejection(task, { owner, position: expected }, found)
    if (rejection !== null) throw rejection
    return logs
  }

  return {
    get position() {
      return position
    },
    load: async (entityKeys) => {
      const parts: Array<Promise<Array<Buffer | null>>> = []
      for (let from = 0; from === 0 || from < entityKeys.length; from += storeKeysMax) {
        parts.push(loadSome(entityKeys.slice(from, from + storeKeysMax), sent))
      }
      return parts.length === 1 ? parts[0]! : (await Promise.all(parts)).flat()
    },
    apply: async (step) => {
      assertStep(step)
      sent = step.to
      const [code, foundOwner, foundPosition] = await sendStep(connection, keys, owner, step)
      if (code === 'applied' || code === 'repeated') {
        position = step.to
        return
      }
      assert(code !== 'malformed', 'the apply script was called with arguments that do not fit together')
      const found = { owner: foundOwner ?? null, position: foundPosition ?? null }
      const rejection = fenceRejection(task, { owner, position: step.from }, found)
      assert(rejection !== null, `the apply script answered ${code}`)
      throw rejection
    },
  }
}

function sendStep(connection: RedisConnection, keys: TaskKeys, owner: string, step: Step): Promise<ScriptReply> {
  const names = [keys.owner, keys.position]
  const values: Array<string | Buffer> = [owner, step.from ?? '', step.to, '']
  let kinds = ''
  for (const { key, kind, bytes } of step.writes) {
    names.push(keys.log(key))
    values.push(kind === 'remove' ? '' : bytes)
    kinds += changeCode[kind]
  }
  values[3] = kinds
  return connection.script(applyScript, names, values)
}

/**
 * Deletes a task's logs and position in fenced steps and leaves the task empty, with its owner and the identity given.
 */
async function clearTask(
  connection: RedisConnection,
  keys: TaskKeys,
  task: string,
  owner: string,
  identity: string,
): Promise<void> {
  async function clearStep(logs: readonly string[], nextIdentity: string): Promise<void> {
    const names = [keys.owner, keys.position, keys.identity, ...logs]
    const [code, foundOwner] = await connection.script(clearScript, names, [owner, nextIdentity])
    if (code === 'cleared') return
    const rejection = fenceRejection(task, { owner, position: null }, { owner: foundOwner ?? null, position: null })
    assert(rejection !== null, `the clear script answered ${code}`)
    throw rejection
  }

  await clearStep([], clearing)
  let cursor = '0'
  do {
    const page = await connection.scan(cursor, keys.logPattern)
    cursor = page.cursor
    for (let from = 0; from < page.keys.length; from += storeKeysMax) {
      await clearStep(page.keys.slice(from, from + storeKeysMax), clearing)
    }
  } while (cursor !== '0')
  await clearStep([], identity)
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
