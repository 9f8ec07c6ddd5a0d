import { describe, expect, test } from 'vitest'
import { defaultWorkerLimits } from '../../processors/worker-limits.ts'
import { configTable, parseConfig } from '../../runtime/config/config.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'

function faultOf(environment: Record<string, string>): PipelineError {
  try {
    parseConfig(environment)
  } catch (error) {
    if (error instanceof PipelineError) return error
    throw error
  }
  throw new Error('nothing was refused')
}

describe('parseConfig', () => {
  test('has a default for everything', () => {
    expect(parseConfig({ PATH: '/bin' })).toEqual({
      typeCheck: 'on',
      kafkaBrokers: [],
      kafkaTls: 'off',
      kafkaTlsCa: null,
      kafkaTlsCert: null,
      kafkaTlsKey: null,
      kafkaTlsServerNameCheck: 'on',
      kafkaSaslMechanism: null,
      kafkaSaslUsername: null,
      kafkaSaslPassword: null,
      kafkaSaslPasswordFile: null,
      redisUrl: null,
      redisUsername: null,
      redisPassword: null,
      redisPasswordFile: null,
      redisTlsCa: null,
      redisTlsCert: null,
      redisTlsKey: null,
      schemaRegistryUrl: null,
      namespace: '',
      rawNamespace: null,
      worker: 'worker-1',
      httpHost: '127.0.0.1',
      httpPort: 8080,
      partitions: 4,
      logLevel: 'info',
      servers: 'auto',
      folder: '.millrace',
      holdMaxMs: 30_000,
      warmUpMs: 2_000,
      alignment: 'live',
      auditPort: 8081,
      trainerPort: 8082,
      commitEveryMs: 10,
      entityMbMax: 64,
      sessionTimeoutMs: 10_000,
    })
  })

  test('defaults that the worker has too are the same', () => {
    const { holdMaxMs, commitEveryMs, sessionTimeoutMs } = parseConfig({})
    expect(defaultWorkerLimits).toMatchObject({ holdMaxMs, commitEveryMs, sessionTimeoutMs })
  })

  test('takes what is given, and an empty variable as not set', () => {
    const config = parseConfig({
      KAFKA_BROKERS: 'a.example:9092, [::1]:9093',
      REDIS_URL: 'rediss://user:secret@cache:6380',
      SCHEMA_REGISTRY_URL: 'https://user:secret@registry:8081/path',
      MILLRACE_NAMESPACE: 'test-1',
      MILLRACE_HTTP_PORT: '0',
      MILLRACE_LOG_LEVEL: 'silent',
      MILLRACE_FOLDER: '',
    })
    expect(config).toMatchObject({
      kafkaBrokers: ['a.example:9092', '[::1]:9093'],
      redisUrl: 'rediss://user:secret@cache:6380',
      schemaRegistryUrl: 'https://user:secret@registry:8081/path',
      namespace: 'test-1',
      httpPort: 0,
      logLevel: 'silent',
      folder: '.millrace',
    })
  })

  test('is frozen all through', () => {
    const config = parseConfig({ KAFKA_BROKERS: 'a:1' })
    expect(Object.isFrozen(config) && Object.isFrozen(config.kafkaBrokers)).toBe(true)
  })

  test('reports all faults together, without passwords', () => {
    const error = faultOf({
      KAFKA_BROKERS: 'localhost',
      REDIS_URL: 'http://me:secret@cache:80',
      SCHEMA_REGISTRY_URL: 'https://me:s/e@c/r@et@registry:port',
      MILLRACE_PARTITIONS: '0',
      MILLRACE_HTTP_PORT: '65536',
      MILLRACE_NAMESPACE: 'a{b}',
      MILLRACE_LOG_LEVEL: 'loud',
      MILLRACE_HTTPPORT: '1',
    })
    expect(error.code).toBe('config_invalid')
    expect(error.message).toBe(
      [
        '8 settings are wrong:',
        '  KAFKA_BROKERS: expected host:port, several separated by commas, ports from 1 to 65535, received localhost',
        '  REDIS_URL: expected redis://host:port or rediss://host:port, received http://***@cache:80',
        '  SCHEMA_REGISTRY_URL: expected http://host:port or https://host:port, received https://***@registry:port',
        '  MILLRACE_NAMESPACE: expected 1 to 64 letters, digits, dots, dashes and underscores, the first a letter or digit, ' +
          'received a{b}',
        '  MILLRACE_HTTP_PORT: expected a whole number from 0 to 65535, received 65536',
        '  MILLRACE_PARTITIONS: expected a whole number from 1 to 1024, received 0',
        '  MILLRACE_LOG_LEVEL: expected one of debug, info, warn, error, silent, received loud',
        '  MILLRACE_HTTPPORT: expected a setting of Millrace; the nearest is MILLRACE_HTTP_PORT, received an unknown name',
      ].join('\n'),
    )
    expect(error.details.faults).toHaveLength(8)
  })

  test.each(['1.5', '-1', '1e3', ' 4', 'four', '99999999999'])('rejects %j as a whole number', (text) => {
    expect(faultOf({ MILLRACE_PARTITIONS: text }).message).toContain(`received ${text}`)
  })

  test.each(['a:0', 'a:70000', 'a:9092,', ':9092', 'kafka://a:9092', 'a b:9092'])('rejects %j as brokers', (text) => {
    expect(faultOf({ KAFKA_BROKERS: text }).message).toContain(`received ${text}`)
  })
})

test('the table has a row for each setting, in the order of the table', () => {
  const rows = configTable()
  expect(rows.map(({ variable }) => variable)).toEqual([
    'KAFKA_BROKERS',
    'KAFKA_TLS',
    'KAFKA_TLS_CA_FILE',
    'KAFKA_TLS_CERT_FILE',
    'KAFKA_TLS_KEY_FILE',
    'KAFKA_TLS_SERVER_NAME_CHECK',
    'KAFKA_SASL_MECHANISM',
    'KAFKA_SASL_USERNAME',
    'KAFKA_SASL_PASSWORD',
    'KAFKA_SASL_PASSWORD_FILE',
    'REDIS_URL',
    'REDIS_USERNAME',
    'REDIS_PASSWORD',
    'REDIS_PASSWORD_FILE',
    'REDIS_TLS_CA_FILE',
    'REDIS_TLS_CERT_FILE',
    'REDIS_TLS_KEY_FILE',
    'SCHEMA_REGISTRY_URL',
    'MILLRACE_NAMESPACE',
    'MILLRACE_RAW_NAMESPACE',
    'MILLRACE_WORKER',
    'MILLRACE_HTTP_HOST',
    'MILLRACE_HTTP_PORT',
    'MILLRACE_AUDIT_PORT',
    'MILLRACE_TRAINER_PORT',
    'MILLRACE_PARTITIONS',
    'MILLRACE_LOG_LEVEL',
    'MILLRACE_SERVERS',
    'MILLRACE_FOLDER',
    'MILLRACE_HOLD_MAX_MS',
    'MILLRACE_TYPE_CHECK',
    'MILLRACE_WARM_UP_MS',
    'MILLRACE_ALIGNMENT',
    'MILLRACE_COMMIT_EVERY_MS',
    'MILLRACE_ENTITY_MB_MAX',
    'MILLRACE_SESSION_TIMEOUT_MS',
  ])
  expect(rows.find(({ variable }) => variable === 'MILLRACE_HOLD_MAX_MS')).toEqual({
    variable: 'MILLRACE_HOLD_MAX_MS',
    type: 'whole number',
    default: '30000',
    unit: 'ms',
    sentence:
      'Longest time that an event waits for partitions or tasks that make no progress; events released early are counted.',
  })
  for (const { type, sentence } of rows) expect([type, sentence.endsWith('.')]).toEqual([expect.any(String), true])
})
