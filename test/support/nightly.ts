/** How much is drawn by tests that draw by seed: a little in `npm test`, all of it in `npm run test:nightly`. */

const isNightly = process.env.NIGHTLY === '1'

/** A number of seeds, runs or events. */
export function drawn({ always, nightly }: { readonly always: number; readonly nightly: number }): number {
  return isNightly ? nightly : always
}

/** The first few of the cases, nightly all of them. */
export function someOf<T>(cases: readonly T[], always: number): readonly T[] {
  return isNightly ? cases : cases.slice(0, always)
}
