/**
 * Records for many partitions, encoded as they are added: a frame is open for each partition, and begins anew where a batch would become
 * too large. Filled by the batch loop in step 6; what is taken out goes to `Worker.transact` or `publish`.
 */
import {
  addRecord,
  batchBytesMax,
  createFrame,
  type FramedRecords,
  framedOf,
  type OutRecord,
  type RecordFrame,
  recordBytesMax,
} from './framed-records.ts'

export interface Outbox {
  readonly frames: Map<string, Array<RecordFrame | undefined>>
  /** Of partitions whose frame was full. */
  readonly full: FramedRecords[]
  /** Size of the largest frame of each topic so far: what the next one is made for. */
  readonly sizes: Map<string, number>
}

/** What one record takes beside the bytes that its sender knows of: key, lengths, features, positions. */
const recordAllowance = 32_768

export function createOutbox(): Outbox {
  return { frames: new Map(), full: [], sizes: new Map() }
}

/** The frame for the next record, which takes about `bytes` and the allowance. */
export function frameFor(outbox: Outbox, topic: string, partition: number, bytes: number): RecordFrame {
  let ofTopic = outbox.frames.get(topic)
  if (ofTopic === undefined) {
    ofTopic = []
    outbox.frames.set(topic, ofTopic)
  }
  const open = ofTopic[partition]
  if (open !== undefined && (open.count === 0 || open.target.end + bytes + recordAllowance <= batchBytesMax))
    return open
  if (open !== undefined) close(outbox, open)
  const frame = createFrame({ topic, partition }, outbox.sizes.get(topic))
  ofTopic[partition] = frame
  return frame
}

export function addToOutbox(outbox: Outbox, record: OutRecord): void {
  addRecord(frameFor(outbox, record.topic, record.partition, recordBytesMax(record)), record)
}

/** Everything that was added since the last call; within a partition in order. */
export function takeOut(outbox: Outbox): FramedRecords[] {
  for (const frames of outbox.frames.values()) for (const frame of frames) if (frame) close(outbox, frame)
  outbox.frames.clear()
  return outbox.full.splice(0)
}

function close(outbox: Outbox, frame: RecordFrame): void {
  if (frame.count === 0) return
  outbox.full.push(framedOf(frame))
  const size = frame.target.end
  if (size > (outbox.sizes.get(frame.topic) ?? 0)) outbox.sizes.set(frame.topic, size)
}
