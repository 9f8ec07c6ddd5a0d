/** Positions of stages as Avro's array, for the writers of predictions and of repartition records. */
import { type ByteTarget, bytesOf, longBytesMax, reserve, writeByte, writeLong, writeText } from './byte-target.ts'
import type { StagePosition } from './records.ts'

/** Batches before whose positions are remembered: those of the tasks that send to this one, several transactions each. */
const positionsMax = 1_024

/** Avro's array of the positions. All events of a batch have the last one, and few arrays of those before, as the same objects. */
export function createPositionsBytes(): (before: readonly StagePosition[], last: StagePosition) => Buffer {
  const known = new Map<readonly StagePosition[], Buffer>()
  let last: StagePosition | null = null
  return (before, position) => {
    if (position !== last || known.size >= positionsMax) known.clear()
    last = position
    const found = known.get(before)
    if (found !== undefined) return found
    const bytes = bytesOf((target) => writePositions(target, [...before, position]))
    known.set(before, bytes)
    return bytes
  }
}

function writePositions(target: ByteTarget, positions: readonly StagePosition[]): void {
  reserve(target, longBytesMax)
  writeLong(target, positions.length)
  for (const { stage, partition, next } of positions) {
    writeText(target, stage)
    reserve(target, (next.length + 4) * longBytesMax)
    writeLong(target, partition)
    if (next.length > 0) writeLong(target, next.length)
    for (const offset of next) writeLong(target, offset)
    writeByte(target, 0)
  }
  reserve(target, 1)
  writeByte(target, 0)
}
