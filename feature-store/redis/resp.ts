/**
 * Arguments of one Redis command come in, the bytes of the command as Redis reads them (RESP) go out, in one buffer. A step has
 * hundreds of keys and values; as a command of ioredis, each of them is an object and a string on its way to the socket.
 */
import assert from 'node:assert/strict'
import { capacityAfter } from '../../runtime/kept-bytes.ts'

export interface RespWriter {
  bytes: Buffer
  used: number
  /** Arguments that are still to come. */
  left: number
}

const firstBytes = 65_536
/** More than the command of a step of ordinary size takes. */
const keptBytes = 1_048_576
/** `$`, a length of up to ten digits, and two line ends. */
const frameBytesMax = 15
/** A character of JavaScript takes at most three bytes of UTF-8. */
const bytesPerCharMax = 3

export function createRespWriter(): RespWriter {
  return { bytes: Buffer.allocUnsafe(firstBytes), used: 0, left: 0 }
}

/** Begins a command of so many arguments, its name included, over whatever was there. */
export function beginCommand(writer: RespWriter, argumentCount: number): void {
  const { length } = writer.bytes
  const capacity = capacityAfter(length, writer.used, keptBytes)
  if (capacity < length) writer.bytes = Buffer.allocUnsafe(capacity)
  writer.used = 0
  writer.left = argumentCount
  ensure(writer, frameBytesMax)
  writer.bytes[writer.used++] = 0x2a
  writeNumber(writer, argumentCount)
  writeLineEnd(writer)
}

/** The bytes of the command that was written; they are overwritten by the next one. */
export function endCommand(writer: RespWriter): Buffer {
  assert(writer.left === 0, `a command lacks ${writer.left} arguments`)
  return writer.bytes.subarray(0, writer.used)
}

/** `prefix` is put before the text: keys have most of their bytes in common. */
export function addText(writer: RespWriter, text: string, prefix: Buffer = noBytes): void {
  ensure(writer, frameBytesMax + prefix.length + text.length * bytesPerCharMax)
  const isAscii = asciiOnly(text)
  beginArgument(writer, prefix.length + (isAscii ? text.length : Buffer.byteLength(text)))
  addPrefix(writer, prefix)
  const { bytes, used } = writer
  if (isAscii) {
    for (let index = 0; index < text.length; index++) bytes[used + index] = text.charCodeAt(index)
    writer.used = used + text.length
  } else {
    writer.used = used + bytes.write(text, used)
  }
  writeLineEnd(writer)
}

export function addBytes(writer: RespWriter, source: Buffer, from = 0, to = source.length): void {
  ensure(writer, frameBytesMax + to - from)
  beginArgument(writer, to - from)
  // Short ones, like most rows, are copied faster here than by a call out of JavaScript.
  if (to - from < 64) {
    const { bytes, used } = writer
    for (let index = from; index < to; index++) bytes[used + index - from] = source[index]!
  } else {
    source.copy(writer.bytes, writer.used, from, to)
  }
  writer.used += to - from
  writeLineEnd(writer)
}

const noBytes = Buffer.alloc(0)

function addPrefix(writer: RespWriter, prefix: Buffer): void {
  const { bytes, used } = writer
  for (let index = 0; index < prefix.length; index++) bytes[used + index] = prefix[index]!
  writer.used = used + prefix.length
}

function asciiOnly(text: string): boolean {
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) > 0x7f) return false
  return true
}

function beginArgument(writer: RespWriter, size: number): void {
  assert(writer.left > 0, 'a command has more arguments than it began with')
  writer.left--
  writer.bytes[writer.used++] = 0x24
  writeNumber(writer, size)
  writeLineEnd(writer)
}

function writeLineEnd(writer: RespWriter): void {
  writer.bytes[writer.used++] = 0x0d
  writer.bytes[writer.used++] = 0x0a
}

function writeNumber(writer: RespWriter, value: number): void {
  let digits = 1
  for (let bound = 10; bound <= value; bound *= 10) digits++
  let rest = value
  for (let index = writer.used + digits - 1; index >= writer.used; index--) {
    const next = Math.floor(rest / 10)
    writer.bytes[index] = 0x30 + rest - next * 10
    rest = next
  }
  writer.used += digits
}

function ensure(writer: RespWriter, more: number): void {
  const needed = writer.used + more
  if (needed <= writer.bytes.length) return
  const grown = Buffer.allocUnsafe(Math.max(needed, writer.bytes.length * 2))
  writer.bytes.copy(grown, 0, 0, writer.used)
  writer.bytes = grown
}
