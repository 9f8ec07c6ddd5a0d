/** Text in, a file out that is complete or not there at all: it is written under another name beside it and renamed at the end. */
import { open, rename, rm } from 'node:fs/promises'
import { PipelineError } from '../schemas/errors.ts'

export interface WholeFile {
  write(text: string): Promise<void>
  /** Everything is on the disk when it resolves; the file has its name from then on. */
  finish(): Promise<void>
  /** Leaves nothing behind; nothing is done after `finish`. */
  discard(): Promise<void>
}

/** An existing file of that name stays as it is until `finish`. Rejects with `input_unreadable` where it cannot be written. */
export async function openWholeFile(path: string): Promise<WholeFile> {
  const unfinished = `${path}.unfinished`
  const file = await open(unfinished, 'w').catch((cause: Error) => {
    throw new PipelineError('input_unreadable', `${path} cannot be written: ${cause.message}.`, { cause })
  })
  let isOpen = true
  return {
    write: (text) => file.writeFile(text),
    async finish() {
      isOpen = false
      await file.sync()
      await file.close()
      await rename(unfinished, path)
    },
    async discard() {
      if (!isOpen) return
      isOpen = false
      await file.close()
      await rm(unfinished)
    },
  }
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
