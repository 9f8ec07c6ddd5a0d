/**
 * The only file that reaches into kafkajs: opens its broker objects (connections, TLS, SASL, API versions) for
 * `connections.ts`.
 */
import { createRequire } from 'node:module'
import net from 'node:net'
import tls from 'node:tls'
import type { SASLOptions } from 'kafkajs'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { monotonicMs } from './retry-budget.ts'

/** The version whose internals this file was proven on. */
export const kafkajsVersion = '2.2.4'

export type KafkaLog = (level: 'error' | 'warn', message: string, details: Readonly<Record<string, unknown>>) => void

export interface KafkaEndpointOptions {
  readonly clientId: string
  readonly ssl?: boolean | tls.ConnectionOptions
  readonly sasl?: SASLOptions
  readonly connectTimeoutMs: number
  readonly requestTimeoutMs: number
  readonly log: KafkaLog
}

/** A request as kafkajs's connection sends it: `bytes` is the body after the request header. */
export interface RawRequest<T> {
  readonly apiKey: number
  readonly apiVersion: number
  readonly apiName: string
  readonly bytes: Buffer
  /** Longest wait for the answer, ms. */
  readonly timeoutMs: number
  /** Reads the response body; a throttle time makes kafkajs hold back later requests on this connection. */
  readonly decode: (body: Buffer) => { throttleMs: number; answer: T }
}

/** One broker of the cluster with its two connections: one for Fetch, one for everything else. Opened on first use. */
export interface KafkaEndpoint {
  readonly host: string
  readonly port: number
  isConnected(): boolean
  /** Connects and authenticates; concurrent calls share one attempt. Rejects with kafkajs's errors. */
  connect(): Promise<void>
  supports(apiKey: number, apiVersion: number): boolean
  /** Call `connect` first. Rejects with kafkajs's errors. */
  send<T>(request: RawRequest<T>): Promise<T>
  /** Ends both connections at once; requests that wait for an answer reject. */
  close(): Promise<void>
}

interface KafkajsConnection {
  readonly socket?: net.Socket
  rejectRequests(error: Error): void
}

interface KafkajsPool {
  readonly pool: readonly KafkajsConnection[]
  send<T>(request: object): Promise<T>
}

interface KafkajsBroker {
  readonly connectionPool: KafkajsPool
  readonly versions: Readonly<Record<number, { minVersion: number; maxVersion: number }>> | null
  isConnected(): boolean
  connect(): Promise<void>
  disconnect(): Promise<void>
}

interface KafkajsLogger {
  namespace(): KafkajsLogger
  error(message: string, details?: Record<string, unknown>): void
  warn(message: string, details?: Record<string, unknown>): void
  info(): void
  debug(): void
}

interface KafkajsParts {
  readonly Broker: new (options: object) => KafkajsBroker
  readonly poolBuilder: (options: object) => { build(at: { host: string; port: number }): Promise<KafkajsPool> }
}

const require = createRequire(import.meta.url)

/** Throws `kafka_version_unsupported` for every version but the proven one. */
export function assertKafkajsVersion(found: string): void {
  if (found === kafkajsVersion) return
  throw new PipelineError(
    'kafka_version_unsupported',
    `kafkajs ${found} is installed, but Millrace works on the internals of exactly ${kafkajsVersion}: run npm ci`,
    { details: { found, expected: kafkajsVersion } },
  )
}

/** Loaded once, on first use, so that a wrong version is an error of the first broker and not of an import. */
let loaded: KafkajsParts | null = null

/** The version that is installed. Throws `kafka_version_unsupported` for every other than the proven one. */
export function installedKafkajs(): string {
  const { version } = require('kafkajs/package.json') as { version: string }
  assertKafkajsVersion(version)
  return version
}

function kafkajs(): KafkajsParts {
  if (loaded !== null) return loaded
  installedKafkajs()
  calmRequestQueue()
  loaded = {
    Broker: require('kafkajs/src/broker'),
    poolBuilder: require('kafkajs/src/cluster/connectionPoolBuilder'),
  }
  return loaded
}

interface RequestQueue {
  readonly pending: readonly unknown[]
  scheduleCheckPendingRequests(): void
}

/**
 * kafkajs re-arms a 1 ms timer forever after the first response, even with nothing pending: 7 % of a core for an
 * idle client.
 */
function calmRequestQueue(): void {
  const queue = (require('kafkajs/src/network/requestQueue') as { prototype: RequestQueue }).prototype
  const schedule = queue.scheduleCheckPendingRequests
  queue.scheduleCheckPendingRequests = function (this: RequestQueue) {
    if (this.pending.length > 0) schedule.call(this)
  }
}

/** Prepares a broker at this address; nothing is connected yet. */
export async function openEndpoint(host: string, port: number, options: KafkaEndpointOptions): Promise<KafkaEndpoint> {
  const { Broker, poolBuilder } = kafkajs()
  const logger = loggerTo(options.log)
  const connectionPool = await poolBuilder({
    logger,
    socketFactory: openSocket,
    ssl: options.ssl ?? null,
    sasl: options.sasl ?? null,
    clientId: options.clientId,
    connectionTimeout: options.connectTimeoutMs,
    requestTimeout: options.requestTimeoutMs,
    enforceRequestTimeout: true,
    maxInFlightRequests: null,
  }).build({ host, port })
  const broker = new Broker({ connectionPool, logger, allowAutoTopicCreation: false })
  const closed = () =>
    Object.assign(new Error(`the connection to ${host}:${port} was closed by this client`), { name: 'ClosedHere' })

  return {
    host,
    port,
    isConnected: () => broker.isConnected(),
    connect: () => broker.connect(),
    supports(apiKey, apiVersion) {
      const range = broker.versions?.[apiKey]
      return range !== undefined && range.minVersion <= apiVersion && apiVersion <= range.maxVersion
    },
    send: (request) => broker.connectionPool.send(toKafkajs(request)),
    async close() {
      // kafkajs waits for pending answers before it disconnects; a parked fetch would hold the close for its whole
      // wait.
      for (const connection of connectionPool.pool) connection.rejectRequests(closed())
      await broker.disconnect()
      for (const connection of connectionPool.pool) connection.socket?.destroy()
    },
  }
}

/** kafkajs wants an encoder object; it reads only these two members. */
function toKafkajs<T>(request: RawRequest<T>): object {
  return {
    request: {
      apiKey: request.apiKey,
      apiVersion: request.apiVersion,
      apiName: request.apiName,
      encode: async () => ({ buf: request.bytes, buffer: request.bytes }),
    },
    response: {
      async decode(body: Buffer) {
        const { throttleMs, answer } = request.decode(body)
        return { clientSideThrottleTime: throttleMs, answer }
      },
      parse: async (decoded: { answer: T }) => decoded.answer,
    },
    requestTimeout: request.timeoutMs,
    logResponseError: false,
  }
}

/** Nagle's algorithm off: a transaction is two to four small requests that wait for each other. */
function openSocket(at: {
  host: string
  port: number
  ssl: true | tls.ConnectionOptions | null
  onConnect: () => void
}) {
  const { host, port, ssl, onConnect } = at
  const serverName = net.isIP(host) ? {} : { servername: host }
  const socket =
    ssl === null || (ssl as boolean) === false
      ? net.connect({ host, port }, onConnect)
      : tls.connect({ host, port, ...serverName, ...(ssl === true ? {} : ssl) }, onConnect)
  socket.setKeepAlive(true, 60_000)
  socket.setNoDelay(true)
  return socket
}

/** While a broker is down, every attempt of every connection fails alike: the same message is logged once a second. */
const repeatAfterMs = 1_000
const messagesMax = 100
const loggedByLog = new WeakMap<KafkaLog, Map<string, number>>()

function loggerTo(log: KafkaLog): KafkajsLogger {
  const quiet = () => undefined
  const loggedAtMs = loggedByLog.get(log) ?? new Map<string, number>()
  loggedByLog.set(log, loggedAtMs)
  const logFor =
    (level: 'error' | 'warn') =>
    (message: string, details: Readonly<Record<string, unknown>> = {}) => {
      const nowMs = monotonicMs()
      if (nowMs - (loggedAtMs.get(message) ?? Number.NEGATIVE_INFINITY) < repeatAfterMs) return
      if (loggedAtMs.size >= messagesMax) loggedAtMs.clear()
      loggedAtMs.set(message, nowMs)
      log(level, message, details)
    }
  const logger: KafkajsLogger = {
    namespace: () => logger,
    error: logFor('error'),
    warn: logFor('warn'),
    info: quiet,
    debug: quiet,
  }
  return logger
}
