/**
 * Bytes that are to be JSON and are not in, what came and what is probably wrong with it out; called by all that reads events as JSON, for
 * their messages.
 */
import { showValue } from '../kernel/show-value.ts'

/** `hint` continues the sentence that says what was expected; it is empty where nothing is known. */
export interface JsonFault {
  readonly hint: string
  readonly received: string
}

/** How formats begin that are taken for JSON by mistake. */
const beginnings: ReadonlyArray<readonly [Buffer, string]> = [
  [Buffer.from('fffe', 'hex'), '; this is UTF-16'],
  [Buffer.from('feff', 'hex'), '; this is UTF-16'],
  [Buffer.from('1f8b', 'hex'), '; this is compressed by gzip'],
  [Buffer.from('Obj\x01'), '; this is a file of Avro'],
  [Buffer.from('PAR1'), '; this is a file of Parquet'],
]

const mistakes: ReadonlyArray<readonly [RegExp, string]> = [
  [/[:,[]\s*-?(?:NaN|Infinity)\s*[,}\]]/, '; JSON has neither NaN nor Infinity: null or no field stands for no value'],
  [/[:,[]\s*(?:True|False|None|undefined)\s*[,}\]]/, '; JSON has true, false and null'],
  [/^\s*\[?\s*\{\s*'/, '; JSON has double quotes'],
  [/,\s*[}\]]/, '; JSON has no comma after the last value'],
]
/** Enough for an event, and bounded for what is none. */
const lookedAtMax = 65_536

/** `error`: that of the decoder or the parser. */
export function jsonFault(bytes: Buffer, error: unknown): JsonFault {
  const begin = beginnings.find(([start]) => bytes.subarray(0, start.length).equals(start))
  const at = firstInvalid(bytes)
  if (at !== null) {
    const received = `0x${bytes[at]!.toString(16).padStart(2, '0')} as byte ${at + 1} of ${bytes.length}, which is not UTF-8`
    return { hint: begin?.[1] ?? '', received }
  }
  const message = (error as Error).message.replace(/ is not valid JSON$/, '')
  return { hint: begin?.[1] ?? hintOf(bytes, message), received: `invalid JSON: ${showValue(message)}` }
}

function hintOf(bytes: Buffer, message: string): string {
  if (message.includes('after JSON')) return '; one object only'
  const text = bytes.subarray(0, lookedAtMax).toString()
  return mistakes.find(([pattern]) => pattern.test(text))?.[1] ?? ''
}

/** Null where all is UTF-8. A decoder that goes on puts U+FFFD there, which has other bytes. */
function firstInvalid(bytes: Buffer): number | null {
  const again = Buffer.from(bytes.toString('utf8'))
  if (again.equals(bytes)) return null
  let at = 0
  while (at < bytes.length - 1 && again[at] === bytes[at]) at++
  return at
}
