/**
 * Predictions in Avro, written in place: the same bytes as `prediction-codec.ts` gives, without an object or a text an event. The batch
 * loop writes the predictions of a topic with it where they are in Avro, as single objects or with the id of a registry.
 */
import {
  type ByteTarget,
  bytesOf,
  longBytesMax,
  reserve,
  writeByte,
  writeBytes,
  writeDouble,
  writeLong,
  writeText,
} from './byte-target.ts'
import { createPositionsBytes } from './position-bytes.ts'
import { firstReasonOf, type ReasonRows } from './reason-rows.ts'
import type { Prediction, StagePosition } from './records.ts'

/** A prediction whose vector lies in an array of many, and whose id is ASCII in [idStart, idEnd) of `idBytes`. */
export interface WrittenPrediction extends Omit<Prediction, 'id' | 'features' | 'reasons' | 'origin' | 'positions'> {
  /** Where the id lies, unless `idStart` is negative: then it is the text. */
  readonly id: string
  readonly idBytes: Uint8Array
  readonly idStart: number
  readonly idEnd: number
  /** It begins at `vectorFrom`. */
  readonly vector: Float64Array
  readonly vectorFrom: number
  /** Null where there are none; else those of vector `reasonsOf`. */
  readonly reasons: ReasonRows | null
  readonly reasonsOf: number
  readonly originPartition: number
  readonly originOffset: number
  readonly positionsBefore: readonly StagePosition[]
  readonly position: StagePosition
}

export type WritePrediction = (target: ByteTarget, prediction: WrittenPrediction) => void

const fixedBytesMax = 64
const featureBytes = 9

/** `header`: what precedes each record. */
export function createPredictionWriter(features: number, header: () => Buffer): WritePrediction {
  const texts = createTextBytes()
  const positions = createPositionsBytes()
  return (target, prediction) => {
    const { idBytes, idStart, idEnd, vector, vectorFrom, score, modelVersion } = prediction
    const before = header()
    reserve(target, before.length + fixedBytesMax + Math.max(0, idEnd - idStart) + features * featureBytes)
    writeBytes(target, before, 0, before.length)
    if (idStart < 0) writeText(target, prediction.id)
    else {
      writeLong(target, idEnd - idStart)
      writeBytes(target, idBytes, idStart, idEnd)
    }
    reserve(target, fixedBytesMax + features * featureBytes)
    writeLong(target, prediction.time)
    writeOptionalDouble(target, score ?? Number.NaN)
    if (modelVersion === null) writeByte(target, 0)
    else {
      writeByte(target, 2)
      writeKnown(target, texts(modelVersion))
      reserve(target, features * featureBytes)
    }
    for (let i = 0; i < features; i++) writeOptionalDouble(target, vector[vectorFrom + i]!)
    writeKnown(target, texts(prediction.fingerprint))
    reserve(target, 2 * longBytesMax)
    writeLong(target, prediction.originPartition)
    writeLong(target, prediction.originOffset)
    writeKnown(target, positions(prediction.positionsBefore, prediction.position))
    writeReasons(target, prediction.reasons, prediction.reasonsOf, texts)
    writeShadow(target, prediction.shadow, texts)
  }
}

/** NaN is null, as it is in a vector. */
function writeOptionalDouble(target: ByteTarget, value: number): void {
  if (Number.isNaN(value)) {
    writeByte(target, 0)
    return
  }
  writeByte(target, 2)
  writeDouble(target, value)
}

function writeKnown(target: ByteTarget, bytes: Buffer): void {
  reserve(target, bytes.length)
  writeBytes(target, bytes, 0, bytes.length)
}

function writeReasons(
  target: ByteTarget,
  reasons: ReasonRows | null,
  vector: number,
  texts: (text: string) => Buffer,
): void {
  reserve(target, longBytesMax + 1)
  if (reasons !== null) {
    const { names, features, contributions } = reasons
    const from = firstReasonOf(reasons, vector)
    const end = reasons.ends[vector]!
    if (end > from) writeLong(target, end - from)
    for (let i = from; i < end; i++) {
      writeKnown(target, texts(names[features[i]!]!))
      reserve(target, longBytesMax + 1)
      writeDouble(target, contributions[i]!)
    }
  }
  writeByte(target, 0)
}

function writeShadow(target: ByteTarget, shadow: Prediction['shadow'], texts: (text: string) => Buffer): void {
  reserve(target, longBytesMax + 1)
  if (shadow.length > 0) writeLong(target, shadow.length)
  for (const { version, score } of shadow) {
    writeKnown(target, texts(version))
    reserve(target, longBytesMax + 1)
    writeDouble(target, score)
  }
  writeByte(target, 0)
}

/** Texts of which there are few: names of features, versions, fingerprints. More than so many begin anew. */
const textsMax = 10_000

function createTextBytes(): (text: string) => Buffer {
  const known = new Map<string, Buffer>()
  return (text) => {
    const found = known.get(text)
    if (found !== undefined) return found
    if (known.size >= textsMax) known.clear()
    const bytes = bytesOf((target) => writeText(target, text))
    known.set(text, bytes)
    return bytes
  }
}
