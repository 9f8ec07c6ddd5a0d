/**
 * Stored logs, whole and damaged in a seeded way, are decoded: how many were, how many were refused, and what else came of any. By hand:
 * `npx tsx test/feature-store/fuzz-stored-log.ts <inputs> <seed>`.
 */
import { pathToFileURL } from 'node:url'
import type { StoredLog } from '../../feature-store/store.ts'
import { decodeLog, headerBytes, tailRowsMaxOf } from '../../feature-store/stored-log.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { storedRowsOf } from '../support/stored-logs.ts'

export interface FuzzResult {
  readonly seed: number
  readonly inputs: number
  readonly decoded: number
  readonly refused: number
  /** Neither: an error of another kind, or rows that the bytes cannot hold. */
  readonly others: readonly string[]
}

/** mulberry32 (public domain): the same numbers for the same seed. */
function createRandom(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below)
  }
}

export function fuzzDecode({ seed, inputs }: { readonly seed: number; readonly inputs: number }): FuzzResult {
  const random = createRandom(seed)
  const widths = [3, 4, 500]
  const whole = widths.map((width) => wholeLogs(width))
  let [decoded, refused] = [0, 0]
  const others: string[] = []
  for (let input = 0; input < inputs; input++) {
    const kind = random(widths.length)
    const logs = whole[kind]!
    const stored = damaged(logs[random(logs.length)]!, random)
    const width = widths[random(8) === 0 ? random(widths.length) : kind]!
    try {
      const log = decodeLog(stored, { width, knownColumn: null, sources: [] })
      const bytes = stored.reduce((sum, piece) => sum + piece.length, 0)
      if (log.end * width * 8 > bytes || log.rows.byteLength > 1.2 * bytes + 20 * width * 8)
        others.push(`input ${input}: ${log.end} rows`)
      decoded++
    } catch (error) {
      if (error instanceof PipelineError && error.code === 'state_foreign') refused++
      else others.push(`input ${input}: ${String(error)}`)
    }
  }
  return { seed, inputs, decoded, refused, others }
}

/** One row, some in order and not, and where rows are wide some chunks. */
function wholeLogs(width: number): StoredLog[] {
  const rowsOf = (count: number, timeOf: (index: number) => number) =>
    storedRowsOf(
      Array.from({ length: count }, (_, index) => new Float64Array(width).fill(timeOf(index)).fill(index, 1, 2)),
    )
  const many = width > 100 ? 3 * tailRowsMaxOf(width) + 2 : 40
  return [rowsOf(1, () => 5), rowsOf(20, (index) => index), rowsOf(many, (index) => (index * 7) % 11)]
}

function damaged(stored: StoredLog, random: (below: number) => number): StoredLog {
  const pieces = stored.map((piece) => Buffer.from(piece))
  for (let damage = random(4); damage > 0; damage--) {
    const at = random(pieces.length)
    const piece = pieces[at]!
    const offset = random(random(2) === 0 ? Math.min(piece.length, headerBytes) : piece.length || 1)
    const way = random(7)
    if (way === 0) piece[offset] = random(256)
    else if (way === 1 && piece.length >= headerBytes) piece.writeUInt32LE(random(2 ** 32), 4 * random(headerBytes / 4))
    else if (way === 2) pieces[at] = piece.subarray(0, random(piece.length + 1))
    else if (way === 3) pieces[at] = Buffer.concat([piece, piece.subarray(offset)])
    else if (way === 4 && pieces.length > 1) pieces.splice(at, 1)
    else if (way === 5) pieces.splice(at, 0, piece)
    else if (piece.length >= offset + 8) piece.writeDoubleLE([Number.NaN, Infinity, -0, 1e300][random(4)]!, offset)
  }
  return pieces
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [inputs = 1_000_000, seed = 1] = process.argv.slice(2).map(Number)
  process.stdout.write(`${JSON.stringify(fuzzDecode({ seed, inputs }))}\n`)
}
