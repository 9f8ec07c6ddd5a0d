/**
 * The rights of docs/security.md on a real Kafka and Redis with access control: a whole pipeline runs with exactly these, every other
 * command with those that it is documented to need, and where one is missing, a rebuild fails before anything is changed.
 */
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type KafkaRight, kafkaRights, type RedisRight, redisRights } from '../../../runtime/rights.ts'
import { call } from '../../cli/call.ts'
import { click, refund } from '../../support/clicks.ts'
import { type Command, startCommand } from '../../support/command.ts'
import {
  allowInKafka,
  namespace,
  passwords,
  redisUser,
  type SecuredServers,
  securedEnvironment,
  startSecuredServers,
} from '../../support/secured-servers.ts'

const definition = 'test/cli/fixtures/clicks.ts'
const keys = `{${namespace}.clicks.*`
const folder = mkdtempSync(join(tmpdir(), 'millrace-rights-'))
/** As the commands write them in `neededBy`. */
const kafkaNeeds = (...commands: string[]): KafkaRight[] =>
  kafkaRights.filter(({ neededBy }: KafkaRight) => commands.some((command) => neededBy.includes(command)))
const redisNeeds = (command: string) =>
  redisRights.filter(({ neededBy }: RedisRight) => neededBy.includes(command)).map((right) => right.command)
const limited = { KAFKA_SASL_USERNAME: 'limited', KAFKA_SASL_PASSWORD: passwords.limited }
let servers: SecuredServers

beforeAll(async () => {
  const all = redisRights.map(({ command }) => command)
  servers = await startSecuredServers(folder, resolve('.millrace/cache'), [
    redisUser('millrace', keys, all),
    redisUser('doctor', keys, redisNeeds('doctor')),
    ...all.map((missing) =>
      redisUser(
        `without-${missing}`,
        keys,
        all.filter((command) => command !== missing),
      ),
    ),
    `user admin on >${passwords.admin} ~* +@all`,
  ])
  await allowInKafka(servers, 'millrace', kafkaRights)
})
afterAll(async () => {
  await servers?.close()
  rmSync(folder, { recursive: true, force: true })
})

const environment = (changed: Readonly<Record<string, string>> = {}) =>
  securedEnvironment(servers, {
    MILLRACE_WORKER: 'worker',
    MILLRACE_FOLDER: folder,
    MILLRACE_TRAINER_PORT: '0',
    ...changed,
  })

/** Clicks of three hours, every tenth refunded; an hour after a click its label is due. One is dead-lettered. */
function eventsFile(): string {
  const events = Array.from({ length: 200 }, (_, i) => [
    click(`c${i}`, `u${i % 7}`, 54 * i, { amount: i === 150 ? 13 : 1 + (i % 9), page: `p${i % 3}` }),
    refund(`c${i - (i % 10)}`, `u${(i - (i % 10)) % 7}`, 54 * i, { clickedAt: 54 * (i - (i % 10)) }),
  ]).flat()
  const file = join(folder, 'events.jsonl')
  writeFileSync(file, events.map(({ stream, values }) => `${JSON.stringify({ stream, ...values })}\n`).join(''))
  return file
}

/** Runs a command with the rights of its column, of those in `more` as well. */
async function withRightsOf(command: string, args: readonly string[], more: readonly string[] = []): Promise<string> {
  await allowInKafka(servers, 'limited', kafkaNeeds(command, ...more))
  const { code, out, err } = await call(args, { env: environment({ ...limited, REDIS_USERNAME: 'doctor' }) })
  expect(code, [args.join(' '), ...out, ...err].join('\n')).toBe(0)
  return out.join('\n')
}

async function started(args: readonly string[], changed: Readonly<Record<string, string>> = {}): Promise<Command> {
  const command = startCommand(args, environment(changed))
  await command.printed('health and metrics: http')
  return command
}

async function stopped(command: Command): Promise<void> {
  command.child.kill('SIGTERM')
  expect(await command.exitCode, command.output()).toBe(0)
}

/** Everything in Redis but who owns it, values by their hashes. */
async function stored(): Promise<Record<string, string>> {
  const { ca, clientCert, clientKey } = servers.certificates
  const [certificate, key, authority] = [clientCert, clientKey, ca].map((path) => readFileSync(path))
  const tls = { ca: authority!, cert: certificate!, key: key! }
  const redis = new Redis(`rediss://${servers.redisTls}`, {
    tls,
    username: 'admin',
    password: passwords.admin,
    retryStrategy: null,
  })
  try {
    const names = (await redis.keys('*')).filter((name) => !name.endsWith(':owner')).sort()
    const values = await Promise.all(names.map((name) => redis.getBuffer(name)))
    return Object.fromEntries(names.map((name, i) => [name, createHash('sha256').update(values[i]!).digest('hex')]))
  } finally {
    redis.disconnect()
  }
}

test('a pipeline runs with the documented rights, and every command with those of its column', {
  timeout: 180_000,
}, async () => {
  await withRightsOf('topics', ['topics', definition, '--create'], ['topics --create'])
  await allowInKafka(servers, 'runner', kafkaNeeds('run'))
  const runner = { KAFKA_SASL_USERNAME: 'runner', KAFKA_SASL_PASSWORD: passwords.runner }
  const run = await started(['run', definition], runner)
  const url = /metrics: (http\S+)/.exec(run.output())![1]!

  await withRightsOf('produce', ['produce', definition, '--source', eventsFile()])
  const answer = await fetch(`${url}/streams/clicks/events`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(click('over-http', 'u1', 54 * 200).values),
  })
  expect(answer.status, await answer.text()).toBeLessThan(300)
  await vi.waitFor(
    async () =>
      expect(await (await fetch(`${url}/metrics`)).text()).toMatch(/^millrace_predictions_total\S* (199|200)$/m),
    { timeout: 60_000, interval: 100 },
  )

  await withRightsOf('topics', ['topics', definition])
  await withRightsOf('doctor', ['doctor', definition])
  await withRightsOf('plan', ['plan', definition])
  await withRightsOf('audit', ['audit', definition, '--once'])
  await withRightsOf('tail', ['tail', definition, 'predictions', '--from', 'start', '--count', '1'])
  await withRightsOf('data', ['data', definition])
  await withRightsOf('features', ['features', definition, 'user', 'u1', '--url', url])
  await withRightsOf('rejected', ['rejected', 'list', definition, '--from', 'start'])
  await withRightsOf('rejected', ['rejected', 'replay', definition, '--all'], ['rejected replay'])
  await withRightsOf('train', ['train', definition])
  await withRightsOf('train', ['train', definition])
  await withRightsOf('models', ['models', 'list', definition])
  await withRightsOf('models', ['models', 'show', definition, 'v1'])
  await withRightsOf('models', ['models', 'promote', definition, 'v1'], ['models promote'])
  await withRightsOf('models', ['models', 'rollback', definition], ['models rollback'])
  await allowInKafka(servers, 'limited', kafkaNeeds('trainer'))
  await stopped(await started(['trainer', definition], limited))
  expect(await withRightsOf('workers', ['workers', 'list', definition])).toContain('worker')
  await withRightsOf('workers', ['workers', 'remove', definition, 'worker'], ['workers remove'])
  await stopped(run)
})

describe('a rebuild', () => {
  const refused = async (args: readonly string[], changed: Readonly<Record<string, string>>) => {
    const before = await stored()
    expect(Object.keys(before).length).toBeGreaterThan(4)
    const { code, err } = await call(args, { env: environment(changed) })
    expect(code, err.join('\n')).toBe(1)
    expect(await stored()).toEqual(before)
    return err.find((line) => line.startsWith('error: '))
  }

  test.each(redisRights.map(({ command }) => command))('without %s in Redis changes nothing', async (command) => {
    const sentence = await refused(['run', definition, '--rebuild'], { REDIS_USERNAME: `without-${command}` })
    const named = command.toUpperCase()
    expect(sentence).toMatch(
      new RegExp(
        `lacks the rights to ${named} on keys like \\{secured|refused ${named}\\b.*: NOPERM .*'${command}' command`,
      ),
    )
  })

  test.each(kafkaNeeds('run').map((right) => ({ ...right })))(
    'without $operation on $resource in Kafka changes nothing',
    async ({ resource, operation }) => {
      // Of run alone: AlterConfigs, which another command needs, would imply DescribeConfigs.
      const rest = kafkaNeeds('run').filter((right) => right.resource !== resource || right.operation !== operation)
      await allowInKafka(servers, 'limited', rest)
      const sentence = await refused(['run', definition, '--rebuild'], limited)
      expect(sentence).toMatch(
        new RegExp(`lacks the rights to ${operation} on secured|the right ${operation} is missing`),
      )
      expect(sentence).toContain(`${namespace}.clicks`)
    },
  )

  test('without Create in Kafka makes no topic', async () => {
    await allowInKafka(
      servers,
      'limited',
      kafkaRights.filter(({ operation }) => operation !== 'Create'),
    )
    const elsewhere = { ...limited, MILLRACE_NAMESPACE: `${namespace}-new` }
    expect(await refused(['run', definition, '--create-topics', '--rebuild'], elsewhere)).toMatch(
      /did not create topic secured-new\.\S+: .*\(the right Create is missing\)/,
    )
  })

  test('with all of them folds the state again', async () => {
    const positions = async () =>
      Object.fromEntries(Object.entries(await stored()).filter(([name]) => name.endsWith(':position')))
    const before = await positions()
    expect(Object.keys(before).length).toBeGreaterThan(2)
    const run = await started(['run', definition, '--rebuild'])
    await vi.waitFor(async () => expect(await positions()).toEqual(before), { timeout: 30_000, interval: 100 })
    await stopped(run)
  })
})
