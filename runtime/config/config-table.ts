/** Every setting that comes from the environment, in one table. Read by `config.ts`; nobody else names a variable. */
import type { LogLevel } from '../log.ts'
import {
  brokers,
  choice,
  name,
  pemFile,
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
    sentence: 'Brokers of the Kafka cluster to begin with; any of them will do.',
  }),
  kafkaTls: choice({
    variable: 'KAFKA_TLS',
    fallback: 'off',
    of: onOff,
    sentence: 'Whether the brokers are spoken to in TLS.',
  }),
  kafkaTlsCa: pemFile({
    variable: 'KAFKA_TLS_CA_FILE',
    holds: 'certificates',
    sentence: "Authorities that the brokers' certificates are checked against; those of Node unless told.",
  }),
  kafkaTlsCert: pemFile({
    variable: 'KAFKA_TLS_CERT_FILE',
    holds: 'certificates',
    sentence: 'Certificate that this process shows to the brokers; with KAFKA_TLS_KEY_FILE.',
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
    sentence: 'Whether a broker must be the host that its certificate names; off checks the authority only.',
  }),
  kafkaSaslMechanism: choice({
    variable: 'KAFKA_SASL_MECHANISM',
    fallback: null,
    of: ['plain', 'scram-sha-256', 'scram-sha-512'],
    sentence: 'How this process proves to the brokers who it is; not at all unless told.',
  }),
  kafkaSaslUsername: text({
    variable: 'KAFKA_SASL_USERNAME',
    fallback: null,
    sentence: 'User name for that.',
  }),
  kafkaSaslPassword: secret({ variable: 'KAFKA_SASL_PASSWORD', sentence: 'Password for that.' }),
  kafkaSaslPasswordFile: secretFile({
    variable: 'KAFKA_SASL_PASSWORD_FILE',
    sentence: 'File that holds the password instead.',
  }),
  redisUrl: redis({
    variable: 'REDIS_URL',
    fallback: null,
    sentence: 'The Redis that keeps the features; rediss:// speaks TLS.',
  }),
  redisUsername: text({
    variable: 'REDIS_USERNAME',
    fallback: null,
    sentence: 'ACL user; the default user unless told. Instead of a user in REDIS_URL.',
  }),
  redisPassword: secret({
    variable: 'REDIS_PASSWORD',
    sentence: 'Password of that user, so that it need not stand in REDIS_URL.',
  }),
  redisPasswordFile: secretFile({
    variable: 'REDIS_PASSWORD_FILE',
    sentence: 'File that holds the password instead.',
  }),
  redisTlsCa: pemFile({
    variable: 'REDIS_TLS_CA_FILE',
    holds: 'certificates',
    sentence: "Authorities that Redis's certificate is checked against; those of Node unless told.",
  }),
  redisTlsCert: pemFile({
    variable: 'REDIS_TLS_CERT_FILE',
    holds: 'certificates',
    sentence: 'Certificate that this process shows to Redis; with REDIS_TLS_KEY_FILE.',
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
      'The schema registry for raw events in the Confluent wire format, with user:password@ where it asks for them.',
  }),
  namespace: name({
    variable: 'MILLRACE_NAMESPACE',
    fallback: '',
    sentence: 'Prefix of every topic, group and key, so that several runs can share servers.',
  }),
  worker: name({
    variable: 'MILLRACE_WORKER',
    fallback: 'worker-1',
    sentence: 'Stable name of this process within its group: unique, and the same again after a restart.',
  }),
  httpHost: text({
    variable: 'MILLRACE_HTTP_HOST',
    fallback: '127.0.0.1',
    sentence: 'Address that the HTTP server listens on.',
  }),
  httpPort: whole({
    variable: 'MILLRACE_HTTP_PORT',
    fallback: 8080,
    min: 0,
    max: 65_535,
    sentence: 'Port of the HTTP server; 0 takes any free one.',
  }),
  auditPort: whole({
    variable: 'MILLRACE_AUDIT_PORT',
    fallback: 8081,
    min: 0,
    max: 65_535,
    sentence: 'Port that `audit` tells its totals and metrics on, and that `doctor` asks; 0 takes any free one.',
  }),
  trainerPort: whole({
    variable: 'MILLRACE_TRAINER_PORT',
    fallback: 8082,
    min: 0,
    max: 65_535,
    sentence: 'Port that `trainer` tells of models and predictions on; 0 takes any free one.',
  }),
  partitions: whole({
    variable: 'MILLRACE_PARTITIONS',
    fallback: 4,
    unit: 'partitions',
    min: 1,
    max: 1_024,
    sentence: 'Partitions of the topics that are created; most processes that can share the work.',
  }),
  logLevel: choice({
    variable: 'MILLRACE_LOG_LEVEL',
    fallback: 'info',
    of: logLevels,
    sentence: 'Least level that is logged.',
  }),
  servers: choice({
    variable: 'MILLRACE_SERVERS',
    fallback: 'auto',
    of: ['auto', 'docker', 'local'],
    sentence:
      'Where `start` and `run --local` take servers from: Docker, programs of this machine, or the first that goes.',
  }),
  folder: text({
    variable: 'MILLRACE_FOLDER',
    fallback: '.millrace',
    sentence: 'Folder for local servers and what they fetch; not under version control.',
  }),
  holdMaxMs: whole({
    variable: 'MILLRACE_HOLD_MAX_MS',
    fallback: 30_000,
    unit: 'ms',
    min: 0,
    max: 86_400_000,
    sentence: 'Longest wait of an event for earlier ones of other partitions; those let go early are counted.',
  }),
  alignment: choice({
    variable: 'MILLRACE_ALIGNMENT',
    fallback: 'live',
    of: ['live', 'replay'],
    sentence: 'live: waits are bounded; replay: no event goes before all earlier ones, however long that takes.',
  }),
  commitEveryMs: whole({
    variable: 'MILLRACE_COMMIT_EVERY_MS',
    fallback: 10,
    unit: 'ms',
    min: 0,
    max: 10_000,
    sentence: 'Least time between two transactions while there is no backlog.',
  }),
  sessionTimeoutMs: whole({
    variable: 'MILLRACE_SESSION_TIMEOUT_MS',
    fallback: 10_000,
    unit: 'ms',
    min: 6_000,
    max: 300_000,
    sentence: 'How long a process may be silent before its tasks go to others.',
  }),
} as const

type Table = typeof settingsTable

/** Parsed and deep-frozen. Null or empty where a setting without default is not set. */
export type Config = { readonly [K in keyof Table]: Table[K] extends Setting<infer T> ? T : never }
