/** The whole store as a file of its own, for processes that may not have the one that is written to. */
import { rename, rm } from 'node:fs/promises'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Session } from './database.ts'

/** Written beside its path and moved there when it is complete. `session`: outside a transaction, without concurrent writes. */
export async function writeSnapshot(session: Session, file: string): Promise<void> {
  await writeBeside(file, async (part) => {
    const [named] = await session.all('SELECT current_database()')
    await session.run(`ATTACH ${quoted(part)} AS snapshot`)
    try {
      await session.run(`COPY FROM DATABASE "${String(named![0]).replaceAll('"', '""')}" TO snapshot`)
    } finally {
      // Detaching writes the log into the file, so that the file alone is the whole.
      await session.run('DETACH snapshot')
    }
  })
}

/** A file that a statement writes under a name of its own, and that has its right one once it is complete. */
export async function writeBeside(file: string, write: (part: string) => Promise<void>): Promise<void> {
  const part = `${file}.part`
  const remove = () => Promise.all([part, `${part}.wal`].map((path) => rm(path, { force: true })))
  await remove()
  try {
    await write(part)
    await rename(part, file)
  } catch (cause) {
    await remove()
    throw new PipelineError('output_unwritable', `${file} could not be written: ${(cause as Error).message}`, { cause })
  }
}

export const quoted = (text: string) => `'${text.replaceAll("'", "''")}'`
