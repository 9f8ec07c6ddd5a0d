/** Lets one process at a time use the kept servers of a folder; called by `local-servers.ts`. */

import { randomUUID } from 'node:crypto'
import { link, readFile, rename, rm, stat, unlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { ownerIsGone } from './processes.ts'
import { findRunningServers } from './running-servers.ts'

const takeoversMax = 5

/**
 * Returns the function that releases the lock. A lock whose process has ended is taken over. Error: `server_failed`
 * where a living process holds it.
 */
export async function lockFolder(folder: string, environment: NodeJS.ProcessEnv): Promise<() => Promise<void>> {
  const path = join(folder, 'lock')
  // The random part distinguishes this lock from a later one of the same pid.
  const mine = `${process.pid} ${randomUUID()}\n`
  for (let takeovers = 0; takeovers < takeoversMax; takeovers += 1) {
    if (await createNew(path, mine)) return () => unlockFolder(path, mine)
    const held = await readLock(path)
    if (held === undefined) continue
    if (held.pid !== undefined && !(await ownerIsGone(held.pid, held.lockedAtMs, environment))) {
      throw new PipelineError(
        'server_failed',
        `The local servers of ${folder} are in use by process ${held.pid}. ` +
          `Stop that process, or ${settingsOf(folder)} to share its servers. ` +
          `(If process ${held.pid} is something else, remove ${path}.)`,
        { details: { path, pid: held.pid } },
      )
    }
    await removeStale(path, held.text)
  }
  throw new PipelineError(
    'server_failed',
    `The lock ${path} changed hands ${takeoversMax} times while it was taken. Start again.`,
  )
}

/** Written whole under another name and then linked, so that a half-written lock is never read. */
async function createNew(path: string, text: string): Promise<boolean> {
  const draft = `${path}.${randomUUID()}`
  await writeFile(draft, text)
  try {
    return await linkNew(draft, path)
  } finally {
    await unlink(draft)
  }
}

async function linkNew(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

interface HeldLock {
  readonly text: string
  /** Undefined where the text is no lock of ours. */
  readonly pid: number | undefined
  readonly lockedAtMs: number
}

async function readLock(path: string): Promise<HeldLock | undefined> {
  try {
    const text = await readFile(path, 'utf8')
    const { mtimeMs } = await stat(path)
    const pid = /^(\d+) /.exec(text)?.[1]
    return { text, pid: pid === undefined ? undefined : Number(pid), lockedAtMs: mtimeMs }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Removes the lock that was found stale, and no other: a different one that was moved aside is moved back. */
async function removeStale(path: string, staleText: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`
  try {
    await rename(path, aside)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  if ((await readFile(aside, 'utf8')) !== staleText) await linkNew(aside, path)
  await unlink(aside)
}

async function unlockFolder(path: string, mine: string): Promise<void> {
  const held = await readLock(path)
  if (held?.text === mine) await rm(path)
}

/** With the addresses, once its servers run. */
function settingsOf(folder: string): string {
  const { kafkaBrokers, redisUrl } = findRunningServers(dirname(folder)) ?? {}
  return `set KAFKA_BROKERS${kafkaBrokers ? `=${kafkaBrokers}` : ''} and REDIS_URL${redisUrl ? `=${redisUrl}` : ''}`
}
