/**
 * The bytes of a JSON object that `JSON.parse` has read without complaint in, the names that it holds more than once out. Of such names
 * the parser silently keeps the last value, so that two readers could see two different events. Called for every event in JSON.
 */

const quote = 0x22
const backslash = 0x5c
const colon = 0x3a

/** `parsed` is what the bytes gave. Looks at each byte once, and at the names only where there are fewer than members. */
export function repeatedMembers(bytes: Uint8Array, parsed: object): readonly string[] {
  let depth = 0
  let members = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!
    if (byte === quote) at = endOfText(bytes, at)
    else if (byte === colon) members += depth === 1 ? 1 : 0
    else depth += depthChange(byte)
  }
  return members === Object.keys(parsed).length ? [] : namesTwice(bytes)
}

/** Where the text that begins at `from` has its closing quote. */
export function endOfText(bytes: Uint8Array, from: number): number {
  let at = from + 1
  while (at < bytes.length && bytes[at] !== quote) at += bytes[at] === backslash ? 2 : 1
  return at
}

/** +1 for `{` and `[`, −1 for `}` and `]`. The four differ in these bits only. */
export function depthChange(byte: number): number {
  const folded = byte | 0x20
  return folded === 0x7b ? 1 : folded === 0x7d ? -1 : 0
}

/** Called with the name of each of the object's own members, and where its value begins. */
export function eachMember(bytes: Uint8Array, take: (name: string, valueAt: number) => void): void {
  let depth = 0
  let last: Uint8Array = bytes.subarray(0, 0)
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!
    if (byte === quote) {
      const end = endOfText(bytes, at)
      last = bytes.subarray(at, end + 1)
      at = end
    } else if (byte === colon && depth === 1) take(JSON.parse(Buffer.from(last).toString()) as string, at + 1)
    else depth += depthChange(byte)
  }
}

function namesTwice(bytes: Uint8Array): readonly string[] {
  const seen = new Set<string>()
  const twice = new Set<string>()
  eachMember(bytes, (name) => {
    if (seen.has(name)) twice.add(name)
    seen.add(name)
  })
  return [...twice]
}
