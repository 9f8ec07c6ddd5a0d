/**
 * Fingerprints of a definition: short hashes that change when, and only when, what they stand for changes. Source text is no part of
 * them, since compilers print the same function differently; a derive function is hashed by what it answers to fixed inputs.
 */
import { createHash } from 'node:crypto'
import type { Derived, Input } from './definition.ts'

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

const probeNumbers = [
  0, 1, 2, 3, 7, 10, 0.5, 0.25, 12.34, 99.99, 1_000, -1, 1e6, 1_525_132_800_000, 1_531_000_123_456, 1_546_300_799_000,
]
const probeTexts = [
  'a',
  'b',
  'A',
  '0',
  '1',
  'EUR',
  'USD',
  'online',
  'true',
  'x1',
  ' ',
  'é',
  'zz',
  '12.5',
  'null',
  'other',
]
const probesMax = 64

/** What a derive function answers to fixed inputs of the right types, to 12 digits. */
export function probe(derived: Derived): string[] {
  const answers: string[] = []
  for (let round = 0; round < probesMax; round++) {
    const values = derived.inputs.map((input, i) => probeValue(input, round + i * (1 + (round >> 4))))
    answers.push(answerTo(derived, values))
  }
  return answers
}

function probeValue(input: Input, n: number): string | number | boolean {
  const kind = input.kind === 'field' ? input.spec.kind : 'number'
  if (kind === 'text') return probeTexts[n % probeTexts.length]!
  if (kind === 'flag') return n % 2 === 0
  return probeNumbers[n % probeNumbers.length]!
}

function answerTo(derived: Derived, values: ReadonlyArray<string | number | boolean>): string {
  try {
    const answer = derived.compute(values)
    return typeof answer === 'number' && Number.isFinite(answer) ? answer.toPrecision(12) : String(answer)
  } catch (error) {
    // A function may well refuse made-up inputs; that it does is part of what it answers.
    return `threw ${error instanceof Error ? error.name : typeof error}`
  }
}
