/**
 * A file in, its version out: size, modification time and a digest of samples. Stored with the position of a source by `positions.ts`, so
 * that a run never resumes in the middle of a different file.
 */
import { createHash } from 'node:crypto'
import { type FileHandle, open } from 'node:fs/promises'

export interface FileVersion {
  readonly bytes: number
  readonly modifiedMs: number
  /** Of samples of the first `bytes` bytes. */
  readonly digest: string
}

const samplesMax = 16
const sampleBytes = 65_536
const newline = 0x0a

export function fileVersion(path: string): Promise<FileVersion> {
  return withFile(path, async (file) => {
    const { size, mtimeMs } = await file.stat()
    return { bytes: size, modifiedMs: mtimeMs, digest: await digestOf(file, size) }
  })
}

/**
 * How the file differs from `before`; null where it does not, or where only lines were appended and it `canGrow`. `now`: its current
 * version.
 */
export function differenceFrom(
  before: FileVersion,
  now: FileVersion,
  { path, canGrow }: { readonly path: string; readonly canGrow: boolean },
): Promise<string | null> {
  return withFile(path, async (file) => {
    if (now.bytes < before.bytes || (now.bytes > before.bytes && !canGrow)) {
      return `it had ${before.bytes} bytes and has ${now.bytes}`
    }
    if (now.bytes === before.bytes && now.modifiedMs !== before.modifiedMs) return 'it was written again'
    if ((await digestOf(file, before.bytes)) !== before.digest) return 'its earlier content has changed'
    if (now.bytes === before.bytes || (await endsLineAt(file, before.bytes))) return null
    return 'its last line was incomplete when it was sent'
  })
}

/** Up to 16 samples of 64 kB, evenly spread: files of up to a megabyte are covered completely. */
async function digestOf(file: FileHandle, bytes: number): Promise<string> {
  const hash = createHash('sha256')
  const length = Math.min(bytes, sampleBytes)
  const samples = Math.min(samplesMax, Math.ceil(bytes / sampleBytes))
  for (let sample = 0; sample < samples; sample++) {
    const position = samples === 1 ? 0 : Math.floor((sample * (bytes - length)) / (samples - 1))
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position)
    hash.update(buffer.subarray(0, bytesRead))
  }
  // Half of it: the positions of up to 32 files share the 4 kB that Kafka keeps as metadata.
  return hash.digest('hex').slice(0, 32)
}

/** Whether the first `bytes` bytes end a line, or the line's end follows them. */
async function endsLineAt(file: FileHandle, bytes: number): Promise<boolean> {
  if (bytes === 0) return true
  const { buffer } = await file.read(Buffer.alloc(2), 0, 2, bytes - 1)
  return buffer[0] === newline || buffer[1] === newline || buffer[1] === 0x0d
}

async function withFile<T>(path: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
  const file = await open(path)
  try {
    return await use(file)
  } finally {
    await file.close()
  }
}
