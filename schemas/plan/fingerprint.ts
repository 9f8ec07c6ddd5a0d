/**
 * Fingerprints of a definition: short hashes that change when what they identify changes. Source text is no part of them, since compilers
 * print the same function differently; a derive function is hashed by its results for fixed inputs. A change that shows at none of these
 * does not show here; whether a model fits is decided feature by feature, by more inputs (`feature-identity.ts`).
 */
import { createHash } from 'node:crypto'
import type { Derived, Input } from '../definition/definition.ts'

/** 64 bits in hexadecimal of anything that JSON can spell; keys are sorted. */
export function fingerprintOf(value: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(sorted(value)))
    .digest('hex')
    .slice(0, 16)
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  )
}

/** Every whole number to 40, where counts and categories live, then ever larger ones, fractions and negatives. */
const probeNumbers = [
  ...Array.from({ length: 41 }, (_, n) => n),
  ...[50, 99.99, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 100_000, 1e6, 1e7, 1e9, 1e12],
  ...[0.5, 0.25, 0.1, 0.01, 0.75, 0.9, 0.99, 1e-6, 2.5, 12.34],
  ...[-1, -2, -0.5, -10, -1_000],
]
const probeTexts = 'a b A 0 1 EUR USD online true x1 é zz 12.5 null other'.split(' ')
/** Rounds in which each input goes through its list in turn, and as many in which all are mixed. */
const turns = 128
const probesMax = 2 * turns

/** Each step moves on the minute, the hour, the weekday, the day of the month and the month; 128 of them last four years. */
const probeTimeMs = 1_514_764_800_000
const probeTimeStepMs = 11 * 86_400_000 + 3_600_000 + 60_000 + 1_000 + 1

/** Results of a derive function for fixed inputs of the right types, to 12 digits. */
export function probe(derived: Derived): string[] {
  const answers: string[] = []
  for (let round = 0; round < probesMax; round++) {
    const values = derived.inputs.map((input, i) => probeValue(input, round < turns ? round + i : mixed(round, i)))
    answers.push(answerTo(derived, values))
  }
  return answers
}

/** Hashes two integers to one, stable across versions, so that inputs are combined in many ways. */
function mixed(round: number, input: number): number {
  const hash = Math.imul(round * 64 + input + 1, 0x9e3779b1)
  return Math.imul(hash ^ (hash >>> 15), 0x85ebca6b) >>> 16
}

function probeValue(input: Input, n: number): string | number | boolean {
  const kind = input.kind === 'field' ? input.spec.kind : 'number'
  if (kind === 'text') return probeTexts[n % probeTexts.length]!
  if (kind === 'flag') return n % 2 === 0
  if (kind === 'timestamp') return probeTimeMs + (n % turns) * probeTimeStepMs
  return probeNumbers[n % probeNumbers.length]!
}

function answerTo(derived: Derived, values: ReadonlyArray<string | number | boolean>): string {
  try {
    const answer = derived.compute(values)
    return typeof answer === 'number' && Number.isFinite(answer) ? answer.toPrecision(12) : String(answer)
  } catch (error) {
    // A function may throw on made-up inputs; that counts as its result.
    return `threw ${error instanceof Error ? error.name : typeof error}`
  }
}
