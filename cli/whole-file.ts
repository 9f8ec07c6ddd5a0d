/** Text in, a file out that is complete or not there at all: it is written under another name beside it and renamed at the end. */
import { open, rename, rm } from 'node:fs/promises'
import { PipelineError } from '../schemas/kernel/errors.ts'

/** What fails is `output_unwritable`: a full disk can fail any of these calls. */
export interface WholeFile {
  write(text: string): Promise<void>
  /** Everything is on the disk when it resolves; the file has its name from then on. */
  finish(): Promise<void>
  /** Leaves nothing behind; nothing is done after `finish`. */
  discard(): Promise<void>
}

/** An existing file of that name stays as it is until `finish`. */
export async function openWholeFile(path: string): Promise<WholeFile> {
  const unfinished = `${path}.unfinished`
  const file = await namingPath(path, open(unfinished, 'w'))
  let isOpen = true

  async function finish(): Promise<void> {
    await file.sync()
    await file.close()
    await rename(unfinished, path)
    isOpen = false
  }

  return {
    write: (text) => namingPath(path, file.writeFile(text)),
    finish: () => namingPath(path, finish()),
    async discard() {
      if (!isOpen) return
      isOpen = false
      // Closed already where only the renaming failed.
      await file.close()
      await rm(unfinished, { force: true })
    },
  }
}

async function namingPath<T>(path: string, doing: Promise<T>): Promise<T> {
  return await doing.catch((cause: Error) => {
    throw new PipelineError('output_unwritable', `${path} cannot be written: ${cause.message}.`, { cause })
  })
}

export async function writeWholeFile(path: string, text: string): Promise<void> {
  const file = await openWholeFile(path)
  try {
    await file.write(text)
    await file.finish()
  } finally {
    await file.discard()
  }
}

/** Figures that a command also prints, where `--json` named a file. */
export async function writeFigures(path: string | undefined, figures: object): Promise<void> {
  if (path !== undefined) await writeWholeFile(path, `${JSON.stringify(figures, null, 2)}\n`)
}
