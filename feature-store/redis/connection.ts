/**
 * From an address to one connection to Redis whose replies come in the order of the calls and whose failures are
 * classified: `redis_unreachable` when there is no answer in time, `redis_refused` when this process is not let in or lacks a
 * right, `redis_request_failed` when the answer is another error. The Redis store calls it.
 */
import type { ConnectionOptions as TlsOptions } from 'node:tls'
import { Command, Redis } from 'ioredis'
import { speaksTls, tlsFailure } from '../../runtime/tls-failure.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'

const scanCount = 1_000
const reconnectDelayMsMax = 1_000
/** Answers that no further try and no other command changes: the user, the password or a right. */
const withoutRight = /^(?:NOPERM|NOAUTH|WRONGPASS|DENIED)\b|ACL failure in script/

/** What a script returns: a code and at most four values, null where there is none. */
export type ScriptReply = readonly [code: string, ...values: Array<string | null>]

export interface RedisAddress {
  /** `redis://` or `rediss://`. */
  readonly url: string
  /** Of a `rediss://` address. */
  readonly tls?: TlsOptions
  /** Where the address does not contain them. */
  readonly username?: string
  readonly password?: string
}

/** What the store needs of Redis, with its failures distinguished. */
export interface RedisConnection {
  script(text: string, keys: readonly string[], values: ReadonlyArray<string | Buffer>): Promise<ScriptReply>
  /** A script call whose bytes were made before (`resp.ts`). They may change once this has resolved, and must not after a failure. */
  scriptBytes(bytes: Buffer): Promise<ScriptReply>
  getAll(keys: readonly string[]): Promise<Array<Buffer | null>>
  scan(cursor: string, pattern: string): Promise<{ cursor: string; keys: string[] }>
  ping(): Promise<void>
  /** Reply to INFO: lines of `name:value`. */
  info(): Promise<string>
  close(): Promise<void>
}

/**
 * Connects, and checks that the server answers and evicts nothing unless that is allowed. `timeoutMs` bounds the
 * connecting and every call. A connection that breaks is reopened in the background, at ever longer intervals up to
 * a second, until it is closed; calls fail meanwhile.
 */
export async function connectRedis(at: RedisAddress, timeoutMs: number, mayEvict = false): Promise<RedisConnection> {
  const { url, tls, username, password } = at
  const address = addressOf(url)
  let wasReady = false
  let lastFailure: Error | undefined
  const redis = new Redis(url, {
    ...(tls === undefined ? {} : { tls }),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    lazyConnect: true,
    // Nothing is sent that runtime/rights.ts does not list.
    disableClientInfo: true,
    connectTimeout: timeoutMs,
    commandTimeout: timeoutMs,
    socketTimeout: timeoutMs,
    // A command whose reply is lost fails at once; whether it was done is decided by the fence, not by a resend to
    // risk.
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    retryStrategy: (attempt) => (wasReady ? Math.min(50 * attempt, reconnectDelayMsMax) : null),
  })
  // Every failure of the connection reaches a caller as the cause of the next call that fails.
  redis.on('error', (error: Error) => {
    lastFailure = error
  })
  redis.on('ready', () => {
    lastFailure = undefined
  })

  async function ask<T>(command: string, reply: Promise<T>): Promise<T> {
    try {
      return await reply
    } catch (error) {
      throw failureOf(command, address, error, lastFailure, timeoutMs)
    }
  }

  try {
    await ask('connect', redis.connect())
    wasReady = true
    // ioredis continues in database 0 where the one of the address is refused.
    const { db = 0 } = redis.options
    if (Number(db) !== 0) await ask('SELECT', redis.select(db))
    const policy = /^maxmemory_policy:(\S+)/m.exec(await ask('INFO memory', redis.info('memory')))?.[1]
    if (policy !== 'noeviction' && !mayEvict) {
      throw new PipelineError(
        'redis_eviction',
        `Redis at ${address} has maxmemory-policy ${policy ?? 'unknown'}, expected noeviction: ` +
          'features could vanish unseen.',
        { details: { address, policy } },
      )
    }
  } catch (error) {
    redis.disconnect()
    throw wasReady ? error : await firstFailure(error, url, lastFailure)
  }

  return {
    script: async (text, keys, values) =>
      (await ask('EVAL', redis.eval(text, keys.length, ...keys, ...values))) as ScriptReply,
    scriptBytes: async (bytes) => {
      const command = new Command('eval', [], { replyEncoding: 'utf8' })
      command.toWritable = () => bytes
      return (await ask('EVAL', redis.sendCommand(command) as Promise<unknown>)) as ScriptReply
    },
    getAll: (keys) => ask('MGET', redis.mgetBuffer(...keys)),
    scan: async (cursor, pattern) => {
      const [next, keys] = await ask('SCAN', redis.scan(cursor, 'MATCH', pattern, 'COUNT', scanCount))
      return { cursor: next, keys }
    },
    ping: async () => {
      await ask('PING', redis.ping())
    },
    info: () => ask('INFO', redis.info()),
    close: async () => {
      // Waits for the replies that are still due; a lost connection has none.
      if (redis.status === 'ready') await ask('QUIT', redis.quit())
      else redis.disconnect()
    },
  }
}

function failureOf(
  command: string,
  address: string,
  error: unknown,
  lastFailure: Error | undefined,
  timeoutMs: number,
): PipelineError {
  const known = lastFailure ?? error
  const text = error instanceof Error ? error.message : String(error)
  const ofTls = tlsFailure(known)
  if (ofTls !== null) return rejection(address, ofTls, known)
  const reply = [error, lastFailure].find((failure) => failure instanceof Error && failure.name === 'ReplyError') as
    | Error
    | undefined
  if (reply !== undefined && withoutRight.test(reply.message)) {
    return rejection(address, `refused ${command}: ${reply.message}`, reply)
  }
  if (error === reply && reply !== undefined) {
    return new PipelineError('redis_request_failed', `Redis at ${address} answered ${command} with an error: ${text}`, {
      cause: error,
      details: { address, command },
    })
  }
  return new PipelineError(
    'redis_unreachable',
    `No answer to ${command} from Redis at ${address} (limit ${timeoutMs} ms): ${lastFailure?.message ?? text}`,
    { cause: lastFailure ?? error, details: { address, command, timeoutMs } },
  )
}

/**
 * A connection that was closed before it was ready may be a matter of settings: a TLS handshake is tried on the port.
 */
async function firstFailure(error: unknown, url: string, lastFailure: Error | undefined): Promise<unknown> {
  const code = (lastFailure as NodeJS.ErrnoException | undefined)?.code
  const isClosed = lastFailure === undefined || code === 'ECONNRESET' || code === 'EPIPE'
  if (!(error instanceof PipelineError) || error.code !== 'redis_unreachable' || !isClosed) return error
  const { protocol, hostname, port, host } = new URL(url)
  if (protocol === 'rediss:') {
    const doubt = 'If Redis is up, this port expects a client certificate (REDIS_TLS_CERT_FILE), or no TLS (redis://).'
    return new PipelineError('redis_unreachable', `${error.message}. ${doubt}`, {
      cause: error,
      details: error.details,
    })
  }
  const speaks = await speaksTls(hostname.replace(/^\[|\]$/g, ''), Number(port || 6_379))
  return speaks ? rejection(host, 'speaks TLS on this port: write rediss:// in REDIS_URL', error) : error
}

function rejection(address: string, how: string, cause: unknown): PipelineError {
  return new PipelineError('redis_refused', `Redis at ${address} ${how}`, { cause, details: { address } })
}

/** Host and port, without user and password. */
function addressOf(url: string): string {
  if (!URL.canParse(url) || !/^rediss?:$/.test(new URL(url).protocol)) {
    throw new PipelineError('config_invalid', 'The address of Redis is not a redis:// or rediss:// URL: see REDIS_URL.')
  }
  return new URL(url).host
}
