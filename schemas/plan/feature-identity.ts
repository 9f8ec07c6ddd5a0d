/**
 * A feature of a definition in, a short text of its meaning out, whatever it is called and whatever stands beside it: models and logged
 * rows are good for a feature as long as its identity is the same. Called by `compile`.
 */
import { createHash } from 'node:crypto'
import type { Aggregate, AnyStream, Derived, Input } from '../definition/definition.ts'
import { parseDuration } from '../kernel/duration.ts'
import { fingerprintOf } from './fingerprint.ts'
import { literalsIn } from './literals.ts'

/** `scores`: the stream whose events have the feature. */
export function identityOf(feature: Input, scores: AnyStream): string {
  return fingerprintOf(meaningOf(feature, scores))
}

interface Logged {
  readonly fingerprint: string
  readonly features: readonly number[]
}

interface Understanding {
  readonly fingerprint: string
  readonly features: ReadonlyArray<{ readonly name: string; readonly identity: string }>
}

/**
 * A row with a logged vector as one of this plan; null where it has nothing of it. A feature that meant something else under the
 * definition that computed the vector is missing in it, and so is one that it was without. `identities`: of that definition, by name; null
 * where they are not known.
 */
export function vectorFor<Row extends Logged>(
  row: Row,
  plan: Understanding,
  identities: ReadonlyMap<string, string> | null,
): Row | null {
  if (row.fingerprint === plan.fingerprint) return row
  if (identities === null) return null
  const isSame = plan.features.map(({ name, identity }) => identities.get(name) === identity)
  if (!isSame.includes(true)) return null
  return { ...row, features: row.features.map((value, i) => (isSame[i] ? value : Number.NaN)) }
}

function meaningOf(input: Input, scores: AnyStream): unknown {
  switch (input.kind) {
    case 'field':
      return ['field', input.stream.name, input.name, input.spec.kind]
    case 'aggregate':
      return ['aggregate', aggregateMeaning(input, scores)]
    case 'derived':
      return [
        'derived',
        input.inputs.map((inner) => meaningOf(inner, scores)),
        answersOf(input),
        input.text === undefined ? [] : literalsIn(input.text),
      ]
  }
}

/** The facts that are counted and how; nothing of other aggregates, of retention or of the name of the entity. */
function aggregateMeaning({ of, stream, field, by, over, lag, at }: Aggregate, scores: AnyStream): unknown {
  const keyOf = (one: AnyStream) => by.keys.find((key) => key.stream === one)?.name ?? null
  return {
    of,
    stream: [stream.name, stream.id, stream.time, keyOf(stream)],
    scored: [scores.name, scores.time, keyOf(scores)],
    field: field === null ? null : [field.name, field.spec.kind, field.spec.decimals ?? null],
    windowMs: [parseDuration(over), parseDuration(lag)],
    at: at?.name ?? null,
  }
}

const answersCount = 12_288
/** A third runs through each input's grid in step, the rest mixes them. */
const inStep = answersCount / 3

/** Whole numbers where counts and categories live, in step to 2,000; then every 0.7 % up to a billion; then fractions and negatives. */
const numbers: readonly number[] = [
  ...Array.from({ length: 2_001 }, (_, n) => n),
  ...Array.from({ length: 1_800 }, (_, n) => 2_000 * 1.0073 ** n),
  ...Array.from({ length: 200 }, (_, n) => n / 200 + 0.0005),
  ...[-1, -2, -0.5, -10, -1_000, 1e-6, 12.34, 1e12],
]
const texts = 'a b A 0 1 EUR USD online true x1 é zz 12.5 null other'.split(' ')
const firstTimeMs = 1_514_764_800_000
/** Moves on the minute, the hour and the weekday; the whole grid lasts five years. */
const timeStepMs = 11 * 3_600_000 + 47 * 60_000 + 13_001

function inputValue(input: Input, literals: readonly string[], n: number): string | number | boolean {
  const kind = input.kind === 'field' ? input.spec.kind : 'number'
  if (kind === 'flag') return n % 2 === 0
  if (kind === 'timestamp') return firstTimeMs + (n % inStep) * timeStepMs
  if (kind === 'text') {
    const known = [...texts, ...literals]
    return known[n % known.length]!
  }
  return numbers[n % numbers.length]!
}

/** What a function answers to more than ten thousand inputs, rounded to 12 digits: another machine may differ in the last ones. */
function answersOf(derived: Derived): string {
  const literals = literalsIn(derived.text ?? '').filter((literal) => typeof literal === 'string')
  const hash = createHash('sha256')
  const answers = new Float64Array(answersCount)
  const kinds = new Uint8Array(answersCount)
  for (let round = 0; round < answersCount; round++) {
    const values = derived.inputs.map((input, i) =>
      inputValue(input, literals, round < inStep ? round + i : mixed(round, i)),
    )
    const answer = answerTo(derived, values)
    if (typeof answer === 'number') answers[round] = rounded(answer)
    else kinds[round] = answer === null ? 1 : 2
  }
  return hash.update(answers).update(kinds).digest('hex').slice(0, 16)
}

/** Null: missing; undefined: it threw, which a function may for made-up inputs, or gave nothing that a vector may hold. */
function answerTo(derived: Derived, values: ReadonlyArray<string | number | boolean>): number | null | undefined {
  try {
    const answer = derived.compute(values)
    return answer === null || Number.isFinite(answer) ? answer : undefined
  } catch {
    // Which error it is tells nothing of the feature's values.
    return undefined
  }
}

const word = new Float64Array(1)
const halves = new Uint32Array(word.buffer)

/** Without the last 12 bits of 53, to the nearest. Zero has one sign. */
function rounded(value: number): number {
  word[0] = value * (1 + 2 ** -41)
  halves[0] = halves[0]! & ~0xfff
  return word[0] + 0
}

/** Hashes two integers to one, stable across versions. */
function mixed(round: number, input: number): number {
  const hash = Math.imul(round * 64 + input + 1, 0x9e3779b1)
  return Math.imul(hash ^ (hash >>> 15), 0x85ebca6b) >>> 8
}

/** By name, as versions of models and definitions are logged with them. */
export function identitiesOf(
  features: ReadonlyArray<{ readonly name: string; readonly identity: string }>,
): Record<string, string> {
  return Object.fromEntries(features.map(({ name, identity }) => [name, identity]))
}
