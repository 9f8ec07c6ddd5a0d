/** What brokers say that this user may do with a topic: bits come in, names of operations go out; read by `cluster-requests.ts`. */

/** By their codes in Kafka's protocol. */
const operations: ReadonlyArray<readonly [bit: number, name: string]> = [
  [3, 'Read'],
  [4, 'Write'],
]
/** What a broker sends that does not tell. */
const untold = -2_147_483_648

/** Those that Millrace checks before it changes anything; null where the broker does not tell. */
export function allowedOperations(bits: number): ReadonlySet<string> | null {
  if (bits === untold) return null
  return new Set(operations.filter(([bit]) => (bits & (1 << bit)) !== 0).map(([, name]) => name))
}
