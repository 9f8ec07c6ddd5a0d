/**
 * The open connections by address: a request to 'host:port' comes in, its answer goes out; `connections.ts` chooses
 * the broker.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { type Address, addressText, connectionFailure, unreachable } from './connection-failure.ts'
import { type KafkaEndpoint, type KafkaEndpointOptions, openEndpoint } from './kafkajs-connection.ts'
import { type Api, apis, type KafkaRequest } from './request.ts'

export interface Endpoints {
  /**
   * Connects where needed. Rejects with `kafka_unreachable` when no answer came and with `kafka_refused` when the broker denied access;
   * that connection is not used again.
   */
  send<T>(address: Address, request: KafkaRequest<T>): Promise<T>
  /** As `send`; null where the broker does not support this API. */
  sendIfSupported<T>(address: Address, request: KafkaRequest<T>): Promise<T | null>
  /** True from the moment of `close`: nothing more will be answered, so retries are useless. */
  isClosed(): boolean
  close(): Promise<void>
}

export function createEndpoints(options: KafkaEndpointOptions): Endpoints {
  const opened = new Map<string, Promise<KafkaEndpoint>>()
  /** Addresses that have answered: a later failure there is not caused by settings. */
  const proven = new Set<string>()
  let closing: Promise<void> | null = null

  function endpointAt({ host, port }: Address): Promise<KafkaEndpoint> {
    const address = addressText({ host, port })
    let opening = opened.get(address)
    if (opening === undefined) {
      opening = openEndpoint(host, port, options)
      opened.set(address, opening)
    }
    return opening
  }

  /** kafkajs keeps half-read bytes of a broken connection: an endpoint that failed once is never used again. */
  async function discard(address: Address, failed: KafkaEndpoint): Promise<void> {
    const opening = opened.get(addressText(address))
    if (opening !== undefined && (await opening) === failed) opened.delete(addressText(address))
    await failed.close()
  }

  async function send<T>(address: Address, request: KafkaRequest<T>): Promise<T> {
    const answer = await sendIfSupported(address, request)
    if (answer === null) throw unsupported(address, [request.api])
    return answer
  }

  async function sendIfSupported<T>(address: Address, request: KafkaRequest<T>): Promise<T | null> {
    if (closing !== null) throw closedHere()
    const endpoint = await endpointAt(address)
    try {
      if (!endpoint.isConnected()) {
        await endpoint.connect()
        if (closing !== null) throw closedHere()
        checkApis(endpoint)
      }
      if (!endpoint.supports(request.api.key, request.api.version)) return null
      const answer = await endpoint.send({
        apiKey: request.api.key,
        apiVersion: request.api.version,
        apiName: request.api.name,
        bytes: request.bytes,
        timeoutMs: options.requestTimeoutMs + request.parkedMs,
        decode: request.decode,
      })
      proven.add(addressText(address))
      return answer
    } catch (error) {
      if (closing !== null) await endpoint.close()
      if (!isConnectionFailure(error)) throw error
      await discard(address, endpoint)
      throw proven.has(addressText(address))
        ? unreachable(addressText(address), error)
        : await connectionFailure(address, error, options)
    }
  }

  return {
    send,
    sendIfSupported,
    isClosed: () => closing !== null,
    close() {
      closing ??= Promise.all([...opened.values()].map(async (opening) => (await opening).close())).then(
        () => undefined,
      )
      return closing
    },
  }
}

/** Throws `config_invalid`. */
export function parseAddress(address: string): Address {
  const colon = address.lastIndexOf(':')
  const port = Number(address.slice(colon + 1))
  if (colon < 1 || !Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new PipelineError('config_invalid', `A Kafka broker is written host:port; "${address}" is not`, {
      details: { address },
    })
  }
  return { host: address.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port }
}

/**
 * Failures of kafkajs itself: no connection, no answer, no authentication. Anything else is not a network failure.
 */
function isConnectionFailure(error: unknown): boolean {
  return error instanceof Error && (error.name.startsWith('KafkaJS') || error.name === 'ClosedHere')
}

function closedHere(): PipelineError {
  return new PipelineError('kafka_unreachable', 'This process has closed these Kafka connections')
}

function checkApis(endpoint: KafkaEndpoint): void {
  const lacking = Object.values<Api>(apis).filter(({ key, version }) => !endpoint.supports(key, version))
  if (lacking.length === 0) return
  throw unsupported(endpoint, lacking)
}

/** A broker that took over from a newer one, or is too old. */
function unsupported(address: Address, lacking: readonly Api[]): PipelineError {
  const list = lacking.map(({ name, version }) => `${name} v${version}`).join(', ')
  return new PipelineError(
    'kafka_request_failed',
    `The broker at ${addressText(address)} does not support ${list}: Kafka 2.5 or newer is needed, ` +
      'and no older one than the others of its cluster',
    { details: { lacking: list } },
  )
}
