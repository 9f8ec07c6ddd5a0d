/**
 * A number in, its exponential or the logarithm of one plus it out, with the same bits on every machine: called by what scores and by what
 * standardises. Operators of JavaScript round as IEEE 754 says, everywhere. `Math.exp` and `Math.log1p` need not: they are C++, in which a
 * compiler may fuse a product with a sum and round once, as compilers for ARM do.
 *
 * The algorithms, the order of their operations and the constants are those of FreeBSD's msun (e_exp.c, s_log1p.c), which V8 uses, too:
 *
 * Copyright (C) 1993 by Sun Microsystems, Inc. All rights reserved. Developed at SunSoft, a Sun Microsystems, Inc. business. Permission to
 * use, copy, modify, and distribute this software is freely granted, provided that this notice is preserved.
 */

/** The high and low half of ln 2: whole multiples of the high half, up to 2^11, are exact. */
const ln2High = 0.6931471803691238
const ln2Low = 1.9082149292705877e-10

/** The bits of a double; its sign and exponent are in the second word. Only read: what is written by halves and read whole is slow. */
const double = new Float64Array(1)
const words = new Int32Array(double.buffer)
const mantissaMask = 0x000fffff

/** By doubling, which is exact: nothing says that a power is. */
const powersOfTwo = new Float64Array(2_098)
const powerMin = -1_074
for (let i = 0, power = Number.MIN_VALUE; i < powersOfTwo.length; i++, power *= 2) powersOfTwo[i] = power

function powerOfTwo(k: number): number {
  return powersOfTwo[k - powerMin]!
}

/** Below its end the result overflows, or is less than half the smallest number. */
const expMax = 709.782712893384
const expMin = -745.1332191019411
/** Where the high word of a double passes that of ½ ln 2 and of 1½ ln 2. */
const halfLn2 = 0.3465735912322998
const threeHalvesLn2 = 1.0397205352783203
const tiny = 2 ** -28

/** e^x. The argument is reduced to r within ±½ ln 2, with x = k ln 2 + r; e^r is a rational function of r². */
export function exp(x: number): number {
  // Only NaN differs from itself.
  // biome-ignore lint/suspicious/noSelfCompare: see above.
  if (x !== x) return x
  if (x > expMax) return Number.POSITIVE_INFINITY
  if (x < expMin) return 0
  if (x === 1) return Math.E
  const size = Math.abs(x)
  if (size < tiny) return 1 + x
  let k = 0
  let high = x
  let low = 0
  if (size >= halfLn2) {
    if (size < threeHalvesLn2) k = x < 0 ? -1 : 1
    else k = (Math.LOG2E * x + (x < 0 ? -0.5 : 0.5)) | 0
    high = x - k * ln2High
    low = k * ln2Low
  }
  const r = high - low
  const t = r * r
  const c =
    r -
    t *
      (0.16666666666666602 +
        t *
          (-0.0027777777777015593 +
            t * (6.613756321437934e-5 + t * (-1.6533902205465252e-6 + t * 4.1381367970572385e-8))))
  if (k === 0) return 1 - ((r * c) / (c - 2) - r)
  const y = 1 - (low - (r * c) / (2 - c) - high)
  if (k === 1024) return y * 2 * powerOfTwo(1023)
  return k >= -1021 ? y * powerOfTwo(k) : y * powerOfTwo(k + 1000) * powerOfTwo(-1000)
}

/** 1 + x is at least √2 from here. */
const sqrt2Minus1 = 0.4142136573791504
/** … and less than ½√2 up to here. */
const halfSqrt2Minus1 = -0.292893648147583
/** Below, ln(1 + x) is x − ½x². */
const smallMax = 1.862645149230957e-9
/** … and below, x. */
const smallestMax = 5.551115123125783e-17
/** From here on, 1 + x is x. */
const largeMin = 9_007_199_254_740_992
const sqrt2Mantissa = 0x6a09e

/** ln(1 + x). 1 + x = 2^k (1 + f), with f from ½√2 − 1 to √2 − 1; ln(1 + f) is a polynomial in s = f / (2 + f). */
export function log1p(x: number): number {
  // Kept short, so that it is compiled into the loop that calls it; what is rare is elsewhere.
  if (!(x >= smallMax && x < largeMin)) return rareLog1p(x)
  return x < sqrt2Minus1 ? logOf(x, 0, 0) : reducedLog1p(x, 1 + x)
}

/** `u`: 1 + x, rounded. */
function reducedLog1p(x: number, u: number): number {
  double[0] = u
  const word = words[1]!
  const mantissa = word & mantissaMask
  const exponent = (word >> 20) - 1023
  const lost = u === x ? 0 : (exponent > 0 ? 1 - (u - x) : x - (u - 1)) / u
  const k = mantissa < sqrt2Mantissa ? exponent : exponent + 1
  const f = u * powerOfTwo(-k) - 1
  // Within a millionth of a power of two.
  return mantissa === 0 || mantissa >= 0xffffd ? logNearPower(f, k, lost) : logOf(f, k, lost)
}

/** k ln 2 + ln(1 + f) + c. */
function logOf(f: number, k: number, c: number): number {
  const half = 0.5 * f * f
  const s = f / (2 + f)
  const z = s * s
  const r =
    z *
    (0.6666666666666735 +
      z *
        (0.3999999999940942 +
          z *
            (0.2857142874366239 +
              z *
                (0.22222198432149784 +
                  z * (0.1818357216161805 + z * (0.15313837699209373 + z * 0.14798198605116586))))))
  return k * ln2High - (half - (s * (half + r) + (k * ln2Low + c)) - f)
}

/** The same where f is within a millionth, with k not 0. */
function logNearPower(f: number, k: number, c: number): number {
  const r = 0.5 * f * f * (1 - 0.6666666666666666 * f)
  return k * ln2High - (r - (k * ln2Low + c) - f)
}

function rareLog1p(x: number): number {
  if (x >= largeMin) return x === Number.POSITIVE_INFINITY ? x : reducedLog1p(x, x)
  if (!(x > -1)) return x === -1 ? Number.NEGATIVE_INFINITY : Number.NaN
  if (x > -smallestMax && x < smallestMax) return x
  if (x > -smallMax && x < smallMax) return x - x * x * 0.5
  return x > halfSqrt2Minus1 ? logOf(x, 0, 0) : reducedLog1p(x, 1 + x)
}
