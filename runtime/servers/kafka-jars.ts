/** Finds Java and gets Kafka's jars through Maven, once; called by `local-kafka.ts`. */

import { existsSync } from 'node:fs'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { lastLines, runCommand } from './command.ts'
import { fillOnce } from './fill-once.ts'
import { serverVersions } from './versions.ts'

const javaAskedMs = 30_000
const mavenMs = 600_000
const instead = 'or set KAFKA_BROKERS to a running Kafka'

export interface Java {
  readonly file: string
  /** As Java prints it: '17.0.15'. */
  readonly version: string
}

/**
 * JAVA_HOME's Java if that is set, else the one on the PATH. Error: `server_missing` where there is none or it is too
 * old.
 */
export async function findJava(environment: NodeJS.ProcessEnv): Promise<Java> {
  const home = environment.JAVA_HOME
  const file = home === undefined || home === '' ? 'java' : join(home, 'bin', 'java')
  const install = `Install Java ${serverVersions.javaMajorMin} or newer (for example OpenJDK or Temurin), ${instead}.`
  const asked = await runCommand(file, ['-version'], { environment, timeoutMs: javaAskedMs })
  if (asked.missing) {
    const where = file === 'java' ? 'there is no "java" on the PATH' : `JAVA_HOME has no ${file}`
    throw new PipelineError('server_missing', `Kafka needs Java, but ${where}. ${install}`)
  }
  const version = asked.exitCode === 0 ? javaVersion(asked.output) : undefined
  if (version === undefined) {
    // macOS has a placeholder of that name which only prints where to get Java.
    const sentence = `Kafka needs Java, but "${file} -version" named no version:\n${lastLines(asked.output, 5)}`
    throw new PipelineError('server_missing', `${sentence}\n${install}`)
  }
  if (javaMajor(version) < serverVersions.javaMajorMin) {
    const needed = `Kafka ${serverVersions.kafka} needs Java ${serverVersions.javaMajorMin} or newer`
    const found = `${needed}, but "${file}" is Java ${version}.`
    throw new PipelineError('server_missing', `${found} ${install}`, { details: { file, version } })
  }
  return { file, version }
}

/** The version in the first line of `java -version`: `openjdk version "17.0.15" 2025-04-15`. */
export function javaVersion(output: string): string | undefined {
  return /version "([^"]+)"/.exec(output)?.[1]
}

/** '17.0.15' is 17, '21-ea' is 21, and the old spelling '1.8.0_402' is 8. */
export function javaMajor(version: string): number {
  const [first = '', second = ''] = version.split(/[.\-+_]/)
  return Number(first === '1' ? second : first)
}

/**
 * The folder with Kafka's jars below `cacheFolder`, fetched where it is not there yet. Error: `server_missing` with
 * Maven's last lines.
 */
export async function kafkaJars(
  cacheFolder: string,
  environment: NodeJS.ProcessEnv,
  printLine: (line: string) => void,
): Promise<string> {
  const target = join(cacheFolder, `kafka-${serverVersions.kafka}`)
  await fillOnce(target, async (partial) => {
    printLine(`Kafka ${serverVersions.kafka}: fetching its jars with Maven, about 45 MB, once, into ${target}`)
    await fetchJars(partial, target, environment)
  })
  return target
}

async function fetchJars(partial: string, target: string, environment: NodeJS.ProcessEnv): Promise<void> {
  const { mavenDependencyPlugin, kafka, kafkaScala } = serverVersions
  const work = join(partial, 'maven')
  await mkdir(work)
  await writeFile(join(work, 'pom.xml'), jarsPom())
  const args = [
    '--batch-mode',
    '--quiet',
    '-Dstyle.color=never',
    '--strict-checksums',
    // The user's settings (mirrors, proxies) apply, their local repository does not: it may be read-only.
    `-Dmaven.repo.local=${join(work, 'repository')}`,
    `org.apache.maven.plugins:maven-dependency-plugin:${mavenDependencyPlugin}:copy-dependencies`,
    '-DincludeScope=runtime',
    `-DoutputDirectory=${join(work, 'jars')}`,
  ]
  const run = await runCommand('mvn', args, { environment, timeoutMs: mavenMs, cwd: work })
  if (run.missing) {
    const lacking = 'Maven is needed to fetch them, but there is no "mvn" on the PATH.'
    const sentence = `Kafka's jars are not in ${target} yet and ${lacking}`
    throw new PipelineError('server_missing', `${sentence} Install Maven (3.6 or newer), ${instead}.`)
  }
  if (run.exitCode !== 0) {
    const how = run.timedOut ? `did not end within ${mavenMs / 1_000} s` : `failed (exit code ${run.exitCode})`
    const sentence = `Fetching Kafka's jars: Maven ${how}. Check the network and Maven's settings, ${instead}.`
    throw new PipelineError('server_missing', `${sentence} Maven's last lines:\n${lastLines(run.output, 12)}`)
  }
  if (!existsSync(join(work, 'jars', `kafka_${kafkaScala}-${kafka}.jar`))) {
    const sentence = `Fetching Kafka's jars: Maven ended well but left no kafka_${kafkaScala}-${kafka}.jar.`
    throw new PipelineError('server_missing', `${sentence} Maven's last lines:\n${lastLines(run.output, 12)}`)
  }
  await rename(join(work, 'jars'), join(partial, 'jars'))
  await rm(work, { recursive: true })
}

function jarsPom(): string {
  const { kafka, kafkaScala, slf4j } = serverVersions
  const dependency = (group: string, artifact: string, version: string): string => {
    const coordinates = `<groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version>`
    return `<dependency>${coordinates}</dependency>`
  }
  return `<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>millrace</groupId><artifactId>local-kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    ${dependency('org.apache.kafka', `kafka_${kafkaScala}`, kafka)}
    ${dependency('org.slf4j', 'slf4j-simple', slf4j)}
  </dependencies>
</project>
`
}
