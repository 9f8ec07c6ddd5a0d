/**
 * Rules between settings: those that are set come in, the faults of their combination go out. Called by `config.ts`.
 */
import { createPrivateKey, X509Certificate } from 'node:crypto'
import type { Config } from './config-table.ts'
import type { NamedFile } from './settings.ts'

export interface Fault {
  readonly variable: string
  readonly expected: string
  readonly received: string
}

/** `given`: the variables that are set. `values`: those that could be parsed. */
export function faultsTogether(given: ReadonlySet<string>, values: Partial<Config>): Fault[] {
  const has = (variable: string) => given.has(variable)
  const among = (...variables: string[]) => variables.filter(has)
  const needs = (variables: readonly string[], isMet: boolean, needed: string, received = 'it alone'): Fault[] =>
    isMet ? [] : variables.map((variable) => ({ variable, expected: `${needed} beside it`, received }))
  const both = (one: string, other: string): Fault[] => [
    ...needs(among(one), has(other), other),
    ...needs(among(other), has(one), one),
  ]
  const onePassword = (password: string, file: string): Fault[] =>
    has(password) && has(file) ? [{ variable: file, expected: `either it or ${password}`, received: 'both' }] : []

  const kafkaTlsParts = among(
    'KAFKA_TLS_CA_FILE',
    'KAFKA_TLS_CERT_FILE',
    'KAFKA_TLS_KEY_FILE',
    'KAFKA_TLS_SERVER_NAME_CHECK',
  )
  const sasl = among('KAFKA_SASL_USERNAME', 'KAFKA_SASL_PASSWORD', 'KAFKA_SASL_PASSWORD_FILE')
  const saslPassword = among('KAFKA_SASL_PASSWORD', 'KAFKA_SASL_PASSWORD_FILE')
  const mechanism = among('KAFKA_SASL_MECHANISM')
  const kafka = [
    ...needs(kafkaTlsParts, values.kafkaTls === 'on', 'KAFKA_TLS=on'),
    ...needs([...among('KAFKA_TLS'), ...mechanism], has('KAFKA_BROKERS'), 'KAFKA_BROKERS'),
    ...both('KAFKA_TLS_CERT_FILE', 'KAFKA_TLS_KEY_FILE'),
    ...pair('KAFKA_TLS_KEY_FILE', values.kafkaTlsCert, values.kafkaTlsKey),
    ...needs(mechanism, has('KAFKA_SASL_USERNAME'), 'KAFKA_SASL_USERNAME'),
    ...needs(mechanism, saslPassword.length > 0, 'KAFKA_SASL_PASSWORD or KAFKA_SASL_PASSWORD_FILE'),
    ...needs(sasl, mechanism.length > 0, 'KAFKA_SASL_MECHANISM'),
    ...onePassword('KAFKA_SASL_PASSWORD', 'KAFKA_SASL_PASSWORD_FILE'),
  ]

  const redisTlsParts = among('REDIS_TLS_CA_FILE', 'REDIS_TLS_CERT_FILE', 'REDIS_TLS_KEY_FILE')
  const redisPassword = among('REDIS_PASSWORD', 'REDIS_PASSWORD_FILE')
  const redisAcl = [...among('REDIS_USERNAME'), ...redisPassword]
  const url = values.redisUrl ?? null
  const isTls = url?.startsWith('rediss://') ?? false
  const redis = [
    ...needs(redisTlsParts, isTls, 'a REDIS_URL of rediss://', url === null ? 'none' : 'redis://'),
    ...both('REDIS_TLS_CERT_FILE', 'REDIS_TLS_KEY_FILE'),
    ...pair('REDIS_TLS_KEY_FILE', values.redisTlsCert, values.redisTlsKey),
    ...needs(redisAcl, has('REDIS_URL'), 'REDIS_URL'),
    ...needs(among('REDIS_USERNAME'), redisPassword.length > 0, 'REDIS_PASSWORD or REDIS_PASSWORD_FILE'),
    ...onePassword('REDIS_PASSWORD', 'REDIS_PASSWORD_FILE'),
    ...(url !== null && URL.canParse(url) && hasUser(url)
      ? redisAcl.map((variable) => ({ variable, expected: `either it or a user in REDIS_URL`, received: 'both' }))
      : []),
  ]
  return [...kafka, ...redis]
}

function hasUser(url: string): boolean {
  const { username, password } = new URL(url)
  return username !== '' || password !== ''
}

/** Checked at start, because a key of another certificate would otherwise only show with the first connection. */
function pair(keyVariable: string, certificate?: NamedFile | null, key?: NamedFile | null): Fault[] {
  if (!certificate || !key) return []
  const fault = (received: string): Fault[] => [
    { variable: keyVariable, expected: `the key of the certificate in ${certificate.path}, not encrypted`, received },
  ]
  try {
    const isPair = new X509Certificate(certificate.text).checkPrivateKey(createPrivateKey(key.text))
    return isPair ? [] : fault(`${key.path} (the key of another certificate)`)
  } catch (error) {
    return fault(`${key.path} (${(error as Error).message})`)
  }
}
