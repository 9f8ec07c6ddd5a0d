import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { Redis } from 'ioredis'
import { ConfigResourceTypes, Kafka, logLevel } from 'kafkajs'
import { describe, expect, onTestFinished, test } from 'vitest'
import { findJava } from '../../runtime/servers/kafka-jars.ts'
import { stopLeftovers } from '../../runtime/servers/leftovers.ts'
import { startLocalRedis } from '../../runtime/servers/local-redis.ts'
import { findServers } from '../../runtime/servers/local-servers.ts'
import { listProcesses } from '../../runtime/servers/processes.ts'
import { startServer } from '../../runtime/servers/start-server.ts'
import { failureOf } from '../support/failure-of.ts'

const repository = resolve(import.meta.dirname, '../..')
const quiet = (): void => undefined

/** A folder of its own that shares the checkout's fetched programs, so that nothing is fetched again. */
async function ownFolder(): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'millrace servers-')))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const cache = join(repository, '.millrace', 'cache')
  await mkdir(cache, { recursive: true })
  await symlink(cache, join(folder, 'cache'))
  return folder
}

async function withAdmin<T>(brokers: string, use: (admin: ReturnType<Kafka['admin']>) => Promise<T>): Promise<T> {
  const admin = new Kafka({ brokers: brokers.split(','), logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  try {
    return await use(admin)
  } finally {
    await admin.disconnect()
  }
}

async function withRedis<T>(url: string, use: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url, { retryStrategy: () => null })
  try {
    return await use(redis)
  } finally {
    redis.disconnect()
  }
}

/** The processes whose command line names the folder: servers and their guards. */
async function processesOf(folder: string): Promise<string[]> {
  const listed = await listProcesses(process.env)
  if (listed === undefined) throw new Error('These tests need ps')
  return listed.filter((one) => one.command.includes(folder)).map((one) => `${one.pid} ${one.command.slice(0, 80)}`)
}

/** Polls until the answer is right or the time is over; returns the last answer. */
async function eventually<T>(ask: () => Promise<T>, right: (answer: T) => boolean, withinMs: number): Promise<T> {
  const endMs = performance.now() + withinMs
  for (;;) {
    const answer = await ask()
    if (right(answer) || performance.now() > endMs) return answer
    await new Promise((wake) => setTimeout(wake, 100))
  }
}

function listens(port: number): Promise<boolean> {
  return new Promise((answer) => {
    const socket = connect({ port, host: '127.0.0.1' })
    socket.once('connect', () => {
      socket.destroy()
      answer(true)
    })
    socket.once('error', () => answer(false))
  })
}

const portOf = (address: string): number => Number(/:(\d+)$/.exec(address)?.[1])

const noJava = await findJava(process.env).then(
  () => undefined,
  (error: unknown) => String(error),
)

describe.skipIf(noJava !== undefined)(`local servers${noJava === undefined ? '' : ` (left out: ${noJava})`}`, () => {
  test('kept servers: one start at a time, and the next one finds its ports, topics and keys again', async () => {
    const folder = await ownFolder()
    const lines: string[] = []
    const first = await findServers({ servers: 'local', folder, printLine: (line) => lines.push(line) })
    onTestFinished(() => first.close())
    expect(lines).toContainEqual(
      expect.stringMatching(/^Kafka 4\.1\.0 \(jars, Java \d+.*\) at 127\.0\.0\.1:\d+, log .*kafka\.log$/),
    )
    expect(lines).toContainEqual(
      expect.stringMatching(/^(Redis|Valkey) [\d.]+ \(.*\) at redis:\/\/127\.0\.0\.1:\d+, log .*redis\.log$/),
    )
    await withAdmin(first.kafkaBrokers, async (admin) => {
      await admin.createTopics({ topics: [{ topic: 'kept', numPartitions: 3 }] })
    })
    await withRedis(first.redisUrl, (redis) => redis.set('kept', 'yes'))

    const second = await failureOf(findServers({ servers: 'local', folder, printLine: quiet }))
    expect(second.code).toBe('server_failed')
    expect(second.message).toContain(
      `The local servers of ${join(folder, 'servers')} are in use by process ${process.pid}.`,
    )

    const closing = first.close()
    expect(first.close()).toBe(closing)
    await closing
    expect(await processesOf(folder)).toEqual([])
    expect(await listens(portOf(first.kafkaBrokers))).toBe(false)
    expect(await listens(portOf(first.redisUrl))).toBe(false)

    const again = await findServers({ servers: 'local', folder, printLine: quiet })
    onTestFinished(() => again.close())
    expect([again.kafkaBrokers, again.redisUrl]).toEqual([first.kafkaBrokers, first.redisUrl])
    const topics = await withAdmin(again.kafkaBrokers, (admin) => admin.fetchTopicMetadata({ topics: ['kept'] }))
    expect(topics.topics[0]?.partitions).toHaveLength(3)
    expect(await withRedis(again.redisUrl, (redis) => redis.get('kept'))).toBe('yes')
    await again.close()
    expect((await readdir(join(folder, 'servers'))).sort()).toEqual([
      'kafka',
      'kafka.log',
      'kafka.properties',
      'ports.json',
      'redis',
      'redis.conf',
      'redis.log',
    ])
  })

  test('ephemeral servers: the settings hold, an unexpected exit is reported, nothing is left', async () => {
    const folder = await ownFolder()
    const lines: string[] = []
    const servers = await findServers({ folder, ephemeral: true, printLine: (line) => lines.push(line) })
    onTestFinished(() => servers.close())
    const wanted = {
      'auto.create.topics.enable': 'false',
      'log.message.timestamp.type': 'LogAppendTime',
      'group.min.session.timeout.ms': '500',
      'message.max.bytes': '1048588',
      'transaction.max.timeout.ms': '900000',
    }
    const resource = { type: ConfigResourceTypes.BROKER, name: '1', configNames: Object.keys(wanted) }
    const described = await withAdmin(servers.kafkaBrokers, (admin) =>
      admin.describeConfigs({ includeSynonyms: false, resources: [resource] }),
    )
    const entries = described.resources[0]?.configEntries ?? []
    expect(Object.fromEntries(entries.map((entry) => [entry.configName, entry.configValue]))).toEqual(wanted)
    await withRedis(servers.redisUrl, async (redis) => {
      expect(await redis.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction'])
      expect(await redis.config('GET', 'appendonly')).toEqual(['appendonly', 'no'])
      expect(await redis.config('GET', 'save')).toEqual(['save', ''])
      redis.on('error', quiet)
      await redis.call('SHUTDOWN', 'NOSAVE').catch(quiet)
    })
    const endings = await eventually(
      async () => lines.filter((line) => line.includes('ended by itself')),
      (lines) => lines.length > 0,
      5_000,
    )
    expect(endings).toEqual([
      expect.stringMatching(/at redis:\/\/127\.0\.0\.1:\d+ ended by itself \(exit code 0\); its log is /),
    ])
    await servers.close()
    expect(await processesOf(folder)).toEqual([])
    expect(await readdir(folder)).toEqual(['cache'])
  })

  test('servers end with a parent that is killed -9, and the next start clears its folder away', async () => {
    const folder = await ownFolder()
    const script =
      "import { findServers } from './runtime/servers/local-servers.ts'\n" +
      `await findServers({ folder: ${JSON.stringify(folder)}, ephemeral: true, printLine: () => undefined })\n` +
      "console.log('up')\nsetInterval(() => undefined, 1_000)"
    const parent: ChildProcess = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', script], {
      cwd: repository,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    onTestFinished(() => void parent.kill('SIGKILL'))
    const lines = createInterface({ input: parent.stdout! })
    const first = await lines[Symbol.asyncIterator]().next()
    expect(first.value).toBe('up')
    const running = (await processesOf(folder)).filter((line) => !line.startsWith(`${parent.pid} `))
    expect(running.some((line) => line.includes('java'))).toBe(true)
    expect(running.some((line) => line.includes('redis-server') || line.includes('valkey-server'))).toBe(true)
    const gone = new Promise((end) => parent.once('exit', end))
    parent.kill('SIGKILL')
    await gone
    expect(
      await eventually(
        () => processesOf(folder),
        (left) => left.length === 0,
        20_000,
      ),
    ).toEqual([])
    expect(await readdir(folder)).toHaveLength(2)
    const next = await findServers({ kafkaBrokers: '127.0.0.1:1', folder, ephemeral: true, printLine: quiet })
    await next.close()
    expect(await readdir(folder)).toEqual(['cache'])
  })
})

describe('a server that does not come up', () => {
  const start = async (script: string, upMsMax: number) => {
    const folder = await ownFolder()
    return {
      name: 'Sham 1.0',
      address: '127.0.0.1:1',
      file: '/bin/sh',
      args: ['-c', script, folder],
      cwd: folder,
      environment: process.env,
      logPath: join(folder, 'sham.log'),
      groupPath: join(folder, 'sham.group'),
      stopGraceMs: 500,
      probe: () => Promise.reject(new Error('no answer')),
      upMsMax,
      printLine: quiet,
    }
  }

  test('because it ends: its exit code and the end of its log', async () => {
    const sham = await start('echo reading settings; echo "bad setting: colour" >&2; exit 3', 10_000)
    const failure = await failureOf(startServer(sham))
    expect(failure.code).toBe('server_failed')
    expect(failure.message).toBe(
      `Sham 1.0 ended before it answered at 127.0.0.1:1 (exit code 3). Its log ${sham.logPath} ends with:\n` +
        '  reading settings\n  bad setting: colour',
    )
    expect((failure.cause as Error).message).toBe('no answer')
  })

  test('because it never answers, and does not heed SIGTERM either: it is killed', async () => {
    const sham = await start('trap "" TERM; echo waiting; while :; do sleep 0.1; done', 300)
    const failure = await failureOf(startServer(sham))
    const what = 'Sham 1.0 did not answer at 127.0.0.1:1 within 0.3 s and was stopped.'
    const sentence = `${what} Its log ${sham.logPath} ends with:\n  waiting`
    // Some shells add that they saw it killed.
    expect(failure.message.slice(0, sentence.length)).toBe(sentence)
    expect(
      await eventually(
        () => processesOf(sham.cwd),
        (left) => left.length === 0,
        5_000,
      ),
    ).toEqual([])
    expect(existsSync(sham.groupPath)).toBe(false)
  })

  test('because its port is taken', async () => {
    const folder = await ownFolder()
    const other = createServer((socket) => void socket.destroy())
    await new Promise<void>((up) => other.listen(0, '127.0.0.1', up))
    onTestFinished(() => void other.close())
    const { port } = other.address() as { port: number }
    const setup = {
      folder,
      cacheFolder: join(folder, 'cache'),
      ephemeral: true,
      environment: process.env,
      printLine: quiet,
    }
    const failure = await failureOf(startLocalRedis(setup, port))
    expect(failure.code).toBe('port_in_use')
    expect(failure.message).toMatch(
      /\(redis:\/\/127\.0\.0\.1:\d+\) could not listen on a port chosen for it: another process took it\. /,
    )
  })
})

test('a server that lost its guard is stopped at the next start, and only if it is ours', async () => {
  const folder = await ownFolder()
  const groups: number[] = []
  for (const command of [`sleep 300; : ${folder}`, 'sleep 300; : other']) {
    const child = spawn('/bin/sh', ['-c', command], { detached: true, stdio: 'ignore' })
    onTestFinished(() => void child.kill('SIGKILL'))
    groups.push(child.pid!)
    await writeFile(join(folder, `${groups.length}.group`), `${child.pid}\n`)
  }
  const lines: string[] = []
  await stopLeftovers(folder, { environment: process.env, printLine: (line) => lines.push(line) })
  expect(lines).toEqual([
    'Stopped a server that a former start left behind ' +
      `(process group ${groups[0]}, noted in ${join(folder, '1.group')})`,
  ])
  expect(await processesOf(folder)).toEqual([])
  expect((await processesOf('sleep 300; : other')).some((line) => line.startsWith(`${groups[1]} `))).toBe(true)
  expect(await readdir(folder)).toEqual(['cache'])
})

test('without ps the failure names what is unknown', async () => {
  const folder = await ownFolder()
  const child = spawn('/bin/sh', ['-c', 'sleep 300; :'], { detached: true, stdio: 'ignore' })
  onTestFinished(() => void child.kill('SIGKILL'))
  await writeFile(join(folder, 'kafka.group'), `${child.pid}\n`)
  const failure = await failureOf(stopLeftovers(folder, { environment: { PATH: folder }, printLine: quiet }))
  expect(failure.code).toBe('server_failed')
  expect(failure.message).toMatch(/^Process group \d+, noted in .*kafka\.group, may be a server of a former start/)
  expect(await readFile(join(folder, 'kafka.group'), 'utf8')).toBe(`${child.pid}\n`)
})
