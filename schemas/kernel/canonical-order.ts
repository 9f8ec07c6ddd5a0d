/** Canonical order as two numbers that compare with `<`: event time, then stream, source partition and source offset in one double. */
import assert from 'node:assert/strict'

export const streamsMax = 8
export const partitionsMax = 1024
/** Offsets count modulo this: they distinguish only facts of one partition and the same millisecond. */
const offsetsModulo = 2 ** 40

/** 3 bits stream, 10 bits partition, 40 bits offset: exact in a double. */
export function orderOf(stream: number, partition: number, offset: number): number {
  assert(stream >= 0 && stream < streamsMax && partition >= 0 && partition < partitionsMax && offset >= 0)
  return (stream * partitionsMax + partition) * offsetsModulo + (offset % offsetsModulo)
}

export function streamOfOrder(order: number): number {
  return Math.floor(order / (partitionsMax * offsetsModulo))
}

/** Location of the event of this order; offsets are known modulo 2^40. */
export function originOfOrder(order: number): { partition: number; offset: number } {
  return { partition: Math.floor(order / offsetsModulo) % partitionsMax, offset: order % offsetsModulo }
}

export function compareCanonical(
  a: { readonly time: number; readonly order: number },
  b: { readonly time: number; readonly order: number },
): number {
  return a.time - b.time || a.order - b.order
}

/** Position in canonical order: facts and events are ordered by (time, stream, source partition, source offset). */
export interface CanonicalPosition {
  /** Event time by the stream's own time field, in ms since 1970. */
  readonly time: number
  /** Stream, source partition and source offset in one number (see `canonical-order.ts`). */
  readonly order: number
}
