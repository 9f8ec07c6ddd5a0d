/** The operations that a broker allows this user on a topic: bits come in, names go out; called by `cluster-requests.ts`. */

/** By their codes in Kafka's protocol. */
const operations: ReadonlyArray<readonly [bit: number, name: string]> = [
  [3, 'Read'],
  [4, 'Write'],
]
/** Sent where the broker does not disclose them. */
const undisclosed = -2_147_483_648

/** Those that Millrace checks before it changes anything; null where the broker does not disclose them. */
export function allowedOperations(bits: number): ReadonlySet<string> | null {
  if (bits === undisclosed) return null
  return new Set(operations.filter(([bit]) => (bits & (1 << bit)) !== 0).map(([, name]) => name))
}
