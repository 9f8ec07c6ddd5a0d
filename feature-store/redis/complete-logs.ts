/** The tails of some entities come in, their whole logs go out: the chunks that a tail's header names are read in bounded pieces. */
import type { StoredLog } from '../store.ts'
import { readHeader } from '../stored-log.ts'
import type { TaskKeys } from './keys.ts'

/** Tails or chunks of one MGET, so that its answer has at most 2 MB. */
export const piecesPerRead = 64

/** A colon ends the number, so that no chunk of one entity has the key of another entity's. */
export function chunkKey({ chunkPrefix }: TaskKeys, entityKey: string, chunk: number): string {
  return `${chunkPrefix}${chunk}:${entityKey}`
}

/** Of a log that lacks a chunk, those from there on are left out: `faultOf` finds it not whole. */
export async function completeLogs(
  keys: TaskKeys,
  entityKeys: readonly string[],
  tails: ReadonlyArray<Buffer | null>,
  getAll: (names: readonly string[]) => Promise<Array<Buffer | null>>,
): Promise<Array<StoredLog | null>> {
  const logs: Array<StoredLog | null> = []
  for (const [index, tail] of tails.entries()) {
    logs.push(tail === null ? null : [...(await chunksOf(keys, entityKeys[index]!, tail, getAll)), tail])
  }
  return logs
}

async function chunksOf(
  keys: TaskKeys,
  entityKey: string,
  tail: Buffer,
  getAll: (names: readonly string[]) => Promise<Array<Buffer | null>>,
): Promise<Buffer[]> {
  const header = readHeader(tail)
  const chunks: Buffer[] = []
  if (header === null) return chunks
  for (let from = header.first; from < header.next; from += piecesPerRead) {
    const count = Math.min(piecesPerRead, header.next - from)
    const names = Array.from({ length: count }, (_, index) => chunkKey(keys, entityKey, from + index))
    for (const chunk of await getAll(names)) {
      if (chunk === null) return chunks
      chunks.push(chunk)
    }
  }
  return chunks
}
