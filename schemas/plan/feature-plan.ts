/** From the features of a definition to functions of (event, slots): choices that depend on the definition are taken here, once. */
import type { Aggregate, Derived, FieldRef, Input } from '../definition/definition.ts'
import type { EventValues, FieldValue, RejectCode } from '../kernel/event.ts'

/**
 * A derive function failed on one event: the fault lies in the event or the definition, never in the environment. The event becomes a
 * dead letter.
 */
export class FeatureFailed extends Error {
  readonly code: RejectCode
  readonly feature: string
  readonly received: string

  constructor(code: 'function_threw' | 'not_finite', feature: string, received: string, cause?: unknown) {
    super(`feature ${feature}: ${received}`, { cause })
    this.name = 'FeatureFailed'
    this.code = code
    this.feature = feature
    this.received = received
  }
}

type Compute = (event: EventValues, slots: ArrayLike<number>) => number
type Read = (event: EventValues, slots: ArrayLike<number>) => FieldValue

export function compileFeature(name: string, feature: Input, slotOf: (aggregate: Aggregate) => number): Compute {
  if (feature.kind === 'aggregate') {
    const slot = slotOf(feature)
    return (_event, slots) => slots[slot]!
  }
  const read = compileInput(name, feature, slotOf)
  return (event, slots) => {
    const value = read(event, slots)
    return value === null ? Number.NaN : Number(value)
  }
}

/** Missing is null here, so that a function is never called with NaN. */
function compileInput(name: string, input: Input, slotOf: (aggregate: Aggregate) => number): Read {
  switch (input.kind) {
    case 'field':
      return readField(input)
    case 'aggregate': {
      const slot = slotOf(input)
      return (_event, slots) => {
        const value = slots[slot]!
        return Number.isNaN(value) ? null : value
      }
    }
    case 'derived':
      return readDerived(name, input, slotOf)
  }
}

function readField({ name }: FieldRef): Read {
  return (event) => event[name] ?? null
}

function readDerived(name: string, derived: Derived, slotOf: (aggregate: Aggregate) => number): Read {
  const reads = derived.inputs.map((input) => compileInput(name, input, slotOf))
  const values: FieldValue[] = new Array(reads.length).fill(null)
  return (event, slots) => {
    for (let i = 0; i < reads.length; i++) {
      const value = reads[i]!(event, slots)
      if (value === null) return null
      values[i] = value
    }
    return callDerived(name, derived, values)
  }
}

function callDerived(name: string, derived: Derived, values: readonly FieldValue[]): number | null {
  let value: number | null
  try {
    value = derived.compute(values)
  } catch (error) {
    throw new FeatureFailed('function_threw', name, firstLines(error), error)
  }
  if (value === null) return null
  if (typeof value !== 'number' || !Number.isFinite(value)) {
    throw new FeatureFailed('not_finite', name, `${String(value)} from (${values.join(', ')})`)
  }
  return value
}

/** Message and first line of the stack: where in the definition it happened. */
function firstLines(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const where = error.stack?.split('\n').find((line) => line.trimStart().startsWith('at '))
  return where ? `${error.name}: ${error.message} ${where.trim()}` : `${error.name}: ${error.message}`
}
