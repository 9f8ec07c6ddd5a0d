/** Settings about TLS, users and passwords: which require each other, what files must hold, the options of clients, what is never shown. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { configInForce, parseConfig } from '../../runtime/config/config.ts'
import { kafkaSecurity, redisSecurity } from '../../runtime/config/security.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { type Certificates, makeCertificates } from '../support/certificates.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-security-'))
let pem: Certificates

beforeAll(async () => {
  pem = await makeCertificates(folder)
})
afterAll(() => rmSync(folder, { recursive: true }))

function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

function faultsOf(environment: Record<string, string>): string[] {
  try {
    parseConfig(environment)
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error
    expect(error.code).toBe('config_invalid')
    return error.message.split('\n').slice(1)
  }
  return []
}

const kafka = { KAFKA_BROKERS: 'kafka:9093' }
const redis = { REDIS_URL: 'rediss://redis:6380' }

describe('what clients are given', () => {
  test('Kafka: nothing without settings', () => {
    expect(kafkaSecurity(parseConfig(kafka))).toEqual({})
  })

  test('Kafka: TLS with authority, certificate and key; a login with the password of a file', () => {
    const environment = {
      ...kafka,
      KAFKA_TLS: 'on',
      KAFKA_TLS_CA_FILE: pem.ca,
      KAFKA_TLS_CERT_FILE: pem.clientCert,
      KAFKA_TLS_KEY_FILE: pem.clientKey,
      KAFKA_SASL_MECHANISM: 'scram-sha-512',
      KAFKA_SASL_USERNAME: 'millrace',
      KAFKA_SASL_PASSWORD_FILE: file('password', 'grind wheat\n'),
    }
    expect(kafkaSecurity(parseConfig(environment))).toEqual({
      ssl: {
        ca: expect.stringContaining('BEGIN CERTIFICATE'),
        cert: expect.stringContaining('BEGIN CERTIFICATE'),
        key: expect.stringContaining('PRIVATE KEY'),
      },
      sasl: { mechanism: 'scram-sha-512', username: 'millrace', password: 'grind wheat' },
    })
  })

  test('Kafka: any name of a broker is accepted only when the check is off', () => {
    const { ssl } = kafkaSecurity(parseConfig({ ...kafka, KAFKA_TLS: 'on', KAFKA_TLS_SERVER_NAME_CHECK: 'off' }))
    expect(ssl?.checkServerIdentity?.('elsewhere', {} as never)).toBeUndefined()
    expect(kafkaSecurity(parseConfig({ ...kafka, KAFKA_TLS: 'on' }))).toEqual({ ssl: {} })
  })

  test('Redis: a user, and TLS of a rediss:// address', () => {
    expect(redisSecurity(parseConfig(redis))).toEqual({})
    const environment = { ...redis, REDIS_USERNAME: 'millrace', REDIS_PASSWORD: 'grind', REDIS_TLS_CA_FILE: pem.ca }
    expect(redisSecurity(parseConfig(environment))).toEqual({
      tls: { ca: expect.stringContaining('BEGIN CERTIFICATE') },
      username: 'millrace',
      password: 'grind',
    })
    expect(redisSecurity(parseConfig({ ...redis, REDIS_PASSWORD: 'grind' }))).toEqual({ password: 'grind' })
  })
})

test('settings that lack their other half are all named at once', () => {
  const faults = faultsOf({
    REDIS_URL: 'redis://redis:6379',
    KAFKA_TLS_CA_FILE: pem.ca,
    KAFKA_TLS_CERT_FILE: pem.clientCert,
    KAFKA_SASL_MECHANISM: 'plain',
    REDIS_TLS_KEY_FILE: pem.clientKey,
    REDIS_USERNAME: 'millrace',
  })
  expect(faults).toEqual([
    '  KAFKA_TLS_CA_FILE: expected KAFKA_TLS=on beside it, received it alone',
    '  KAFKA_TLS_CERT_FILE: expected KAFKA_TLS=on beside it, received it alone',
    '  KAFKA_SASL_MECHANISM: expected KAFKA_BROKERS beside it, received it alone',
    '  KAFKA_TLS_CERT_FILE: expected KAFKA_TLS_KEY_FILE beside it, received it alone',
    '  KAFKA_SASL_MECHANISM: expected KAFKA_SASL_USERNAME beside it, received it alone',
    '  KAFKA_SASL_MECHANISM: expected KAFKA_SASL_PASSWORD or KAFKA_SASL_PASSWORD_FILE beside it, received it alone',
    '  REDIS_TLS_KEY_FILE: expected a REDIS_URL of rediss:// beside it, received redis://',
    '  REDIS_TLS_KEY_FILE: expected REDIS_TLS_CERT_FILE beside it, received it alone',
    '  REDIS_USERNAME: expected REDIS_PASSWORD or REDIS_PASSWORD_FILE beside it, received it alone',
  ])
})

test.each<[Record<string, string>, string[]]>([
  [
    { ...kafka, KAFKA_SASL_PASSWORD: 'x' },
    ['  KAFKA_SASL_PASSWORD: expected KAFKA_SASL_MECHANISM beside it, received it alone'],
  ],
  [{ KAFKA_TLS: 'on' }, ['  KAFKA_TLS: expected KAFKA_BROKERS beside it, received it alone']],
  [{ REDIS_PASSWORD: 'x' }, ['  REDIS_PASSWORD: expected REDIS_URL beside it, received it alone']],
  [
    { REDIS_URL: 'redis://me:secret@redis', REDIS_PASSWORD: 'x' },
    ['  REDIS_PASSWORD: expected either it or a user in REDIS_URL, received both'],
  ],
  [
    { ...kafka, KAFKA_SASL_MECHANISM: 'kerberos', KAFKA_SASL_USERNAME: 'u', KAFKA_SASL_PASSWORD: 'p' },
    ['  KAFKA_SASL_MECHANISM: expected one of plain, scram-sha-256, scram-sha-512, received kerberos'],
  ],
  [{ ...redis, REDIS_PASSWORD: 'two\nlines' }, ['  REDIS_PASSWORD: expected text without line breaks, received ***']],
])('refuses %o', (environment, expected) => {
  expect(faultsOf(environment)).toEqual(expected)
})

test('either a password or a file with it', () => {
  const password = file('one-line', 'secret')
  expect(faultsOf({ ...redis, REDIS_PASSWORD: 'x', REDIS_PASSWORD_FILE: password })).toEqual([
    '  REDIS_PASSWORD_FILE: expected either it or REDIS_PASSWORD, received both',
  ])
})

test('files that are not there or hold something else are faults with their path', () => {
  const empty = file('empty', '\n')
  const several = file('several', 'a\nb\n')
  const certificates = 'expected the path of a PEM file with certificates, received'
  const key = 'expected the path of a PEM file with a private key, received'
  const line = 'expected the path of a file that holds one line, received'
  const faults = faultsOf({
    ...kafka,
    ...redis,
    KAFKA_TLS: 'on',
    KAFKA_TLS_CA_FILE: join(folder, 'nowhere.pem'),
    KAFKA_TLS_CERT_FILE: pem.clientCert,
    KAFKA_TLS_KEY_FILE: pem.serverKey,
    KAFKA_SASL_MECHANISM: 'plain',
    KAFKA_SASL_USERNAME: 'me',
    KAFKA_SASL_PASSWORD_FILE: empty,
    REDIS_PASSWORD_FILE: several,
    REDIS_TLS_CA_FILE: pem.clientKey,
    REDIS_TLS_CERT_FILE: folder,
    REDIS_TLS_KEY_FILE: pem.clientCert,
  })
  expect(faults).toEqual([
    `  KAFKA_TLS_CA_FILE: ${certificates} ${folder}/nowhere.pem (there is no such file)`,
    `  KAFKA_SASL_PASSWORD_FILE: ${line} ${empty} (it is empty or holds several lines)`,
    `  REDIS_PASSWORD_FILE: ${line} ${several} (it is empty or holds several lines)`,
    `  REDIS_TLS_CA_FILE: ${certificates} ${pem.clientKey} (it holds no PEM block with certificates)`,
    expect.stringMatching(/^ {2}REDIS_TLS_CERT_FILE: .*\(it cannot be read: EISDIR/),
    `  REDIS_TLS_KEY_FILE: ${key} ${pem.clientCert} (it holds no PEM block with a private key)`,
    `  KAFKA_TLS_KEY_FILE: expected the key of the certificate in ${pem.clientCert}, not encrypted, ` +
      `received ${pem.serverKey} (the key of another certificate)`,
  ])
})

test('what holds, where it comes from, and no secret', () => {
  const rows = configInForce({
    ...kafka,
    REDIS_URL: 'redis://me:hush@redis:6379',
    KAFKA_SASL_MECHANISM: 'plain',
    KAFKA_SASL_USERNAME: 'me',
    KAFKA_SASL_PASSWORD: 'hush',
    MILLRACE_FOLDER: '',
  })
  const inForce = (wanted: string) => {
    const { value, from } = rows.find(({ variable }) => variable === wanted)!
    return [value, from]
  }
  expect(inForce('KAFKA_BROKERS')).toEqual(['kafka:9093', 'environment'])
  expect(inForce('REDIS_URL')).toEqual(['redis://***@redis:6379', 'environment'])
  expect(inForce('KAFKA_SASL_PASSWORD')).toEqual(['***', 'environment'])
  expect(inForce('MILLRACE_FOLDER')).toEqual(['.millrace', 'default'])
  expect(JSON.stringify(rows)).not.toContain('hush')
})
