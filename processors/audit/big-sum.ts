/**
 * From doubles to their exact sum rounded once, by integers of any length: slow and plain. The oracle adds up with it, and tests of the
 * fast sum compare with it.
 */

const bits = new DataView(new ArrayBuffer(8))

/** The double as an integer of 2^-1074. */
function unitsOf(value: number): bigint {
  bits.setFloat64(0, value)
  const raw = bits.getBigUint64(0)
  const exponent = Number((raw >> 52n) & 0x7ffn)
  const fraction = raw & 0xfffffffffffffn
  const units = exponent === 0 ? fraction : (fraction | 0x10000000000000n) << BigInt(exponent - 1)
  return raw >> 63n === 1n ? -units : units
}

/** Half to even; 0 for no values. */
export function bigSum(values: readonly number[]): number {
  // Conversion from an integer to the nearest double rounds half to even by itself.
  if (values.every(Number.isSafeInteger)) return Number(values.reduce((total, value) => total + BigInt(value), 0n))
  const sum = values.reduce((total, value) => total + unitsOf(value), 0n)
  const size = sum < 0n ? -sum : sum
  const shift = BigInt(Math.max(size.toString(2).length - 53, 0))
  const rest = size & ((1n << shift) - 1n)
  const half = shift === 0n ? 1n : 1n << (shift - 1n)
  let kept = size >> shift
  if (rest > half || (rest === half && (kept & 1n) === 1n)) kept++
  const rounded = Number(kept) * 2 ** (Number(shift) - 1074)
  return sum < 0n ? -rounded : rounded
}
