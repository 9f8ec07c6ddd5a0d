/** How mistakes of a definition are reported, and checks of single values that several parts of it share. */

export type Report = (path: string, expected: string, received: unknown) => void

/** Parts of something that callers in JavaScript may have filled with anything. */
export type Parts = Readonly<Record<string, unknown>>

export function isRecord(value: unknown): value is Parts {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** `a, b or c`. */
export function either(names: readonly string[]): string {
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`
}

export function checkNotNegative(path: string, value: unknown, report: Report): void {
  if (!(typeof value === 'number' && Number.isFinite(value) && value >= 0)) report(path, 'a number >= 0', value)
}

export function checkWhole(path: string, value: unknown, most: number, report: Report): void {
  if (!(typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= most))
    report(path, `a whole number from 1 to ${most}`, value)
}
