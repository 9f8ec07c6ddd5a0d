/** What a definition reaches: streams, entities, aggregates, and the order of stages. Called by the checks and by `compile`. */

import { isRecord } from '../kernel/report.ts'
import type { Aggregate, AnyStream, Entity, Pipeline } from './definition.ts'
import { isAggregate, isDerived, isEntity, isStream } from './definition-problem.ts'

export type ReachedAggregates = ReadonlyArray<{ readonly path: string; readonly aggregate: Aggregate }>

/** Aggregates as often as they are written, entities and streams once each, in order of first appearance; the scored stream first. */
export interface Reached {
  readonly streams: readonly AnyStream[]
  readonly entities: readonly Entity[]
  readonly aggregates: ReachedAggregates
}

/** Passes over what is no value of a definition: the checks report it. */
export function reach(pipeline: Pipeline): Reached {
  const streams = new Set<AnyStream>()
  const entities = new Set<Entity>()
  const aggregates: Array<{ path: string; aggregate: Aggregate }> = []
  if (isStream(pipeline.scores)) streams.add(pipeline.scores)
  const visit = (path: string, input: unknown) => {
    if (isDerived(input)) {
      input.inputs.forEach((inner, i) => {
        visit(`${path}.inputs[${i}]`, inner)
      })
    }
    if (isAggregate(input)) {
      if (isEntity(input.by)) entities.add(input.by)
      if (isStream(input.stream)) streams.add(input.stream)
      aggregates.push({ path, aggregate: input })
    }
  }
  const features = isRecord(pipeline.features) ? pipeline.features : {}
  for (const [name, feature] of Object.entries(features)) visit(`features.${name}`, feature)
  if (isStream(pipeline.label?.from)) streams.add(pipeline.label.from)
  return { streams: [...streams], entities: [...entities], aggregates }
}

/** Field of the stream that names the entity. */
export function keyOf(entity: Entity, stream: AnyStream): string | undefined {
  return entity.keys.find((key) => key?.stream === stream)?.name
}

/**
 * The entity that the scored stream is keyed by comes first; the others follow in order of first appearance. Empty where there is no
 * such entity.
 */
export function inStageOrder(scored: AnyStream, entities: readonly Entity[]): Entity[] {
  const first = entities.find((entity) => keyOf(entity, scored) === scored.key)
  return first ? [first, ...entities.filter((entity) => entity !== first)] : []
}

/** Whether the stream is repartitioned before all stages: it is declared so, and its events are used. */
export function isRekeyed(stream: AnyStream, inOrder: readonly Entity[], aggregates: ReachedAggregates): boolean {
  if (!stream.rekey) return false
  return stageEntered(stream, inOrder) !== -1 || aggregates.some(({ aggregate }) => aggregate.stream === stream)
}

/** Index of the first stage whose entity the stream is keyed by, -1 where there is none. */
export function stageEntered(stream: AnyStream, inOrder: readonly Entity[]): number {
  return inOrder.findIndex((entity) => keyOf(entity, stream) === stream.key)
}
