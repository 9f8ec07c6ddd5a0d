/**
 * What is varied and what stays: the lines of the picture, each with its points, and how many events each point needs. Pure; called by
 * `costs.ts` and `measure.ts`.
 */
import type { CostKind } from './definition.ts'

/** What the definition and the stream of one point have. */
export interface CostPoint {
  readonly features: number
  readonly kind: CostKind
  /** Accounts, and as many shops. Every event draws one of each, all alike. */
  readonly entities: number
  /** Of each entity in its longest window, of 30 days. */
  readonly facts: number
  readonly partitions: number
}

export interface CostLine {
  readonly name: string
  readonly unit: string
  readonly points: readonly CostPoint[]
  readonly sizeOf: (point: CostPoint) => number
}

export const base: CostPoint = { features: 15, kind: 'sliding', entities: 5_000, facts: 60, partitions: 4 }

/** Events in 30 days of event time that a million entities share: more would take minutes to bring in. */
const windowEventsMax = 1_000_000
/** Events of 30 days on the lines of facts, where that gives every point one entity at least: state of one size, in ever fewer logs. */
const factsInAll = 300_000

const features = [15, 30, 60, 100].map((features) => ({ ...base, features }))
const entities = [1_000, base.entities, 10_000, 100_000, 1_000_000].map((entities) => ({
  ...base,
  entities,
  facts: Math.min(base.facts, windowEventsMax / entities),
}))
const facts = [10, base.facts, 100, 1_000, 10_000, 100_000, 1_000_000].map((facts) => ({
  ...base,
  facts,
  entities: Math.max(1, Math.min(base.entities, Math.round(factsInAll / facts))),
}))
const partitions = [4, 16, 64].map((partitions) => ({ ...base, partitions }))

export const costLines: readonly CostLine[] = [
  { name: 'features', unit: 'features', points: features, sizeOf: (point) => point.features },
  { name: 'entities', unit: 'entities of a kind', points: entities, sizeOf: (point) => point.entities },
  { name: 'facts', unit: 'facts in the window', points: facts, sizeOf: (point) => point.facts },
  {
    name: 'facts, with a max',
    unit: 'facts in the window',
    points: facts.map((point) => ({ ...point, kind: 'max' as const })),
    sizeOf: (point) => point.facts,
  },
  { name: 'partitions', unit: 'partitions', points: partitions, sizeOf: (point) => point.partitions },
]

/** Two points of two lines that are the same are measured once. */
export function pointName({ features, kind, entities, facts, partitions }: CostPoint): string {
  return `${features} features (${kind}), ${entities} entities with ${facts} facts, ${partitions} partitions`
}
