/** What the examinations of the latest records share: how far back they look, and what a share of bad ones amounts to. */
import { type Check, fail, ok, warn } from './check.ts'

/** Offsets read of the end of each partition. */
export const recentOffsets = 300
export const partitionsMax = 64

const warnShare = 0.01
const failShare = 0.5

/** Up to 1 % is well, from half on a failure. */
export function shareCheck(name: string, share: number, message: string, remedy: string): Check {
  if (share < warnShare) return ok(name, message)
  return share < failShare ? warn(name, message, remedy) : fail(name, message, remedy)
}
