/** A real Kafka with TLS, SASL and ACLs and a real Redis with TLS, client certificates and ACL users, for one test file. */
import { mkdir } from 'node:fs/promises'
import { freePort } from '../../runtime/servers/free-port.ts'
import { startLocalKafka } from '../../runtime/servers/local-kafka.ts'
import type { LocalPlace } from '../../runtime/servers/local-place.ts'
import { startLocalRedis } from '../../runtime/servers/local-redis.ts'
import { type Certificates, makeCertificates } from './certificates.ts'

export const passwords = { millrace: 'grind-wheat', stranger: 'no-rights', admin: 'all-rights' } as const

export interface SecuredServers {
  readonly certificates: Certificates
  /** host:port of the listeners. */
  readonly kafkaTlsSasl: string
  readonly kafkaPlaintext: string
  readonly redisTls: string
  close(): Promise<void>
}

/** `cacheFolder` holds Kafka's jars. `redisUsers`: lines of Redis's settings. */
export async function startSecuredServers(
  folder: string,
  cacheFolder: string,
  redisUsers: readonly string[],
): Promise<SecuredServers> {
  await mkdir(folder, { recursive: true })
  const certificates = await makeCertificates(folder)
  const place: LocalPlace = { folder, cacheFolder, ephemeral: true, environment: process.env, say: () => undefined }
  const taken: number[] = []
  const port = async () => {
    taken.push(await freePort(undefined, taken))
    return taken.at(-1)!
  }
  const [broker, controller, secured, redis, redisTls] = [
    await port(),
    await port(),
    await port(),
    await port(),
    await port(),
  ]
  const started = await Promise.allSettled([
    startLocalKafka(
      place,
      { broker, controller },
      { settings: kafkaSettings(certificates, { broker, controller, secured }), formatArgs: scramUsers() },
    ),
    startLocalRedis(place, redis, redisLines(certificates, redisTls, redisUsers)),
  ])
  const close = async () => {
    await Promise.all(started.map((one) => (one.status === 'fulfilled' ? one.value.close() : undefined)))
  }
  const failed = started.find((one) => one.status === 'rejected')
  if (failed !== undefined) {
    await close()
    throw failed.reason
  }
  return {
    certificates,
    kafkaTlsSasl: `127.0.0.1:${secured}`,
    kafkaPlaintext: `127.0.0.1:${broker}`,
    redisTls: `127.0.0.1:${redisTls}`,
    close,
  }
}

export function kafkaSettings(
  { serverStore, ca }: Certificates,
  { broker, controller, secured }: { readonly broker: number; readonly controller: number; readonly secured: number },
): Record<string, string> {
  const plainUsers = Object.entries(passwords).map(([user, password]) => `user_${user}="${password}"`)
  const plainModule = 'org.apache.kafka.common.security.plain.PlainLoginModule required'
  const scramModule = 'org.apache.kafka.common.security.scram.ScramLoginModule required;'
  return {
    listeners: `PLAINTEXT://127.0.0.1:${broker},CONTROLLER://127.0.0.1:${controller},SECURED://127.0.0.1:${secured}`,
    'advertised.listeners': `PLAINTEXT://127.0.0.1:${broker},SECURED://127.0.0.1:${secured}`,
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURED:SASL_SSL',
    'inter.broker.listener.name': 'PLAINTEXT',
    'sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
    'listener.name.secured.plain.sasl.jaas.config': `${plainModule} ${plainUsers.join(' ')};`,
    'listener.name.secured.scram-sha-256.sasl.jaas.config': scramModule,
    'listener.name.secured.scram-sha-512.sasl.jaas.config': scramModule,
    'ssl.keystore.type': 'PEM',
    'ssl.keystore.location': serverStore,
    'ssl.truststore.type': 'PEM',
    'ssl.truststore.location': ca,
    'listener.name.secured.ssl.client.auth': 'required',
    'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    // The broker itself, its controller and the question whether it is up come without a name.
    'super.users': 'User:ANONYMOUS;User:admin',
  }
}

export function scramUsers(): string[] {
  return Object.entries(passwords).flatMap(([user, password]) =>
    ['SCRAM-SHA-256', 'SCRAM-SHA-512'].flatMap((mechanism) => [
      '--add-scram',
      `${mechanism}=[name=${user},password=${password}]`,
    ]),
  )
}

function redisLines({ ca, serverCert, serverKey }: Certificates, tlsPort: number, users: readonly string[]): string[] {
  return [
    `tls-port ${tlsPort}`,
    `tls-ca-cert-file "${ca}"`,
    `tls-cert-file "${serverCert}"`,
    `tls-key-file "${serverKey}"`,
    'tls-auth-clients yes',
    ...users,
  ]
}
