/**
 * A failed connection comes in, whether and how TLS was the reason goes out. Called by the clients of Kafka and Redis, so that a wrong
 * certificate is not taken for a server that is away.
 */
import { connect } from 'node:tls'

const handshakeMaxMs = 2_000
/** Codes of Node for a certificate that does not stand the check. */
const unaccepted =
  /^(?:CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|PATH_LENGTH_|ERR_TLS_CERT_|INVALID_CA$|INVALID_PURPOSE$|HOSTNAME_MISMATCH$)/

/** What follows "the server": null where the failure is no matter of TLS. Nothing but other settings mends these. */
export function tlsFailure(error: unknown): string | null {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown }
  if (typeof code !== 'string') return null
  const reason = String(message).replace(/^Connection error: /, '')
  if (unaccepted.test(code)) return `shows a certificate that is not accepted: ${reason}`
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER') return 'does not speak TLS on this port'
  // OpenSSL's own lines carry addresses and file names around the few words that say something.
  const alert = /SSL routines:[^:]*:([^:]+)/.exec(reason)?.[1] ?? reason.trim()
  return code.startsWith('ERR_SSL_') ? `refused the TLS connection: ${alert}` : null
}

/** Asks whether the port answers in TLS; nothing is sent but the handshake, and no certificate is checked. */
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
    // A refusal in TLS, as for a missing client certificate, is TLS too.
    socket.once('error', (error) => answer(tlsFailure(error)?.startsWith('refused') ?? false))
  })
}
