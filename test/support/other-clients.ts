/**
 * Producers that are not ours, for tests on a real Kafka: the Java one from Kafka's own jars, kcat (librdkafka) and Python clients. Lines
 * of `key|value` are sent to one topic with the given compression.
 */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fillOnce } from '../../runtime/servers/fill-once.ts'
import { findJava, kafkaJars } from '../../runtime/servers/kafka-jars.ts'
import { serverVersions } from '../../runtime/servers/versions.ts'

export type CompressionName = 'gzip' | 'snappy' | 'lz4' | 'zstd'

export interface OtherClient {
  readonly name: string
  /** Null: it is not on this machine. */
  readonly write: ((to: WrittenTopic) => Promise<unknown>) | null
}

export interface WrittenTopic {
  readonly brokers: string
  readonly topic: string
  readonly compression: CompressionName
  readonly lines: readonly string[]
}

const folder = fileURLToPath(new URL('../../.millrace', import.meta.url))
/** Made by `.ci/run`; a machine without it has a Python of its own, perhaps with the clients. */
const pythons = [join(folder, 'python/bin/python'), 'python3']

export function otherClients(): readonly OtherClient[] {
  const hasKcat = spawnSync('kcat', ['-V']).status === 0
  return [
    { name: "Kafka's Java producer", write: writeWithJava },
    { name: 'kcat (librdkafka)', write: hasKcat ? writeWithKcat : null },
    ...['confluent_kafka', 'kafka'].map((module) => {
      const python = pythonWith(module)
      const write = (to: WrittenTopic) =>
        run(python!, ['-c', pythonPrograms[module]!, ...pythonArguments(to)], to.lines)
      return { name: `Python ${module}`, write: python === null ? null : write }
    }),
  ]
}

/** A Python that has all of these modules; null where there is none. */
export function pythonWith(...modules: readonly string[]): string | null {
  const program = modules.map((module) => `import ${module}`).join('\n')
  const isThere = (python: string) => !python.includes('/') || existsSync(python)
  return pythons.find((python) => isThere(python) && spawnSync(python, ['-c', program]).status === 0) ?? null
}

async function writeWithJava({ brokers, topic, compression, lines }: WrittenTopic): Promise<unknown> {
  const java = await findJava(process.env)
  const jars = await kafkaJars(join(folder, 'cache'), process.env, () => undefined)
  tools ??= fetchTools()
  const classPath = [join(jars, 'jars', '*'), join(await tools, '*')].join(delimiter)
  const settings = ['linger.ms=200', 'batch.size=500000']
  return run(
    java.file,
    [
      ...['-XX:TieredStopAtLevel=1', '-XX:+UseSerialGC', '-Xshare:auto', '-cp', classPath],
      ...['org.apache.kafka.tools.ConsoleProducer', '--bootstrap-server', brokers, '--topic', topic],
      ...['--compression-codec', compression],
      ...settings.flatMap((setting) => ['--producer-property', setting]),
      ...['--property', 'parse.key=true', '--property', 'key.separator=|'],
    ],
    lines,
  )
}

/** The folder with Kafka's command-line tools, which the jars of the broker do without; fetched once. */
let tools: Promise<string> | undefined

async function fetchTools(): Promise<string> {
  const { kafka, mavenDependencyPlugin } = serverVersions
  const target = join(folder, 'cache', `kafka-tools-${kafka}`)
  await fillOnce(target, async (partial) => {
    const goal = `org.apache.maven.plugins:maven-dependency-plugin:${mavenDependencyPlugin}`
    const repository = join(partial, 'repository')
    const artifact = `org.apache.kafka:kafka-tools:${kafka}`
    const common = ['--batch-mode', '--quiet', `-Dmaven.repo.local=${repository}`, `-Dartifact=${artifact}`]
    await run('mvn', [...common, `${goal}:get`, '-Dtransitive=false'], [])
    await run('mvn', [...common, `${goal}:copy`, `-DoutputDirectory=${partial}`], [])
    await rm(repository, { recursive: true })
  })
  return target
}

function writeWithKcat({ brokers, topic, compression, lines }: WrittenTopic): Promise<unknown> {
  return run('kcat', ['-P', '-b', brokers, '-t', topic, '-z', compression, '-K', '|', '-X', 'linger.ms=200'], lines)
}

function pythonArguments({ brokers, topic, compression }: WrittenTopic): string[] {
  return [brokers, topic, compression]
}

const pythonPrograms: Readonly<Record<string, string>> = {
  confluent_kafka: `
import sys
from confluent_kafka import Producer
brokers, topic, compression = sys.argv[1:]
producer = Producer({'bootstrap.servers': brokers, 'compression.type': compression, 'linger.ms': 200})
for line in sys.stdin.read().split('\\n')[:-1]:
    key, value = line.split('|', 1)
    producer.produce(topic, value, key)
assert producer.flush(30) == 0
`,
  kafka: `
import sys
from kafka import KafkaProducer
brokers, topic, compression = sys.argv[1:]
producer = KafkaProducer(bootstrap_servers=brokers, compression_type=compression, linger_ms=200)
futures = []
for line in sys.stdin.read().split('\\n')[:-1]:
    key, value = line.split('|', 1)
    futures.append(producer.send(topic, value.encode(), key.encode()))
producer.flush(30)
for future in futures:
    future.get(30)
`,
}

/** Rejects with what the program printed where it did not end well. */
export function run(file: string, args: readonly string[], lines: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args)
    let printed = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (piece) => (printed += String(piece)))
    child.once('error', reject)
    child.once('close', (code) => {
      if (code === 0) resolve(printed)
      else reject(new Error(`${file} ended with exit code ${code}: ${printed}`))
    })
    child.stdin.end(lines.map((line) => `${line}\n`).join(''))
  })
}
