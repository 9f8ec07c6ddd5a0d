/** The range of instants, and what a number that is none of them looks like; called by the codec of events. */

/** 0001-01-01 and 9999-12-31T23:59:59.999Z: the instants with a year of four digits. */
export const instantMin = -62_135_596_800_000
export const instantMax = 253_402_300_799_999

/** What a count since 1970 would have to be multiplied with to be milliseconds. */
const units = [
  { name: 'seconds', factor: 1_000, how: 'multiply by 1,000' },
  { name: 'microseconds', factor: 1e-3, how: 'divide by 1,000' },
  { name: 'nanoseconds', factor: 1e-6, how: 'divide by 1,000,000' },
  { name: 'days', factor: 86_400_000, how: 'multiply by 86,400,000' },
] as const

/** `looks like seconds since 1970: multiply by 1,000`; null where the number is an instant in range in no other unit either. */
export function unitOf(value: number, min: number, max: number): string | null {
  const unit = units.find(({ factor }) => value * factor >= min && value * factor <= max)
  return unit === undefined ? null : `looks like ${unit.name} since 1970: ${unit.how}`
}
