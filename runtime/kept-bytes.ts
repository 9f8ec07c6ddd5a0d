/**
 * How large a buffer may stay that is filled again and again: asked before it is filled anew, by those who write steps, commands and
 * frames. What was needed once is not kept for ever.
 */

/** `capacity` and `used`: of the last filling. `keptMin`: kept however little of it was used. The capacity for the next filling, bytes. */
export function capacityAfter(capacity: number, used: number, keptMin: number): number {
  return Math.min(capacity, Math.max(keptMin, 4 * used))
}
