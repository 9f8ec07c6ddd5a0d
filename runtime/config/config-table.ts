/** Every setting that comes from the environment, in one table. Read by `config.ts`; nobody else names a variable. */
import type { LogLevel } from '../log.ts'
import {
  brokers,
  choice,
  name,
  pemFile,
  prefix,
  redis,
  registry,
  type Setting,
  secret,
  secretFile,
  text,
  whole,
} from './settings.ts'

const onOff = ['on', 'off'] as const
const logLevels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent']

export const settingsTable = {
  kafkaBrokers: brokers({
    variable: 'KAFKA_BROKERS',
    fallback: [],
    sentence: 'Bootstrap brokers of the Kafka cluster; one is enough.',
  }),
  kafkaTls: choice({
    variable: 'KAFKA_TLS',
    fallback: 'off',
    of: onOff,
    sentence: 'Whether to connect to the brokers with TLS.',
  }),
  kafkaTlsCa: pemFile({
    variable: 'KAFKA_TLS_CA_FILE',
    holds: 'certificates',
    sentence: "Certificate authorities that the brokers' certificates are verified against; by default those of Node.",
  }),
  kafkaTlsCert: pemFile({
    variable: 'KAFKA_TLS_CERT_FILE',
    holds: 'certificates',
    sentence: 'Client certificate for the brokers; requires KAFKA_TLS_KEY_FILE.',
  }),
  kafkaTlsKey: pemFile({
    variable: 'KAFKA_TLS_KEY_FILE',
    holds: 'a private key',
    sentence: 'Private key of that certificate, not encrypted.',
  }),
  kafkaTlsServerNameCheck: choice({
    variable: 'KAFKA_TLS_SERVER_NAME_CHECK',
    fallback: 'on',
    of: onOff,
    sentence: 'Whether the host name of a broker must match its certificate; off verifies the authority only.',
  }),
  kafkaSaslMechanism: choice({
    variable: 'KAFKA_SASL_MECHANISM',
    fallback: null,
    of: ['plain', 'scram-sha-256', 'scram-sha-512'],
    sentence: 'SASL mechanism of the login to the brokers; by default there is no login.',
  }),
  kafkaSaslUsername: text({
    variable: 'KAFKA_SASL_USERNAME',
    fallback: null,
    sentence: 'User name for SASL.',
  }),
  kafkaSaslPassword: secret({ variable: 'KAFKA_SASL_PASSWORD', sentence: 'Password for SASL.' }),
  kafkaSaslPasswordFile: secretFile({
    variable: 'KAFKA_SASL_PASSWORD_FILE',
    sentence: 'File that holds the password instead.',
  }),
  redisUrl: redis({
    variable: 'REDIS_URL',
    fallback: null,
    sentence: 'The Redis server that stores the features; rediss:// connects with TLS.',
  }),
  redisUsername: text({
    variable: 'REDIS_USERNAME',
    fallback: null,
    sentence: 'ACL user, in place of a user in REDIS_URL; by default the user default.',
  }),
  redisPassword: secret({
    variable: 'REDIS_PASSWORD',
    sentence: 'Password of that user, in place of a password in REDIS_URL.',
  }),
  redisPasswordFile: secretFile({
    variable: 'REDIS_PASSWORD_FILE',
    sentence: 'File that holds the password instead.',
  }),
  redisTlsCa: pemFile({
    variable: 'REDIS_TLS_CA_FILE',
    holds: 'certificates',
    sentence: "Certificate authorities that Redis's certificate is verified against; by default those of Node.",
  }),
  redisTlsCert: pemFile({
    variable: 'REDIS_TLS_CERT_FILE',
    holds: 'certificates',
    sentence: 'Client certificate for Redis; requires REDIS_TLS_KEY_FILE.',
  }),
  redisTlsKey: pemFile({
    variable: 'REDIS_TLS_KEY_FILE',
    holds: 'a private key',
    sentence: 'Private key of that certificate, not encrypted.',
  }),
  schemaRegistryUrl: registry({
    variable: 'SCHEMA_REGISTRY_URL',
    fallback: null,
    sentence:
      'The schema registry for raw events and predictions in the Confluent wire format, with user:password@ if it requires a login.',
  }),
  namespace: name({
    variable: 'MILLRACE_NAMESPACE',
    fallback: '',
    sentence: 'Prefix of every topic, group and key, so that several installations can share servers.',
  }),
  rawNamespace: prefix({
    variable: 'MILLRACE_RAW_NAMESPACE',
    fallback: null,
    sentence:
      'Prefix of the raw topics and their schemas instead of MILLRACE_NAMESPACE, so that several namespaces read the same events; `none`: no prefix.',
  }),
  worker: name({
    variable: 'MILLRACE_WORKER',
    fallback: 'worker-1',
    sentence: 'Stable name of this process within its consumer group: unique, and the same after a restart.',
  }),
  httpHost: text({
    variable: 'MILLRACE_HTTP_HOST',
    fallback: '127.0.0.1',
    sentence: 'Address that the HTTP server binds to.',
  }),
  httpPort: whole({
    variable: 'MILLRACE_HTTP_PORT',
    fallback: 8080,
    min: 0,
    max: 65_535,
    sentence: 'Port of the HTTP server; 0 chooses any free port.',
  }),
  auditPort: whole({
    variable: 'MILLRACE_AUDIT_PORT',
    fallback: 8081,
    min: 0,
    max: 65_535,
    sentence:
      'Port on which `audit` serves its totals and metrics, and which `doctor` queries; 0 chooses any free port.',
  }),
  trainerPort: whole({
    variable: 'MILLRACE_TRAINER_PORT',
    fallback: 8082,
    min: 0,
    max: 65_535,
    sentence: 'Port on which `trainer` serves models and predictions; 0 chooses any free port.',
  }),
  partitions: whole({
    variable: 'MILLRACE_PARTITIONS',
    fallback: 4,
    unit: 'partitions',
    min: 1,
    max: 1_024,
    sentence:
      'Partitions of topics that are created (existing ones keep theirs); also the largest number of processes that can share the work.',
  }),
  logLevel: choice({
    variable: 'MILLRACE_LOG_LEVEL',
    fallback: 'info',
    of: logLevels,
    sentence: 'Lowest level that is logged.',
  }),
  servers: choice({
    variable: 'MILLRACE_SERVERS',
    fallback: 'auto',
    of: ['auto', 'docker', 'local'],
    sentence:
      'How `start` and `run --local` start servers: with Docker, with programs of this machine, or the first that works.',
  }),
  folder: text({
    variable: 'MILLRACE_FOLDER',
    fallback: '.millrace',
    sentence: 'Folder for local servers, their data and downloads; keep it out of version control.',
  }),
  holdMaxMs: whole({
    variable: 'MILLRACE_HOLD_MAX_MS',
    fallback: 30_000,
    unit: 'ms',
    min: 0,
    max: 86_400_000,
    sentence:
      'Longest time that an event waits for partitions or tasks that make no progress; events released early are counted.',
  }),
  typeCheck: choice({
    variable: 'MILLRACE_TYPE_CHECK',
    fallback: 'on',
    of: onOff,
    sentence: 'Whether run, start and verify check the types of a definition first, where TypeScript is installed.',
  }),
  warmUpMs: whole({
    variable: 'MILLRACE_WARM_UP_MS',
    fallback: 2_000,
    unit: 'ms',
    min: 0,
    max: 10_000,
    sentence:
      'Longest time that a process that waits for its tasks works on generated events, to be fast from its first ones; 0: not at all.',
  }),
  alignment: choice({
    variable: 'MILLRACE_ALIGNMENT',
    fallback: 'live',
    of: ['live', 'replay'],
    sentence: 'live: a source that makes no progress is waited for up to a bound; replay: for ever.',
  }),
  commitEveryMs: whole({
    variable: 'MILLRACE_COMMIT_EVERY_MS',
    fallback: 10,
    unit: 'ms',
    min: 0,
    max: 10_000,
    sentence: 'Shortest time between two transactions while there is no backlog.',
  }),
  entityMbMax: whole({
    variable: 'MILLRACE_ENTITY_MB_MAX',
    fallback: 64,
    unit: 'MB',
    min: 1,
    max: 256,
    sentence:
      'Largest size of the facts of one entity within retention (64 MB: 1.2 to 1.7 million); its events beyond are rejected as entity_full.',
  }),
  sessionTimeoutMs: whole({
    variable: 'MILLRACE_SESSION_TIMEOUT_MS',
    fallback: 10_000,
    unit: 'ms',
    min: 6_000,
    max: 300_000,
    sentence: 'How long a process may send no heartbeat before its tasks are reassigned.',
  }),
} as const

type Table = typeof settingsTable

/** Parsed and deep-frozen. Null or empty where a setting without default is not set. */
export type Config = { readonly [K in keyof Table]: Table[K] extends Setting<infer T> ? T : never }
