/**
 * A sequence of zstd frames in, their content out, within a bound that is checked before memory is used; called by `compression.ts`.
 * fzstd decodes; it trusts every length that a frame declares, so the frames are walked over first.
 */
import { Decompress, decompress } from 'fzstd'

interface Frame {
  readonly start: number
  readonly end: number
  /** Bytes of content; null where the frame does not contain it. */
  readonly contentBytes: number | null
  /** How far back a match may be. */
  readonly windowBytes: number
  readonly blocks: number
}

const frameMagic = 0xfd2fb528
/** Sixteen kinds of frames that hold nothing for us. */
const skippableMagic = 0x184d2a50
const blockBytesMax = 128 * 1_024
/** Frames that do not declare their size are decoded through a window that fzstd moves on with every block. */
const movedBytesMax = 4 * 1_024 ** 3

export function unpackZstd(packed: Buffer, bytesMax: number): Buffer {
  const frames = framesOf(packed)
  let declared = 0
  let moved = 0
  for (const { contentBytes, windowBytes, blocks } of frames) {
    if (contentBytes !== null) declared += contentBytes
    else moved += windowBytes * (blocks + 1)
    if (contentBytes === null && windowBytes > bytesMax) throw new Error(`it needs a window of ${windowBytes} bytes`)
  }
  if (declared > bytesMax) throw new Error(`it unpacks to ${declared} bytes, at most ${bytesMax} are read`)
  if (moved > movedBytesMax) throw new Error('its blocks are too many and too small')
  const parts: Uint8Array[] = []
  let left = bytesMax
  const take = (part: Uint8Array): void => {
    left -= part.length
    if (left < 0) throw new Error(`it unpacks to more than ${bytesMax} bytes`)
    parts.push(part)
  }
  for (const { start, end, contentBytes } of frames) {
    const frame = packed.subarray(start, end)
    if (contentBytes === null) new Decompress(take).push(frame, true)
    else take(decompress(frame))
  }
  return parts.length === 1 ? viewOf(parts[0]!) : Buffer.concat(parts)
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength)
}

/** Reading past the end throws a RangeError. */
function framesOf(packed: Buffer): Frame[] {
  const frames: Frame[] = []
  for (let at = 0; at < packed.length; ) {
    const magic = packed.readUInt32LE(at)
    if (magic >= skippableMagic && magic < skippableMagic + 16) {
      at += 8 + packed.readUInt32LE(at + 4)
      continue
    }
    if (magic !== frameMagic) throw new Error(`there is no zstd frame at byte ${at}`)
    const frame = frameAt(packed, at)
    frames.push(frame)
    at = frame.end
  }
  return frames
}

function frameAt(packed: Buffer, start: number): Frame {
  const flags = packed.readUInt8(start + 4)
  const isSingleSegment = (flags & 0x20) !== 0
  if (flags & 0x03) throw new Error('it needs a dictionary')
  let at = start + 5
  const window = isSingleSegment ? 0 : windowBytesOf(packed.readUInt8(at++))
  const contentBytes = readContentSize(packed, at, flags >> 6, isSingleSegment)
  at += flags >> 6 === 0 ? (isSingleSegment ? 1 : 0) : 1 << (flags >> 6)
  let blocks = 0
  for (let isLast = false; !isLast; blocks++) {
    const header = packed.readUIntLE(at, 3)
    isLast = (header & 1) === 1
    const size = header >> 3
    if (size > blockBytesMax) throw new Error(`a block of ${size} bytes is larger than zstd's blocks are`)
    const isRepeatedByte = ((header >> 1) & 3) === 1
    at += 3 + (isRepeatedByte ? 1 : size)
  }
  const end = at + (flags & 0x04 ? 4 : 0)
  if (end > packed.length) throw new Error('it is cut short')
  return { start, end, contentBytes, windowBytes: window, blocks }
}

function windowBytesOf(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3))
  return base + (base / 8) * (descriptor & 7)
}

function readContentSize(packed: Buffer, at: number, kind: number, isSingleSegment: boolean): number | null {
  if (kind === 0) return isSingleSegment ? packed.readUInt8(at) : null
  if (kind === 1) return packed.readUInt16LE(at) + 256
  return kind === 2 ? packed.readUInt32LE(at) : Number(packed.readBigUInt64LE(at))
}
