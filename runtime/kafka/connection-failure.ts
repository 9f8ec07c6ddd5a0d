/**
 * A failure of kafkajs's connection to a broker comes in, what it means for the operator goes out: the broker is away, which passes, or it
 * and this process do not agree on TLS, user or password, which does not. Called by `endpoints.ts`.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { speaksTls, tlsFailure } from '../tls-failure.ts'
import type { KafkaEndpointOptions } from './kafkajs-connection.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

/** kafkajs reports a connection that broke while it logged in as a failed login too. */
const brokeOff = /Closed connection|Connection error|timed out|timeout|disconnect/i
/** Answers to the first words of a login: the mechanism is not offered, or the listener knows none. */
const noLogin: readonly unknown[] = ['UNSUPPORTED_SASL_MECHANISM', 'ILLEGAL_SASL_STATE']

/** For a place that has not answered yet, so that a closed connection may be a matter of settings. Asks the port whether it speaks TLS. */
export async function connectionFailure(
  address: Address,
  error: unknown,
  { ssl, sasl }: Pick<KafkaEndpointOptions, 'ssl' | 'sasl'>,
): Promise<PipelineError> {
  const place = placeOf(address)
  const { name, type, message } = error as { readonly name?: string; readonly type?: unknown; readonly message: string }
  const ofTls = tlsFailure(error)
  if (ofTls !== null) return refused(place, ofTls, error)
  if (name === 'KafkaJSSASLAuthenticationError' && !brokeOff.test(message))
    return refused(place, `refused this process: ${message}`, error)
  if (noLogin.includes(type)) {
    return refused(
      place,
      `does not take this login (SASL ${sasl?.mechanism} ${ssl ? 'in' : 'without'} TLS): ${message}`,
      error,
    )
  }
  if (!wasClosed(error)) return unreachable(place, error)
  if (!ssl && (await speaksTls(address.host, address.port))) {
    return refused(place, 'speaks TLS on this port: set KAFKA_TLS=on', error)
  }
  const doubt = sasl
    ? 'if the broker is up, this port expects other settings of KAFKA_TLS'
    : 'if the broker is up, this port expects KAFKA_SASL_MECHANISM, or other settings of KAFKA_TLS'
  return unreachable(place, new Error(`it closed the connection; ${doubt}`, { cause: error }))
}

export function unreachable(place: string, cause: unknown): PipelineError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new PipelineError('kafka_unreachable', `Kafka at ${place} did not answer: ${why}`, {
    cause,
    details: { place },
  })
}

export function placeOf({ host, port }: Address): string {
  return `${host}:${port}`
}

function refused(place: string, how: string, cause: unknown): PipelineError {
  return new PipelineError('kafka_refused', `Kafka at ${place} ${how}`, { cause, details: { place } })
}

function wasClosed(error: unknown): boolean {
  const { name, code } = error as { readonly name?: string; readonly code?: unknown }
  return name === 'KafkaJSConnectionClosedError' || code === 'ECONNRESET' || code === 'EPIPE'
}
