/** `millrace start` and `verify` as somebody runs them who has Node and nothing else: one process, no servers. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { VerifyFigures } from '../../cli/proof/verify.ts'
import type { StartFigures } from '../../cli/start/start.ts'
import { ownFolder, readJson, startCommand } from '../support/command.ts'

/** No server is named, and nothing that could start one is on the PATH. */
function nodeOnly(folder: string) {
  const none = { PATH: folder, JAVA_HOME: '', KAFKA_BROKERS: '', REDIS_URL: '' }
  return { ...none, MILLRACE_HTTP_PORT: '0', MILLRACE_FOLDER: folder }
}

test('start falls back loudly where there are no servers, and shows the whole path', { timeout: 400_000 }, async () => {
  const folder = ownFolder()
  const file = join(folder, 'figures.json')
  const { child, output, exitCode, printed } = startCommand(
    ['start', '--days', '15', '--events', '4000', '--rate', '1000', '--json', file],
    nodeOnly(folder),
  )
  await printed('Features over HTTP')
  const [address] = /http:\/\/127\.0\.0\.1:(\d+)/.exec(output())!
  const response = await fetch(`${address}/features/customer/596`)
  expect(response.status).toBe(200)
  expect(await response.json()).toMatchObject({ entity: 'customer', key: '596' })
  expect(await (await fetch(`${address}/health/ready`)).json()).toMatchObject({ status: 'ready' })
  if (process.platform === 'linux') {
    expect(childrenOf(child.pid!)).toEqual([])
    expect(listeningPorts(child.pid!)).toEqual([Number(new URL(address).port)])
  }

  expect(await exitCode, output()).toBe(0)
  for (const expected of [
    'NO SERVERS: Kafka and Redis are not available here',
    'Why: Kafka needs Java, but there is no "java" on the PATH.',
    'There is no redis-server or valkey-server of version 7 or newer on the PATH',
    'Nothing is durable',
    'install Docker, or Java 17 with Maven; or set KAFKA_BROKERS and REDIS_URL',
    'While the model is fitted, nothing is scored and HTTP does not answer',
    'Model v1 is the champion now, the first one.',
  ]) {
    expect(output()).toContain(expected)
  }
  expect(output()).toMatch(/event \d+: 15 features, score 0\.\d{4} by v1/)
  const figures = readJson<StartFigures>(file)
  expect(figures.events).toBeGreaterThanOrEqual(4_000)
  expect(figures).toMatchObject({ predictions: figures.events, rejected: 0 })
  // There is nothing that a later --resume could continue with.
  expect(readdirSync(folder)).not.toContain('start.json')
})

test('start --embedded announces it in one line and stops at the first signal', { timeout: 400_000 }, async () => {
  const folder = ownFolder()
  const environment = { ...nodeOnly(folder), REDIS_URL: 'redis://127.0.0.1:1' }
  const { child, output, exitCode, printed } = startCommand(['start', '--embedded', '--days', '15'], environment)
  await printed('Warm-up')
  child.kill('SIGINT')
  expect(await exitCode, output()).toBe(0)
  // Before it, that types were not checked.
  const lines = output().split('\n')
  expect(lines[1]).toBe(
    'Embedded: broker and store are in the memory of this process; nothing is stored permanently. REDIS_URL is not used.',
  )
  expect(output()).toContain('Stopping. A second signal stops immediately.')
})

test('verify --embedded compares every vector with the replay', { timeout: 400_000 }, async () => {
  const folder = ownFolder()
  const file = join(folder, 'verify.json')
  const { output, exitCode } = startCommand(
    ['verify', 'pipelines/card-fraud.ts', '--embedded', '--until', '2018-04-02', '--json', file],
    nodeOnly(folder),
  )
  expect(await exitCode, output()).toBe(0)
  const figures = readJson<VerifyFigures>(file)
  expect(figures.events).toBeGreaterThan(9_000)
  expect(figures).toMatchObject({ compared: figures.events, differing: 0, missing: 0, doubled: 0 })
})

test.each([
  {
    name: 'half of the servers named, and no way to the other half',
    environment: { KAFKA_BROKERS: '127.0.0.1:1' },
    args: ['start'],
    code: 1,
    error:
      'error: KAFKA_BROKERS is set and REDIS_URL is not, and no Redis could be started here: There is no redis-server',
  },
  {
    name: 'the other half',
    environment: { REDIS_URL: 'redis://127.0.0.1:1' },
    args: ['start'],
    code: 1,
    error: 'error: REDIS_URL is set and KAFKA_BROKERS is not, and no Kafka could be started here: Kafka needs Java',
  },
  {
    name: 'a way to servers that was asked for',
    environment: { MILLRACE_SERVERS: 'local' },
    args: ['start'],
    code: 1,
    error: 'error: Kafka needs Java, but there is no "java" on the PATH.',
  },
  {
    name: '--embedded with --resume',
    environment: {},
    args: ['start', '--embedded', '--resume'],
    code: 2,
    error: 'error: --resume continues with the data on the servers of the last start; --embedded has no servers',
  },
  {
    name: 'run, which never does without servers',
    environment: {},
    args: ['run', 'pipelines/card-fraud.ts', '--local'],
    code: 1,
    error: 'error: Kafka needs Java, but there is no "java" on the PATH.',
  },
])('no fallback: $name', { timeout: 120_000 }, async ({ environment, args, code, error }) => {
  const { output, exitCode } = startCommand(args, { ...nodeOnly(ownFolder()), ...environment })
  expect(await exitCode, output()).toBe(code)
  expect(output()).toContain(error)
  expect(output()).not.toContain('NO SERVERS')
})

/** Programs that the process has started; the one that compiles TypeScript for it, where its cache is cold, is no part of it. */
function childrenOf(pid: number): string[] {
  const threads = readdirSync(`/proc/${pid}/task`)
  const pids = threads.flatMap(
    (thread) => readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').match(/\d+/g) ?? [],
  )
  return pids.map((child) => readFileSync(`/proc/${child}/comm`, 'utf8').trim()).filter((name) => name !== 'esbuild')
}

/** Of the sockets that are the process's own. */
function listeningPorts(pid: number): number[] {
  const own = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`))
  const rows = ['tcp', 'tcp6'].flatMap((name) => readFileSync(`/proc/${pid}/net/${name}`, 'utf8').split('\n').slice(1))
  return rows
    .map((row) => row.trim().split(/\s+/))
    .filter(([, , , state, , , , , , inode]) => state === '0A' && own.includes(`socket:[${inode}]`))
    .map(([, local]) => Number.parseInt(local!.split(':')[1]!, 16))
}
