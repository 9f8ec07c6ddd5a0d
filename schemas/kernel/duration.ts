/** Durations as definitions and commands write them: a whole or decimal number and a unit, such as `90s` or `7d`. */

export type Duration = `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
/** A hundred years: longer is a slip of the pen. */
export const durationMaxMs = 36_525 * unitMs.d
export const durationExpected = 'a duration such as 500ms, 90s, 15m, 12h or 7d, at most 36525d'

/** Milliseconds, or null where the text is no duration of whole milliseconds from 0 to a hundred years. */
export function parseDuration(text: string): number | null {
  const match = /^(\d{1,13})(?:\.(\d{1,6}))?(ms|s|m|h|d)$/.exec(text)
  if (!match) return null
  const [, whole, fraction = '', unit] = match
  const inUnit = unitMs[unit as keyof typeof unitMs]
  // Whole numbers throughout: 1.005 times 1,000 is not 1,005 in doubles.
  const [numerator, denominator] = [Number(fraction) * inUnit, 10 ** fraction.length]
  if (numerator % denominator !== 0) return null
  const ms = Number(whole) * inUnit + numerator / denominator
  return ms <= durationMaxMs ? ms : null
}

/** The shortest spelling in one unit: 604800000 is `7d`. */
export function formatDuration(ms: number): Duration {
  for (const unit of ['d', 'h', 'm', 's'] as const) {
    if (ms !== 0 && ms % unitMs[unit] === 0) return `${ms / unitMs[unit]}${unit}`
  }
  return `${ms}ms`
}
