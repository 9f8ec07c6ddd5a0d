/**
 * Events on their way to the next stage, written in place: the event's own bytes between what travels with it, without decoding or encoding
 * it again. The same bytes as `record-codecs.ts` gives, which also takes what is not in the definition's own encoding.
 */
import { type ByteTarget, longBytesMax, reserve, writeBytes, writeDouble, writeLong } from './byte-target.ts'
import { createPositionsBytes } from './position-bytes.ts'
import type { StagePosition } from './records.ts'

/** An event whose Avro record, without a header, is in [bodyStart, bodyEnd) of `bytes`. */
export interface WrittenEvent {
  readonly source: number
  readonly originPartition: number
  readonly originOffset: number
  readonly bytes: Uint8Array
  readonly bodyStart: number
  readonly bodyEnd: number
  /** They begin at `slotsFrom`. Null for streams that are not scored. */
  readonly slots: Float64Array | null
  readonly slotsFrom: number
  readonly positionsBefore: readonly StagePosition[]
  readonly position: StagePosition
}

export type WriteRepartition = (target: ByteTarget, event: WrittenEvent) => void

/** `header`: of the record type of the stream; `slotCount`: that it carries where it is scored. */
export function createRepartitionWriter(header: Buffer, slotCount: number): WriteRepartition {
  const positions = createPositionsBytes()
  return (target, event) => {
    const { bytes, bodyStart, bodyEnd, slots, slotsFrom } = event
    reserve(target, header.length + 3 * longBytesMax + (bodyEnd - bodyStart) + slotCount * 8)
    writeBytes(target, header, 0, header.length)
    writeLong(target, event.source)
    writeLong(target, event.originPartition)
    writeLong(target, event.originOffset)
    writeBytes(target, bytes, bodyStart, bodyEnd)
    if (slots === null) return
    for (let i = 0; i < slotCount; i++) writeDouble(target, slots[slotsFrom + i]!)
    const known = positions(event.positionsBefore, event.position)
    reserve(target, known.length)
    writeBytes(target, known, 0, known.length)
  }
}
