/**
 * Any value in, a short text for a problem's `received` out, whatever an event or a definition holds. Called by every check of either;
 * never throws.
 */

const shownMax = 120
/** Deeper values are cut: an event may nest a hundred thousand arrays, which `JSON.stringify` could not print. */
const depthMax = 8

/** Text as it is, everything else much as JSON prints it; at most about 150 characters, always encodable as UTF-8. */
export function showValue(value: unknown): string {
  const isText = typeof value === 'string'
  const text = isText ? value : preview(value, 0)
  if (text.length <= shownMax) return text.toWellFormed()
  const rest = isText ? ` (${text.length} characters)` : ''
  return `${text.slice(0, shownMax)}…${rest}`.toWellFormed()
}

/** A value as JSON has it: text in quotes, so that "1.25" is not taken for 1.25, nor an empty one for nothing. */
export function quoteValue(value: unknown): string {
  if (typeof value !== 'string') return showValue(value)
  const rest = value.length > shownMax ? `… (${value.length} characters)` : ''
  return `${JSON.stringify(value.slice(0, shownMax))}${rest}`
}

/** A cell of a text file has no quotes of its own; it gets some where it could not be seen without, or would break the line. */
export function showCell(text: string): string {
  return /^\s|\s$|^$|\p{Cc}/u.test(text.slice(0, shownMax)) ? quoteValue(text) : showValue(text)
}

function preview(value: unknown, depth: number): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, shownMax))
  if (typeof value === 'function') return 'a function'
  if (Object.is(value, -0)) return '-0'
  if (typeof value !== 'object' || value === null) return String(value)
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'an invalid Date' : value.toISOString()
  if (ArrayBuffer.isView(value)) return `${value.byteLength} bytes`
  if (depth === depthMax) return '…'
  return Array.isArray(value) ? previewList(value, depth) : previewRecord(value, depth)
}

/** Both stop as soon as there is more text than is shown, so that a large value costs no more than a small one. */
function previewList(values: readonly unknown[], depth: number): string {
  let text = '['
  for (let i = 0; i < values.length && text.length <= shownMax; i++) {
    text += `${i === 0 ? '' : ','}${preview(values[i], depth + 1)}`
  }
  return `${text}]`
}

function previewRecord(values: object, depth: number): string {
  let text = '{'
  for (const [key, value] of Object.entries(values)) {
    if (text.length > shownMax) break
    text += `${text === '{' ? '' : ','}${preview(key, depth)}:${preview(value, depth + 1)}`
  }
  return `${text}}`
}
