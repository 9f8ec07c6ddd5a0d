/** Bytes of a text file in, the same text in UTF-8 out; called for CSV and JSON lines. */
import { PipelineError } from '../schemas/kernel/errors.ts'

/** Throws `usage` for a name that is none; `latin1` is windows-1252, as on the web. */
export function encodingNamed(name: string): string {
  try {
    return new TextDecoder(name).encoding
  } catch (cause) {
    throw new PipelineError(
      'usage',
      `--encoding ${name} is unknown: expected a name such as utf-8, latin1, windows-1252, iso-8859-15, utf-16le, shift_jis or gb18030.`,
      { cause },
    )
  }
}

/** `encoding`: null for UTF-8, or UTF-16 where a byte order mark says so. */
export async function* decodedText(
  bytes: AsyncIterable<Buffer>,
  encoding: string | null,
): AsyncGenerator<Buffer, void, void> {
  let decoder: InstanceType<typeof TextDecoder> | null | undefined
  for await (const piece of bytes) {
    const known = encoding ?? markedEncoding(piece)
    decoder ??= known === null || known === 'utf-8' ? null : new TextDecoder(known)
    yield decoder === null ? piece : Buffer.from(decoder.decode(piece, { stream: true }))
  }
  if (decoder) yield Buffer.from(decoder.decode())
}

function markedEncoding(piece: Buffer): string | null {
  if (piece[0] === 0xff && piece[1] === 0xfe) return 'utf-16le'
  return piece[0] === 0xfe && piece[1] === 0xff ? 'utf-16be' : null
}

/** The beginning of a text, at least `bytesMin` bytes where there are as many, and all of it again. */
export async function peek(
  bytes: AsyncIterable<Buffer>,
  bytesMin: number,
): Promise<{ readonly head: Buffer; readonly isAll: boolean; readonly bytes: AsyncIterable<Buffer> }> {
  const pieces = bytes[Symbol.asyncIterator]()
  const read: Buffer[] = []
  let length = 0
  let isAll = false
  while (length < bytesMin) {
    const { done, value } = await pieces.next()
    if (done) {
      isAll = true
      break
    }
    // A copy: the source may reuse its buffer.
    read.push(Buffer.from(value))
    length += value.length
  }
  async function* whole() {
    try {
      yield* read
      for (;;) {
        const { done, value } = await pieces.next()
        if (done) return
        yield value
      }
    } finally {
      await pieces.return?.()
    }
  }
  return { head: Buffer.concat(read), isAll, bytes: whole() }
}
