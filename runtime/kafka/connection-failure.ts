/**
 * A failure of kafkajs's connection to a broker comes in, what it means for the operator goes out: the broker is unreachable, which is
 * retried, or it denied access because TLS, user or password do not match, which is not. Called by `endpoints.ts`.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { speaksTls, tlsFailure } from '../tls-failure.ts'
import type { KafkaEndpointOptions } from './kafkajs-connection.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

/** kafkajs also reports a connection that broke during the login as a failed login. */
const brokeOff = /Closed connection|Connection error|timed out|timeout|disconnect/i
/** Errors at the start of a login: the mechanism is not offered, or the listener has no logins. */
const noLogin: readonly unknown[] = ['UNSUPPORTED_SASL_MECHANISM', 'ILLEGAL_SASL_STATE']

/** For an address that has not answered yet, where settings may be why a connection was closed. Checks whether the port uses TLS. */
export async function connectionFailure(
  address: Address,
  error: unknown,
  { ssl, sasl }: Pick<KafkaEndpointOptions, 'ssl' | 'sasl'>,
): Promise<PipelineError> {
  const text = addressText(address)
  const { name, type, message } = error as { readonly name?: string; readonly type?: unknown; readonly message: string }
  const ofTls = tlsFailure(error)
  if (ofTls !== null) return accessDenied(text, ofTls, error)
  if (name === 'KafkaJSSASLAuthenticationError' && !brokeOff.test(message))
    return accessDenied(text, `refused this process: ${message}`, error)
  if (noLogin.includes(type)) {
    return accessDenied(
      text,
      `does not accept this login (SASL ${sasl?.mechanism} ${ssl ? 'in' : 'without'} TLS): ${message}`,
      error,
    )
  }
  if (!wasClosed(error)) return unreachable(text, error)
  if (!ssl && (await speaksTls(address.host, address.port))) {
    return accessDenied(text, 'uses TLS on this port: set KAFKA_TLS=on', error)
  }
  const hint = sasl
    ? 'if the broker is up, this port expects other settings of KAFKA_TLS'
    : 'if the broker is up, this port expects KAFKA_SASL_MECHANISM, or other settings of KAFKA_TLS'
  return unreachable(text, new Error(`it closed the connection; ${hint}`, { cause: error }))
}

export function unreachable(address: string, cause: unknown): PipelineError {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new PipelineError('kafka_unreachable', `Kafka at ${address} did not answer: ${why}`, {
    cause,
    details: { address },
  })
}

export function addressText({ host, port }: Address): string {
  return `${host}:${port}`
}

function accessDenied(address: string, how: string, cause: unknown): PipelineError {
  return new PipelineError('kafka_refused', `Kafka at ${address} ${how}`, { cause, details: { address } })
}

function wasClosed(error: unknown): boolean {
  const { name, code } = error as { readonly name?: string; readonly code?: unknown }
  return name === 'KafkaJSConnectionClosedError' || code === 'ECONNRESET' || code === 'EPIPE'
}
