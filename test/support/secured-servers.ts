/** A real Kafka with TLS, SASL and ACLs and a real Redis with TLS, client certificates and ACL users, for one test file. */
import { mkdir } from 'node:fs/promises'
import { AclOperationTypes, AclPermissionTypes, AclResourceTypes, Kafka, logLevel, ResourcePatternTypes } from 'kafkajs'
import { expect, vi } from 'vitest'
import { parseConfig } from '../../runtime/config/config.ts'
import { kafkaSecurity } from '../../runtime/config/security.ts'
import type { KafkaRight } from '../../runtime/rights.ts'
import { freePort } from '../../runtime/servers/free-port.ts'
import { startLocalKafka } from '../../runtime/servers/local-kafka.ts'
import { startLocalRedis } from '../../runtime/servers/local-redis.ts'
import type { LocalSetup } from '../../runtime/servers/local-setup.ts'
import { type Certificates, makeCertificates } from './certificates.ts'

export const passwords = {
  millrace: 'grind-wheat',
  stranger: 'no-rights',
  limited: 'some-rights',
  runner: 'rights-to-run',
  admin: 'all-rights',
} as const

/** Every name of the tests begins with it: what the access control lists name. */
export const namespace = 'secured'

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
  const setup: LocalSetup = {
    folder,
    cacheFolder,
    ephemeral: true,
    environment: process.env,
    printLine: () => undefined,
  }
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
      setup,
      { broker, controller },
      { settings: kafkaSettings(certificates, { broker, controller, secured }), formatArgs: scramUsers() },
    ),
    startLocalRedis(setup, redis, redisLines(certificates, redisTls, redisUsers)),
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
    // An anonymous user may check whether the server is up.
    'user default on nopass -@all +ping',
    ...users,
  ]
}

/** The settings of the user `millrace`. */
export function securedEnvironment(
  { certificates: { ca, clientCert, clientKey }, kafkaTlsSasl, redisTls }: SecuredServers,
  changed: Readonly<Record<string, string>> = {},
): Record<string, string> {
  return {
    KAFKA_BROKERS: kafkaTlsSasl,
    KAFKA_TLS: 'on',
    KAFKA_TLS_CA_FILE: ca,
    KAFKA_TLS_CERT_FILE: clientCert,
    KAFKA_TLS_KEY_FILE: clientKey,
    KAFKA_SASL_MECHANISM: 'scram-sha-512',
    KAFKA_SASL_USERNAME: 'millrace',
    KAFKA_SASL_PASSWORD: passwords.millrace,
    REDIS_URL: `rediss://${redisTls}`,
    REDIS_USERNAME: 'millrace',
    REDIS_PASSWORD: passwords.millrace,
    REDIS_TLS_CA_FILE: ca,
    REDIS_TLS_CERT_FILE: clientCert,
    REDIS_TLS_KEY_FILE: clientKey,
    MILLRACE_NAMESPACE: namespace,
    MILLRACE_HTTP_PORT: '0',
    MILLRACE_PARTITIONS: '2',
    MILLRACE_LOG_LEVEL: 'silent',
    ...changed,
  }
}

/** A line of Redis's settings. */
export function redisUser(user: string, keys: string, commands: readonly string[]): string {
  return `user ${user} on >${passwords.millrace} ~${keys} ${commands.map((command) => `+${command}`).join(' ')}`
}

const resources = {
  topic: AclResourceTypes.TOPIC,
  group: AclResourceTypes.GROUP,
  'transactional id': AclResourceTypes.TRANSACTIONAL_ID,
} as const
const operations = {
  Read: AclOperationTypes.READ,
  Write: AclOperationTypes.WRITE,
  Create: AclOperationTypes.CREATE,
  Alter: AclOperationTypes.ALTER,
  AlterConfigs: AclOperationTypes.ALTER_CONFIGS,
  DescribeConfigs: AclOperationTypes.DESCRIBE_CONFIGS,
} as const

/** From here on the user has just these rights, on every name that begins with the namespace. */
export async function allowInKafka(
  servers: SecuredServers,
  user: keyof typeof passwords,
  rights: readonly KafkaRight[],
): Promise<void> {
  const login = { KAFKA_SASL_USERNAME: 'admin', KAFKA_SASL_PASSWORD: passwords.admin }
  const { ssl, sasl } = kafkaSecurity(parseConfig(securedEnvironment(servers, login)))
  const brokers = [servers.kafkaTlsSasl]
  const admin = new Kafka({ brokers, ssl: ssl!, sasl: sasl!, logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  try {
    const filter = {
      resourceType: AclResourceTypes.ANY,
      resourcePatternType: ResourcePatternTypes.ANY,
      principal: `User:${user}`,
      operation: AclOperationTypes.ANY,
      permissionType: AclPermissionTypes.ANY,
    }
    await admin.deleteAcls({ filters: [filter] })
    const acl = rights.map(({ resource, operation }) => ({
      resourceType: resources[resource],
      resourceName: namespace,
      resourcePatternType: ResourcePatternTypes.PREFIXED,
      principal: `User:${user}`,
      host: '*',
      operation: operations[operation],
      permissionType: AclPermissionTypes.ALLOW,
    }))
    if (acl.length > 0) await admin.createAcls({ acl })
    await vi.waitFor(async () => {
      const { resources: found } = await admin.describeAcls(filter)
      expect(found.flatMap(({ acls }) => acls)).toHaveLength(acl.length)
    })
  } finally {
    await admin.disconnect()
  }
}
