/** What the checks report of the sound definition after a change, for the tests of this room. */
import { checkDefinition } from '../../schemas/definition/check-definition.ts'
import { count, definePipeline, derive, entity, mean, stream } from '../../schemas/definition/definition.ts'
import { orders, sound } from './shop-definition.ts'

/** As a caller in JavaScript sees a builder: it takes anything. */
export type Loose = (...given: readonly unknown[]) => never
export const loose = {
  count: count as unknown as Loose,
  derive: derive as unknown as Loose,
  entity: entity as unknown as Loose,
  mean: mean as unknown as Loose,
  stream: stream as unknown as Loose,
}

/** Mistakes of the sound definition after `change`, one a line. */
export function mistakes(change: object): string[] {
  return checkDefinition(definePipeline({ ...sound, ...change } as never)).map(
    ({ path, expected, received }) => `${path}: expected ${expected}, received ${received}`,
  )
}

/** With `feature` in place of the feature `buyerMean7d`. */
export const withFeature = (feature: unknown) => mistakes({ features: { ...sound.features, buyerMean7d: feature } })

export const orderSpecs = { ...orders.specs }
/** With a scored stream of its own, whose fields and options are bent. */
export function withStream(options: object, name: unknown = 'orders'): string[] {
  const bent = loose.stream(name, { id: 'orderId', key: 'buyerId', time: 'at', fields: orderSpecs, ...options })
  const { fields } = bent as { fields?: Record<string, never> }
  const by = loose.entity('buyer', [fields?.buyerId])
  return mistakes({ scores: bent, features: { count: count(bent, { by, over: '1d' }) } })
}
export const withField = (spec: unknown) => withStream({ fields: { ...orderSpecs, extra: spec } })

export const durations = 'a duration such as 500ms, 90s, 15m, 12h or 7d, at most 36525d'
export const identifiers = 'a name of letters, digits and underscores that begins with no digit, at most 64'
