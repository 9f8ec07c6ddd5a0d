/**
 * Pieces of one connection's HTTP/1.1 responses in, the status of each response once it is complete out. Pure; called by `http-load.ts`.
 */
import assert from 'node:assert/strict'

const headEnd = Buffer.from('\r\n\r\n')
const headBytesMax = 16_384

/** For responses that state their length, one at a time: each request waits for the response to the one before. */
export function createResponseReader(onComplete: (status: number) => void): (piece: Buffer) => void {
  let head: Buffer = Buffer.alloc(0)
  let status = 0
  /** Bytes of the body that are still to come; null: the head is not complete. */
  let missing: number | null = null

  return (piece) => {
    let body = piece
    if (missing === null) {
      head = head.length === 0 ? piece : Buffer.concat([head, piece])
      const end = head.indexOf(headEnd)
      assert(end !== -1 || head.length <= headBytesMax, `a head of more than ${headBytesMax} bytes`)
      if (end === -1) return
      const text = head.toString('latin1', 0, end)
      const length = /\r\ncontent-length: *(\d+)/i.exec(text)?.[1]
      assert(length !== undefined, `a response without its length: ${text}`)
      status = Number(text.slice(9, 12))
      missing = Number(length)
      body = head.subarray(end + headEnd.length)
      head = Buffer.alloc(0)
    }
    missing -= body.length
    assert(missing >= 0, 'more came than was requested')
    if (missing > 0) return
    missing = null
    onComplete(status)
  }
}
