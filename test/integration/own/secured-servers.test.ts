/**
 * TLS, SASL and access control switched on: the whole path through a Kafka and a Redis that admit no other users, and the errors when
 * something does not fit. Each right by itself is tried in `rights.test.ts`.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { kafkaRights, redisRights } from '../../../runtime/rights.ts'
import { call } from '../../cli/call.ts'
import { startCommand } from '../../support/command.ts'
import {
  allowInKafka,
  namespace,
  passwords,
  redisUser,
  type SecuredServers,
  securedEnvironment,
  startSecuredServers,
} from '../../support/secured-servers.ts'

const definition = 'pipelines/card-fraud.ts'
const pipeline = `${namespace}.card-fraud`
const folder = mkdtempSync(join(tmpdir(), 'millrace-secured-'))
const commands = redisRights.map(({ command }) => command)
let servers: SecuredServers

beforeAll(async () => {
  servers = await startSecuredServers(folder, resolve('.millrace/cache'), [
    redisUser('millrace', `{${pipeline}.*`, commands),
    redisUser('elsewhere', '{other.*', commands),
    redisUser('no-scripts', `{${pipeline}.*`, ['info', 'ping']),
  ])
  await allowInKafka(servers, 'millrace', kafkaRights)
})
afterAll(async () => {
  await servers?.close()
  rmSync(folder, { recursive: true, force: true })
})

const environment = (changed: Readonly<Record<string, string>> = {}) => securedEnvironment(servers, changed)

async function untilPredicted(url: string): Promise<number> {
  for (let tries = 0; tries < 600; tries++) {
    const text = await (await fetch(`${url}/metrics`)).text()
    const count = Number(/^millrace_predictions_total\{model="none"\} (\d+)/m.exec(text)?.[1] ?? 0)
    if (count >= 300) return count
    await new Promise((wake) => setTimeout(wake, 100))
  }
  throw new Error('not 300 predictions after a minute')
}

test('topics, events, predictions and features over HTTP', { timeout: 180_000 }, async () => {
  const run = startCommand(['run', definition, '--create-topics'], environment())
  await run.printed('Features, health and metrics: http')
  const url = /metrics: (http\S+)/.exec(run.output())![1]!
  const hours = ['--source', 'handbook', '--until', '2018-04-01T03:00:00Z']
  const produced = await call(['produce', definition, ...hours], {
    env: environment({ KAFKA_SASL_MECHANISM: 'plain' }),
  })
  expect(produced).toMatchObject({ code: 0 })
  expect(await untilPredicted(url)).toBeGreaterThanOrEqual(300)
  const tail = await call(['tail', definition, 'predictions', '--from', 'start', '--count', '1', '--json'], {
    env: environment({ KAFKA_SASL_MECHANISM: 'scram-sha-256' }),
  })
  expect(tail.code).toBe(0)
  const { id } = JSON.parse(tail.out[0]!) as { id: string }
  expect(id).toMatch(/\d/)
  const customers = Array.from({ length: 100 }, (_, customer) => String(customer))
  const asked = await call(['features', definition, 'customer', ...customers, '--url', url, '--json'], {
    env: environment(),
  })
  const { items } = JSON.parse(asked.out.join('\n')) as { items: Array<{ found: boolean }> }
  expect(items.filter(({ found }) => found).length).toBeGreaterThan(0)
  run.child.kill('SIGTERM')
  expect(await run.exitCode, run.output()).toBe(0)
})

describe('what does not fit ends the command with one sentence', () => {
  const run = async (changed: Readonly<Record<string, string>>, left: readonly string[] = []) => {
    const given = environment(changed)
    for (const variable of left) delete given[variable]
    const { code, err } = await call(['run', definition], { env: given })
    expect(code, err.join('\n')).toBe(1)
    return err.find((line) => line.startsWith('error: '))
  }

  test.each(['plain', 'scram-sha-256', 'scram-sha-512'])('Kafka: a wrong password by %s', async (mechanism) => {
    expect(await run({ KAFKA_SASL_MECHANISM: mechanism, KAFKA_SASL_PASSWORD: 'guess' })).toMatch(
      /^error: Kafka at 127\.0\.0\.1:\d+ refused this process: SASL (PLAIN|SCRAM SHA256|SCRAM SHA512) authentication failed: /,
    )
  })

  test('Kafka: a user without rights', async () => {
    const stranger = { KAFKA_SASL_USERNAME: 'stranger', KAFKA_SASL_PASSWORD: passwords.stranger }
    expect(await run(stranger)).toMatch(
      /^error: Kafka does not describe topic secured\.\S+: TOPIC_AUTHORIZATION_FAILED \(the right Read is missing\)\.$/,
    )
  })

  test('Kafka: an authority that is not known', async () => {
    expect(await run({ KAFKA_TLS_CA_FILE: servers.certificates.otherCa })).toMatch(
      /^error: Kafka at 127\.0\.0\.1:\d+ shows a certificate that is not accepted: self-signed certificate in certificate chain\.$/,
    )
  })

  test('Kafka: no client certificate', async () => {
    expect(await run({}, ['KAFKA_TLS_CERT_FILE', 'KAFKA_TLS_KEY_FILE'])).toMatch(
      /^error: Kafka at 127\.0\.0\.1:\d+ refused the TLS connection: .*bad certificate/,
    )
  })

  test('Kafka: no TLS on a port that expects it', async () => {
    const tls = ['KAFKA_TLS', 'KAFKA_TLS_CA_FILE', 'KAFKA_TLS_CERT_FILE', 'KAFKA_TLS_KEY_FILE']
    expect(await run({}, tls)).toMatch(/^error: Kafka at 127\.0\.0\.1:\d+ uses TLS on this port: set KAFKA_TLS=on\.$/)
  })

  test('Kafka: no login, or a login where none is known', async () => {
    const sasl = ['KAFKA_SASL_MECHANISM', 'KAFKA_SASL_USERNAME', 'KAFKA_SASL_PASSWORD']
    expect(await run({}, sasl)).toContain('this port expects KAFKA_SASL_MECHANISM')
    const tls = ['KAFKA_TLS', 'KAFKA_TLS_CA_FILE', 'KAFKA_TLS_CERT_FILE', 'KAFKA_TLS_KEY_FILE']
    expect(await run({ KAFKA_BROKERS: servers.kafkaPlaintext }, tls)).toContain(
      'does not accept this login (SASL scram-sha-512 without TLS)',
    )
  })

  test('Redis: a wrong password', async () => {
    expect(await run({ REDIS_PASSWORD: 'guess' })).toMatch(
      /^error: Redis at 127\.0\.0\.1:\d+ refused connect: WRONGPASS /,
    )
  })

  test('Redis: an authority that is not known', async () => {
    expect(await run({ REDIS_TLS_CA_FILE: servers.certificates.otherCa })).toMatch(
      /^error: Redis at 127\.0\.0\.1:\d+ shows a certificate that is not accepted: self-signed/,
    )
  })

  test('Redis: no TLS on a port that expects it, no client certificate', async () => {
    const tls = ['REDIS_TLS_CA_FILE', 'REDIS_TLS_CERT_FILE', 'REDIS_TLS_KEY_FILE']
    expect(await run({ REDIS_URL: `redis://${servers.redisTls}` }, tls)).toMatch(
      /^error: Redis at 127\.0\.0\.1:\d+ speaks TLS on this port: write rediss:\/\/ in REDIS_URL\.$/,
    )
    // Whether the alert of TLS 1.3 arrives before the connection closes is a race.
    expect(await run({}, tls.slice(1))).toMatch(/refused the TLS connection|expects a client certificate/)
  })

  test('Redis: a database that the user may not select', async () => {
    expect(await run({ REDIS_URL: `rediss://${servers.redisTls}/1` })).toMatch(
      /refused SELECT: NOPERM .*'select' command/,
    )
  })

  test.each([
    ['elsewhere', /refused EVAL: NOPERM|lacks the rights to GET, MGET, SET, APPEND, DEL on/],
    ['no-scripts', /refused EVAL: NOPERM .*'eval' command/],
  ])('Redis: the user %s, who lacks a right', async (user, sentence) => {
    expect(await run({ REDIS_USERNAME: user })).toMatch(sentence)
  })
})
