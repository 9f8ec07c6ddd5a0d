/** Sources of a family of peers in, a built copy out, once for each state of the sources: the folder that is given is only read. */
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { fillOnce } from '../../runtime/servers/fill-once.ts'
import { runGuarded } from './guarded-run.ts'
import type { PeerFamily } from './peer.ts'

export interface BuildOptions {
  /** Of the peers. */
  readonly from: string
  /** Where built copies are kept. */
  readonly cacheFolder: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly printLine: (line: string) => void
}

const buildMs = 600_000
/** A folder with more is not what was meant. */
const sourcesMax = 1_000

/** The folder of the copy, or why there is none: no sources, or a build that failed. */
export async function buildPeers(
  family: PeerFamily,
  options: BuildOptions,
): Promise<{ folder: string } | { reason: string }> {
  const from = join(resolve(options.from), family.folder)
  const sources = await readSources(from, family.leftOut)
  if (typeof sources === 'string') return { reason: sources }
  const hash = createHash('sha256')
  for (const [path, bytes] of sources) hash.update(`${path}\0${bytes.length}\0`).update(bytes)
  const target = join(resolve(options.cacheFolder), `peer-${family.folder}-${hash.digest('hex').slice(0, 12)}`)
  try {
    await fillOnce(target, async (partial) => {
      options.printLine(`Building the peers of ${from} in ${target}`)
      for (const [path, bytes] of sources) {
        await mkdir(dirname(join(partial, path)), { recursive: true })
        await writeFile(join(partial, path), bytes)
      }
      for (const command of family.build) {
        const logPath = join(partial, 'build.log')
        const { failure } = await runGuarded(command, {
          folder: partial,
          logPath,
          env: options.env,
          timeoutMs: buildMs,
        })
        if (failure !== null) throw new BuildFailure(failure)
      }
    })
  } catch (error) {
    if (error instanceof BuildFailure) return { reason: `it was not built: ${error.message}` }
    throw error
  }
  return { folder: target }
}

class BuildFailure extends Error {}

/** By path below the folder, in order; or why they cannot be read. */
async function readSources(folder: string, leftOut: ReadonlySet<string>): Promise<Array<[string, Buffer]> | string> {
  const found: string[] = []
  const below = async (path: string): Promise<void> => {
    for (const entry of await readdir(join(folder, path), { withFileTypes: true })) {
      if (leftOut.has(entry.name) || found.length > sourcesMax) continue
      if (entry.isDirectory()) await below(join(path, entry.name))
      else if (entry.isFile()) found.push(join(path, entry.name))
    }
  }
  try {
    await below('')
  } catch (error) {
    return `its sources cannot be read: ${(error as Error).message}`
  }
  if (found.length === 0 || found.length > sourcesMax)
    return `${folder} has ${found.length === 0 ? 'no' : 'too many'} files`
  return Promise.all(
    found.sort().map(async (path): Promise<[string, Buffer]> => [path, await readFile(join(folder, path))]),
  )
}
