/** The keys and the vector of an event in, cells of a CSV file out; called by the commands that write vectors. */
import type { EventValues } from '../schemas/kernel/event.ts'
import type { Plan } from '../schemas/plan/plan.ts'

/** The entities, then the features, in the order of the definition. */
export function vectorColumns({ entityStages, features }: Pick<Plan, 'entityStages' | 'features'>): string[] {
  return [...entityStages.map(({ entity }) => entity.name), ...features.map(({ name }) => name)]
}

/** Fingerprint of the definition that has computed a row: the features of another may mean something else. */
export const definitionColumn = 'definition'

/** Of the file that `recompute` writes; an entity, a feature and a column of its own may have the same name. */
export function recomputedColumns(plan: Pick<Plan, 'scored' | 'entityStages' | 'features'>): string[] {
  return [plan.scored.idField, 'time', ...vectorColumns(plan), 'score', 'model', 'published', definitionColumn]
}

/** The key of each entity, nothing where the scored stream has none. */
export function entityKeyCells({ entityStages, scored }: Plan): (event: EventValues) => string[] {
  const fields = entityStages.map(({ entity }) => entity.keyFields.get(scored.index))
  return (event) => fields.map((field) => (field === undefined ? '' : String(event[field] ?? '')))
}

export function vectorCells(vector: ArrayLike<number>): string[] {
  return Array.from(vector, cell)
}

/** The shortest text that is read back as the same double; nothing where it is missing. */
export function cell(value: number): string {
  if (Number.isNaN(value)) return ''
  return Object.is(value, -0) ? '-0' : String(value)
}
