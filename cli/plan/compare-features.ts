/** The features that a model version was trained with and those of a plan in, what became of each out. Called by `plan.ts`. */
import type { Plan } from '../../schemas/plan/plan.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'

/** By name. A feature under a new name counts as removed and added. */
export interface FeatureChanges {
  readonly kept: readonly string[]
  readonly added: readonly string[]
  readonly changed: readonly string[]
  readonly removed: readonly string[]
}

export function compareFeatures(
  { identities = {} }: Pick<ModelVersion, 'identities'>,
  { features }: { readonly features: ReadonlyArray<Pick<Plan['features'][number], 'name' | 'identity'>> },
): FeatureChanges {
  const before = new Map(Object.entries(identities))
  const namesWhere = (is: (name: string, identity: string) => boolean) =>
    features.filter(({ name, identity }) => is(name, identity)).map(({ name }) => name)
  return {
    kept: namesWhere((name, identity) => before.get(name) === identity),
    added: namesWhere((name) => !before.has(name)),
    changed: namesWhere((name, identity) => before.has(name) && before.get(name) !== identity),
    removed: [...before.keys()].filter((name) => !features.some((one) => one.name === name)),
  }
}
