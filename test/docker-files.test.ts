/** `docker-compose.yml` and the Dockerfile, as far as they can be held against the project without an engine to run them. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { drainMaxMs } from '../cli/until-stopped.ts'
import { configTable, parseConfig } from '../runtime/config/config.ts'
import { brokerSettings } from '../runtime/servers/local-kafka.ts'
import { serverVersions } from '../runtime/servers/versions.ts'
import { call } from './cli/call.ts'
import { kafkaEnvironment, variableOf } from './support/containers.ts'

interface Service {
  readonly image?: string
  readonly command?: string[]
  readonly environment?: Record<string, string | number>
  readonly ports?: string[]
  readonly volumes?: string[]
  readonly depends_on?: Record<string, { condition: string }>
  readonly healthcheck?: { disable?: boolean; test?: string[]; retries?: number }
  readonly restart?: string
  readonly stop_grace_period?: string
  readonly deploy?: { resources: { limits: { cpus: string; memory: string } } }
}

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const compose = parse(read('docker-compose.yml'), { merge: true }) as {
  readonly services: Record<string, Service>
  readonly volumes: Record<string, unknown>
}
const { services } = compose
const roles = Object.entries(services).filter(([, { image }]) => image === 'millrace:local')
const packageFile = JSON.parse(read('package.json')) as {
  dependencies: Record<string, string>
  engines: { node: string }
}

describe('docker-compose.yml', () => {
  test('has only keys that Compose knows, so that no setting is misspelt', () => {
    const isExtension = (key: string) => key.startsWith('x-')
    expect(Object.keys(compose).filter((key) => !isExtension(key))).toEqual(['name', 'services', 'volumes'])
    const known = [
      'build',
      'cap_drop',
      'command',
      'depends_on',
      'deploy',
      'environment',
      'healthcheck',
      'image',
      'init',
    ]
    known.push('ports', 'profiles', 'read_only', 'restart', 'security_opt', 'stop_grace_period', 'tmpfs', 'volumes')
    for (const [name, service] of Object.entries(services)) {
      for (const key of Object.keys(service)) expect(known, name).toContain(key)
      for (const key of Object.keys(service.healthcheck ?? {})) {
        expect(['disable', 'interval', 'retries', 'start_period', 'test', 'timeout'], name).toContain(key)
      }
    }
  })

  test('spells images, commands, ports, volumes, restarts and times as Compose reads them', () => {
    const isTime = expect.stringMatching(/^\d+s$/)
    for (const [name, service] of Object.entries(services)) {
      expect(service.image, name).toMatch(/^[a-z/]+:(?:\d+\.\d+\.\d+(?:-[a-z]+)?|local)$/)
      for (const part of service.command ?? []) expect(part, name).toBeTypeOf('string')
      for (const port of service.ports ?? []) expect(port, name).toMatch(/^[\d.]+:(?:\d+|\$\{[A-Z_]+:-\d+\}):\d+$/)
      for (const volume of service.volumes ?? []) expect(volume, name).toMatch(/^(?:\.\/)?[a-z]+:\/[a-z/]+(?::ro)?$/)
      for (const value of Object.values(service.environment ?? {})) expect(['string', 'number']).toContain(typeof value)
      expect(['unless-stopped', 'no'], name).toContain(service.restart)
      expect(service.stop_grace_period ?? '1s', name).toEqual(isTime)
      expect(service.deploy?.resources.limits, name).toEqual({
        cpus: expect.stringMatching(/^\d+$/),
        memory: expect.stringMatching(/^\d+[mg]$/),
      })
    }
    for (const { healthcheck } of [services.kafka!, services.redis!]) {
      expect(healthcheck).toMatchObject({ start_period: isTime, interval: isTime, timeout: isTime })
      expect(healthcheck?.retries).toBeGreaterThan(0)
    }
    expect(compose.volumes).toEqual({ kafka: null, redis: null })
  })

  test('has the images that tests use', () => {
    expect(services.kafka!.image).toBe(serverVersions.kafkaImage)
    expect(services.redis!.image).toBe(serverVersions.redisImage)
    expect(serverVersions.kafkaImage).toBe(`apache/kafka:${serverVersions.kafka}`)
  })

  test('runs a Kafka that behaves like the one from jars', () => {
    const expected = Object.entries(brokerSettings).map(([setting, value]) => [variableOf(setting), String(value)])
    const given = Object.entries(services.kafka!.environment!).map(([name, value]) => [name, String(value)])
    expect(given).toEqual(expect.arrayContaining(expected))
  })

  test("agrees with the Kafka of a test's container on every setting but addresses", () => {
    const test = kafkaEnvironment('127.0.0.1', 9_092)
    const isAddress = (name: string) => /LISTENER|LOG_DIRS/.test(name)
    const compared = (given: Record<string, string | number>) =>
      Object.entries(given)
        .filter(([name]) => !isAddress(name))
        .map(([name, value]) => `${name}=${value}`)
        .sort()
    expect(compared(services.kafka!.environment!)).toEqual(compared(test))
  })

  test('runs a Redis that evicts nothing and keeps what it wrote', () => {
    const command = services.redis!.command!
    const setting = (name: string) => command[command.indexOf(`--${name}`) + 1]
    expect([setting('maxmemory-policy'), setting('appendonly')]).toEqual(['noeviction', 'yes'])
  })

  test('names only services and volumes that it has', () => {
    for (const { depends_on = {}, volumes = [] } of Object.values(services)) {
      for (const needed of Object.keys(depends_on)) expect(services).toHaveProperty(needed)
      const named = volumes.map((volume) => volume.split(':')[0]!).filter((name) => !name.startsWith('.'))
      for (const name of named) expect(compose.volumes).toHaveProperty(name)
      for (const name of volumes.map((volume) => volume.split(':')[0]!).filter((name) => name.startsWith('.'))) {
        expect(existsSync(join(root, name)), name).toBe(true)
      }
    }
  })

  test('bounds every service, opens no port to other machines, and waits for servers to be healthy', () => {
    for (const [name, service] of Object.entries(services)) {
      expect(service.deploy?.resources.limits, name).toBeDefined()
      for (const port of service.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:/)
      for (const { condition } of Object.values(service.depends_on ?? {})) expect(condition).toBe('service_healthy')
    }
    expect([services.kafka!.healthcheck?.test?.[0], services.redis!.healthcheck?.test?.[0]]).toEqual([
      'CMD',
      'CMD-SHELL',
    ])
  })

  test.each(roles)('%s: its command, options and definition exist', async (_, { command = [] }) => {
    const [name, definition, ...options] = command
    const { code, out } = await call([name!, '--help'])
    expect(code).toBe(0)
    expect(existsSync(join(root, definition!))).toBe(true)
    for (const option of options.filter((text) => text.startsWith('--'))) expect(out.join('\n')).toContain(option)
  })

  test.each(roles)('%s: its settings are settings, and the configuration takes them', (_, { environment = {} }) => {
    const known = configTable().map(({ variable }) => variable)
    for (const variable of Object.keys(environment)) expect(known).toContain(variable)
    expect(parseConfig({ ...imageEnvironment, ...(environment as Record<string, string>) })).toMatchObject({
      kafkaBrokers: ['kafka:19092'],
      redisUrl: 'redis://redis:6379',
      httpHost: '0.0.0.0',
    })
  })

  test('gives every worker a stable name of its own, its HTTP port, and time to leave', () => {
    const workers = roles.filter(([, { command }]) => command![0] === 'run')
    expect(workers.length).toBeGreaterThan(1)
    expect(workers.map(([, { environment }]) => environment!.MILLRACE_WORKER)).toEqual(workers.map(([name]) => name))
    for (const [, { ports = [], stop_grace_period = '' }] of workers) {
      expect(ports.map((port) => Number(port.split(':').at(-1)))).toEqual([parseConfig({}).httpPort])
      expect(Number(/^(\d+)s$/.exec(stop_grace_period)?.[1]) * 1_000).toBeGreaterThan(drainMaxMs)
    }
  })
})

interface Instruction {
  readonly name: string
  readonly text: string
}

/** Comments left out, continued lines joined. */
const instructions: Instruction[] = read('Dockerfile')
  .replaceAll(/^#.*\n/gm, '')
  .replaceAll('\\\n', ' ')
  .split('\n')
  .filter((line) => line.trim() !== '')
  .map((line) => {
    const [, name, text] = /^([A-Z]+)\s+(.*)$/.exec(line)!
    return { name: name!, text: text! }
  })
const stages: Instruction[][] = []
for (const one of instructions) {
  if (one.name === 'FROM') stages.push([])
  stages.at(-1)!.push(one)
}
const last = stages.at(-1)!
const texts = (stage: readonly Instruction[], name: string) =>
  stage.filter((one) => one.name === name).map(({ text }) => text)
const imageEnvironment = Object.fromEntries(texts(last, 'ENV').map((text) => text.split('=') as [string, string]))
const copied = texts(instructions, 'COPY')
  .filter((text) => !text.startsWith('--from'))
  .flatMap((text) => text.split(/\s+/).slice(0, -1))

describe('Dockerfile', () => {
  test('has several stages on one pinned Node that package.json allows', () => {
    const bases = stages.map(([from]) => from!.text.split(' ')[0]!)
    expect(bases.length).toBeGreaterThan(1)
    expect(new Set(bases).size).toBe(1)
    const [, major, minor] = /^node:(\d+)\.(\d+)\.\d+-[a-z]+-slim$/.exec(bases[0]!)!.map(Number)
    const [leastMajor, leastMinor] = packageFile.engines.node.match(/\d+/g)!.map(Number)
    expect(major! * 1_000 + minor!).toBeGreaterThanOrEqual(leastMajor! * 1_000 + leastMinor!)
  })

  test('copies what exists and is not kept out by .dockerignore', () => {
    const allowed = read('.dockerignore')
      .split('\n')
      .filter((line) => line.startsWith('!'))
    for (const source of copied) {
      expect(existsSync(join(root, source)), source).toBe(true)
      expect(allowed).toContain(`!${source}`)
    }
    expect(read('.dockerignore')).toMatch(/^\*$/m)
  })

  test('holds every file and package that the command reaches', () => {
    const folders = copied.filter((source) => !source.includes('.') && source !== 'LICENSE')
    const files = folders.flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
        .filter((path) => path.endsWith('.ts'))
        .map((path) => join(folder, path)),
    )
    expect(files).toContain('cli/main.ts')
    for (const file of files) {
      const imports = [...read(file).matchAll(/(?:from |import\(|require\()'([^']+)'/g)].map(([, name]) => name!)
      for (const name of imports.filter((one) => !one.startsWith('node:'))) {
        if (name.startsWith('.')) expect(folders, `${file}: ${name}`).toContain(join(dirname(file), name).split('/')[0])
        else {
          const packageName = name
            .split('/')
            .slice(0, name.startsWith('@') ? 2 : 1)
            .join('/')
          expect(packageFile.dependencies, `${file}: ${name}`).toHaveProperty([packageName])
        }
      }
    }
  })

  test('installs without development packages, and nothing in the last stage', () => {
    const runs = texts(instructions, 'RUN')
    expect(runs.filter((text) => text.includes('npm ci')).every((text) => text.includes('--omit=dev'))).toBe(true)
    expect(texts(last, 'RUN')).toEqual([])
    for (const needed of ['tsx']) expect(packageFile.dependencies).toHaveProperty(needed)
  })

  test('runs the command as an ordinary user, reports its health, and holds no secret', () => {
    expect(texts(last, 'USER').at(-1)).toBe('node')
    const entry = JSON.parse(texts(last, 'ENTRYPOINT')[0]!) as string[]
    // Compiled in the stage before from the source of the same name.
    expect(texts(stages[0]!, 'RUN')).toContain('npm run build')
    expect(existsSync(join(root, entry.at(-1)!.replace(/^dist\/(.*)\.js$/, '$1.ts')))).toBe(true)
    const healthcheck = texts(last, 'HEALTHCHECK')[0]!
    const route = /\/health\/\w+/.exec(healthcheck)![0]
    expect(read('runtime/http/health-routes.ts')).toContain(`'${route}'`)
    expect(texts(last, 'EXPOSE')).toEqual([String(parseConfig(imageEnvironment).httpPort)])
    expect(read('Dockerfile')).not.toMatch(/^(?:ENV|ARG)\s+\S*(?:PASSWORD|SECRET|TOKEN|KEY)/m)
  })
})
