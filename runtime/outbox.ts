/**
 * Records for many partitions, encoded as they are added: a frame is open for each partition, and begins anew where a batch would become
 * too large. Filled by the batch loop in step 6; what is taken out goes to `Worker.transact` or `publish`.
 */
import {
  addRecord,
  batchBytesMax,
  clearFrame,
  createFrame,
  type FramedRecords,
  framedOf,
  type OutRecord,
  type RecordFrame,
  recordBytesMax,
} from './framed-records.ts'

/** By topic, then partition. */
type Frames = Map<string, Array<RecordFrame | undefined>>

export interface Outbox {
  /** The frames that are filled, and those that were taken out last and may still be on their way. */
  filling: Frames
  taken: Frames
  /** Of partitions whose frame was full. */
  readonly full: FramedRecords[]
}

/** What one record takes beside the bytes that its sender knows of: key, lengths, features, positions. */
const recordAllowance = 32_768

export function createOutbox(): Outbox {
  return { filling: new Map(), taken: new Map(), full: [] }
}

/** The frame for the next record, which takes about `bytes` and the allowance. */
export function frameFor({ filling, full }: Outbox, topic: string, partition: number, bytes: number): RecordFrame {
  let ofTopic = filling.get(topic)
  if (ofTopic === undefined) {
    ofTopic = []
    filling.set(topic, ofTopic)
  }
  const open = ofTopic[partition]
  if (open !== undefined) {
    if (open.count === 0 || open.target.end + bytes + recordAllowance <= batchBytesMax) return open
    full.push(framedOf(open))
  }
  const frame = createFrame({ topic, partition })
  ofTopic[partition] = frame
  return frame
}

export function addToOutbox(outbox: Outbox, record: OutRecord): void {
  addRecord(frameFor(outbox, record.topic, record.partition, recordBytesMax(record)), record)
}

/**
 * Everything that was added since the last call; within a partition in order. Its bytes are written over after the next call: what was
 * taken out before must have been sent by then.
 */
export function takeOut(outbox: Outbox): FramedRecords[] {
  const { filling, taken, full } = outbox
  for (const frames of filling.values()) for (const frame of frames) if (frame?.count) full.push(framedOf(frame))
  outbox.filling = taken
  outbox.taken = filling
  for (const frames of taken.values()) for (const frame of frames) if (frame) clearFrame(frame)
  return full.splice(0)
}
