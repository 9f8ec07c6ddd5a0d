/**
 * Creates a folder atomically: it is filled under another name, then renamed; called for downloads and Kafka's formatted
 * log.
 */

import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/**
 * Returns at once where `target` exists. Otherwise `fill` writes into an empty neighbour folder `.partial-<pid>-…`,
 * which becomes `target` when `fill` has resolved, so a broken or interrupted fill is never mistaken for a complete one. When
 * two processes fill the same target, the first to finish wins and the other's copy is dropped.
 */
export async function fillOnce(target: string, fill: (partial: string) => Promise<void>): Promise<void> {
  if (existsSync(target)) return
  const partial = join(dirname(target), `.partial-${process.pid}-${basename(target)}-${randomUUID().slice(0, 8)}`)
  await mkdir(partial, { recursive: true })
  try {
    await fill(partial)
    await rename(partial, target).catch((error: NodeJS.ErrnoException) => {
      const otherWon = (error.code === 'ENOTEMPTY' || error.code === 'EEXIST') && existsSync(target)
      if (!otherWon) throw error
    })
  } finally {
    await rm(partial, { recursive: true, force: true })
  }
}
