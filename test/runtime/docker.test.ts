/** Servers from Docker, with a program `docker` that plays an engine: it notes how it is called and answers as the test wants. */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { projectOf } from '../../runtime/servers/docker.ts'
import { type FindServersOptions, findServers } from '../../runtime/servers/local-servers.ts'
import { failureOf } from '../support/failure-of.ts'

interface Machine {
  readonly folder: string
  readonly lines: string[]
  find(options?: Partial<FindServersOptions>): ReturnType<typeof findServers>
  /** What followed `docker`, with the ports it was given. */
  calls(): string[]
}

const engine = 'version) echo 28.2.2;;'
const plugin = '"compose version") echo v2.38.1;;'

/** `cases`: branches of a shell's `case` over the first argument, or over the compose command. None: no docker at all. */
function machine(cases: readonly string[] | null): Machine {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-docker-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const [bin, log] = [join(folder, 'bin'), join(folder, 'calls')]
  mkdirSync(bin)
  writeFileSync(log, '')
  if (cases !== null) {
    const script = [
      '#!/bin/sh',
      `echo "\${KAFKA_PORT:+$KAFKA_PORT $REDIS_PORT }$*" >> '${log}'`,
      'asked=$1',
      'if [ "$1" = compose ]; then',
      '  asked="compose $2"',
      '  [ "$2" = --project-name ] && asked="compose $6"',
      'fi',
      'case "$asked" in',
      ...cases,
      'esac',
    ]
    writeFileSync(join(bin, 'docker'), `${script.join('\n')}\n`)
    chmodSync(join(bin, 'docker'), 0o755)
  }
  const lines: string[] = []
  return {
    folder,
    lines,
    find: (options = {}) =>
      findServers({ folder, printLine: (line) => lines.push(line), environment: { PATH: bin }, ...options }),
    calls: () => readFileSync(log, 'utf8').trim().split('\n'),
  }
}

describe('an engine that answers', () => {
  test('starts Kafka and Redis of the compose file, waits until they are healthy, and stops them', async () => {
    const { find, calls, lines, folder } = machine([engine, plugin])
    const servers = await find()
    const { broker, redis } = JSON.parse(readFileSync(join(folder, 'servers', 'ports.json'), 'utf8'))
    expect(servers).toMatchObject({ kafkaBrokers: `127.0.0.1:${broker}`, redisUrl: `redis://127.0.0.1:${redis}` })
    const project = projectOf({ folder: join(folder, 'servers') })
    const compose = (rest: string) =>
      expect.stringMatching(new RegExp(`compose --project-name ${project} --file /.*/docker-compose\\.yml ${rest}$`))
    expect(calls()).toEqual([
      'version --format {{.Server.Version}}',
      'compose version --short',
      compose('stop --timeout 30 kafka redis'),
      compose('up --detach --wait --wait-timeout 180 --quiet-pull kafka redis'),
    ])
    expect(calls()[3]).toMatch(new RegExp(`^${broker} ${redis} compose `))
    expect(lines).toEqual([
      'Docker 28.2.2 answers: starting kafka and redis in it',
      `kafka in Docker (compose project ${project}) at 127.0.0.1:${broker}`,
      `redis in Docker (compose project ${project}) at redis://127.0.0.1:${redis}`,
    ])
    await servers.close()
    expect(calls().slice(4).sort()).toEqual([compose('stop --timeout 30 kafka'), compose('stop --timeout 30 redis')])
  })

  test('starts only what is not given, and shows no password', async () => {
    const { find, calls, lines } = machine([engine, plugin])
    const servers = await find({ redisUrl: 'redis://me:hush@cache:6379' })
    expect(servers.redisUrl).toBe('redis://me:hush@cache:6379')
    expect(lines[0]).toBe('Redis at redis://***@cache:6379, as given')
    expect(calls()[3]).toMatch(/--quiet-pull kafka$/)
    await servers.close()
    expect(calls().at(-1)).toMatch(/stop --timeout 30 kafka$/)
    expect(calls()).toHaveLength(5)
  })

  test('is not tried where programs are wanted, nor for ephemeral servers', async () => {
    for (const options of [{ servers: 'local' }, { ephemeral: true }] as const) {
      const { find, calls } = machine([engine, plugin])
      expect((await failureOf(find(options))).message).not.toContain('Docker')
      expect(calls()).toEqual([''])
    }
  })
})

describe('an unusable engine is reported, and the next way is tried', () => {
  test.each<[string, string[] | null, RegExp]>([
    ['no docker', null, /^Docker: there is no "docker" on the PATH$/m],
    [
      'a client without an engine',
      ['version) echo "Cannot connect to the Docker daemon" >&2; exit 1;;'],
      /^Docker: its engine does not answer: Cannot connect to the Docker daemon$/m,
    ],
    ['no compose', [engine, '"compose version") exit 1;;'], /^Docker: its compose plugin is not installed$/m],
    [
      'an image that cannot be pulled',
      [
        engine,
        plugin,
        '"compose up") echo "Error: manifest for apache/kafka not found: manifest unknown" >&2; exit 1;;',
      ],
      /^Docker: "docker compose up" failed \(exit code 1\): an image cannot be pulled\. Its last lines:\n {2}Error: manifest for/m,
    ],
    [
      'a port that is taken',
      [engine, plugin, '"compose up") echo "Bind for 127.0.0.1:9 failed: port is already allocated" >&2; exit 1;;'],
      /^Docker: "docker compose up" failed \(exit code 1\): a port is taken\./m,
    ],
    [
      'a server that does not become healthy',
      [engine, plugin, '"compose up") echo "container kafka is unhealthy" >&2; exit 1;;'],
      /^Docker: "docker compose up" failed \(exit code 1\)\. Its last lines:\n {2}container kafka is unhealthy/m,
    ],
  ])('%s', async (_, cases, sentence) => {
    const { find, lines } = machine(cases)
    const error = await failureOf(find())
    // This machine has no Java, Redis or Python either: all three ways are named.
    expect(error.code).toBe('server_missing')
    expect(error.message).toMatch(/^Kafka needs Java, but there is no "java" on the PATH\./)
    expect(error.message).toContain('There is no redis-server or valkey-server')
    expect(error.message).toMatch(sentence)
    expect(lines.join('\n')).toMatch(sentence)
    expect(lines.join('\n')).toContain('Looking for programs of this machine instead')
  })

  test('half-started servers are stopped', async () => {
    const { find, calls } = machine([engine, plugin, '"compose up") exit 1;;'])
    await failureOf(find())
    expect(calls().at(-1)).toMatch(/stop --timeout 30 kafka redis$/)
    expect(calls()).toHaveLength(5)
  })

  test('is the end where Docker is the only way wanted', async () => {
    const { find } = machine(['version) exit 1;;'])
    const error = await failureOf(find({ servers: 'docker' }))
    expect(error).toMatchObject({ code: 'server_missing' })
    expect(error.message).not.toContain('Java')
  })
})
