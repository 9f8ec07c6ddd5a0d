/** For any definition written in JavaScript: a plan, or all mistakes with their paths; never another failure. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  type Aggregate,
  count,
  definePipeline,
  derive,
  entity,
  logisticRegression,
  mean,
  number,
  type Pipeline,
  stream,
  text,
  timestamp,
} from '../../schemas/definition/definition.ts'
import type { DefinitionProblem } from '../../schemas/definition/definition-problem.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { drawn } from '../support/nightly.ts'

/** Of a definition in JavaScript nothing is typed. */
// biome-ignore lint/suspicious/noExplicitAny: what is tested is what no type would let through
type Anything = any

const junk = fc.oneof(
  fc.anything(),
  fc.constantFrom<Anything>(
    undefined,
    null,
    '',
    'constructor',
    '__proto__',
    '1d',
    '-1d',
    '99999999d',
    0,
    -1,
    Number.NaN,
    [],
    {},
  ),
  fc.constantFrom<Anything>(text(), number({ min: 2, max: 1 }), timestamp({ optional: true }), () => 1),
)

/** Mostly what is right, now and then anything. */
const or = <T>(right: T) =>
  fc.oneof({ arbitrary: fc.constant<Anything>(right), weight: 12 }, { arbitrary: junk, weight: 1 })

const definition = fc
  .record({
    streamName: or('clicks'),
    id: or('id'),
    key: or('user'),
    time: or('at'),
    disorder: or('0s'),
    lateness: or('1h'),
    idSpec: or(text()),
    userSpec: or(text()),
    atSpec: or(timestamp()),
    amountSpec: or(number({ decimals: 2 })),
    entityName: or('user'),
    over: or('7d'),
    lag: or('0s'),
    by: or('itself'),
    featureName: fc.oneof(fc.constant('count7d'), fc.string()),
    compute: or((value: number) => value),
    labelValue: or(1),
    otherwise: or({ value: 0, after: '7d' }),
    labelFrom: or('itself'),
    name: or('shop'),
    version: or(1),
    model: or(logisticRegression({ l2: 1 })),
    more: fc.oneof(
      { arbitrary: fc.constant({}), weight: 6 },
      { arbitrary: fc.dictionary(fc.string(), junk), weight: 1 },
    ),
  })
  .map((given) => {
    const fields = { id: given.idSpec, user: given.userSpec, at: given.atSpec, amount: given.amountSpec }
    const { id, key, time, disorder, lateness } = given
    const clicks: Anything = stream(given.streamName, { id, key, time, disorder, lateness, fields } as Anything)
    const returns = stream('returns', {
      id: 'id',
      key: 'user',
      time: 'at',
      fields: { id: text(), user: text(), at: timestamp() },
    })
    const user = entity(given.entityName, [clicks.fields.user, returns.fields.user])
    const by = given.by === 'itself' ? user : given.by
    const sum: Aggregate = mean(clicks.fields.amount, { by, over: given.over })
    return definePipeline({
      name: given.name,
      version: given.version,
      scores: clicks,
      features: {
        [given.featureName]: count(clicks, { by, over: given.over, lag: given.lag }),
        twice: derive([sum], given.compute),
        ...(given.more as Anything),
      },
      label: {
        from: given.labelFrom === 'itself' ? returns : given.labelFrom,
        value: given.labelValue,
        otherwise: given.otherwise,
      },
      model: given.model,
    }) as Pipeline
  })

function outcomeOf(pipeline: Pipeline): 'plan' | 'mistakes' {
  try {
    compile(pipeline)
    return 'plan'
  } catch (error) {
    if (!(error instanceof PipelineError)) throw error
    expect(error.code).toBe('definition_invalid')
    const problems = error.details.problems as readonly DefinitionProblem[]
    expect(problems.length).toBeGreaterThan(0)
    for (const { path, expected, received } of problems) {
      expect([typeof path, typeof expected, typeof received]).toEqual(['string', 'string', 'string'])
      expect(error.message).toContain(`${path}: expected ${expected}, received ${received}`)
    }
    return 'mistakes'
  }
}

test('any value at any path is a plan or all of its mistakes', () => {
  const seen = { plan: 0, mistakes: 0 }
  fc.assert(
    fc.property(definition, (pipeline) => {
      seen[outcomeOf(pipeline)]++
    }),
    { numRuns: drawn({ always: 400, nightly: 2_000 }), seed: 7 },
  )
  // Both happen, or nothing was tried.
  expect(Math.min(seen.plan, seen.mistakes)).toBeGreaterThan(drawn({ always: 20, nightly: 100 }))
})
