/**
 * A connection error comes in, the TLS reason for it goes out. Called by the clients of Kafka and Redis, so that a wrong certificate is not
 * reported as an unreachable server.
 */
import { connect } from 'node:tls'

const handshakeMaxMs = 2_000
/** Node's error codes for a certificate that fails verification. */
const unaccepted =
  /^(?:CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|PATH_LENGTH_|ERR_TLS_CERT_|INVALID_CA$|INVALID_PURPOSE$|HOSTNAME_MISMATCH$)/

/** Continues a sentence that begins with "the server"; null where TLS is not the reason. Only other settings fix these. */
export function tlsFailure(error: unknown): string | null {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown }
  if (typeof code !== 'string') return null
  const reason = String(message).replace(/^Connection error: /, '')
  if (unaccepted.test(code)) return `shows a certificate that is not accepted: ${reason}`
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER') return 'does not speak TLS on this port'
  // OpenSSL's messages surround the reason with addresses and file names.
  const alert = /SSL routines:[^:]*:([^:]+)/.exec(reason)?.[1] ?? reason.trim()
  return code.startsWith('ERR_SSL_') ? `refused the TLS connection: ${alert}` : null
}

/** Whether the port uses TLS: only the handshake is sent, and no certificate is verified. */
export function speaksTls(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, rejectUnauthorized: false })
    const answer = (speaks: boolean) => {
      socket.destroy()
      resolve(speaks)
    }
    socket.setTimeout(handshakeMaxMs, () => answer(false))
    socket.once('secureConnect', () => answer(true))
    socket.once('close', () => answer(false))
    // A TLS alert, as for a missing client certificate, shows that the port uses TLS.
    socket.once('error', (error) => answer(tlsFailure(error)?.startsWith('refused') ?? false))
  })
}
